"""Who asks the JSON API, and what they may read: a token with the scope `read`, or somebody who is signed in."""

from __future__ import annotations

from http import HTTPStatus

from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from ninja.security import HttpBearer

from accounts.credentials import MISSING, Credential, CredentialCache, bearer, load_credential
from accounts.models import Handle, User
from metrics.models import Tweet
from metrics.query.params import ParamError
from metrics.vocabulary.events import MAX_TWEET_ID

_credentials = CredentialCache()


class RefusedError(Exception):
    """A request is refused with this status; `error` is a word for programs, `detail` a sentence for people."""

    def __init__(self, status: HTTPStatus, error: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.error, self.detail = status, error, detail


class TokenAuth(HttpBearer):
    """A token made on the team's page, sent as `Authorization: Bearer …`; it needs the scope `read`."""

    def __call__(self, request: HttpRequest) -> Credential | None:
        """The credential; None without the header, so that a session may answer; refuses a header that is no good."""
        header = request.headers.get(self.header)
        return None if header is None else self.authenticate(request, bearer(header) or "")

    def authenticate(self, request: HttpRequest, token: str) -> Credential:
        """What the token opens; raises RefusedError."""
        credential = _credentials.get(token)
        if credential is MISSING:
            credential = load_credential(token)
            _credentials.put(token, credential)
        if credential is None:
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "bad_token", "The token is unknown, expired or revoked.")
        if "read" not in credential.scopes:
            raise RefusedError(HTTPStatus.FORBIDDEN, "wrong_scope", "The token lacks the scope “read”.")
        return credential


def readable(request: HttpRequest) -> QuerySet[Handle]:
    """The handles that the caller may read."""
    caller: Credential | User = request.auth  # type: ignore[attr-defined]  # put there by ninja
    if isinstance(caller, Credential):
        return Handle.objects.filter(pk__in=caller.handles.values())
    return Handle.objects.visible_to(caller)


def handle_of(request: HttpRequest, username: str) -> Handle:
    name = username.removeprefix("@")
    # PostgreSQL holds no text with a NUL, and psycopg refuses to ask for one.
    handle = None if "\x00" in name else readable(request).filter(username__iexact=name).first()
    if handle is None:
        raise Http404("No such handle.")
    return handle


def tweet_of(request: HttpRequest, tweet_id: int, username: str | None) -> Tweet:
    handles = [handle_of(request, username)] if username else list(readable(request))
    found = Tweet.objects.select_related("handle").filter(handle__in=handles, tweet_id=min(tweet_id, MAX_TWEET_ID))
    tweets = list(found[:2])
    if len(tweets) > 1:
        raise ParamError("handle", "several of your handles hold this Tweet; name one of them.")
    if not tweets:
        raise Http404("No such Tweet.")
    return tweets[0]
