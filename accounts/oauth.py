"""Callers that sign: OAuth 1.0a with HMAC-SHA1, as existing Engagement API clients do, or a bearer token.

oauthlib checks the signature. An OAuth credential is a second key to its ApiToken: what it reaches, when it ends and
whether it is revoked are the token's, asked of the database for every request.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any, Final

import structlog
from django.conf import settings
from django.core.cache import cache
from oauthlib.oauth1 import SIGNATURE_HMAC_SHA1, RequestValidator, ResourceEndpoint

from accounts.credentials import bearer, credential_of, live_token, load_credential
from accounts.models import OAuthCredentials, Scope
from accounts.sealing import BrokenSealError

if TYPE_CHECKING:
    from django.http import HttpRequest

    from accounts.credentials import Credential

log = structlog.get_logger(__name__)

LIFETIME_SECONDS: Final = 600
"""How far a request's timestamp may lie from our clock, either way."""
FORM: Final = "application/x-www-form-urlencoded"
_DUMMY: Final = "d" * 40


class AuthFailure(Exception):  # noqa: N818  the name that its callers agreed on
    """Nobody is behind the request; `reason` is a few words for whoever sent it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def caller(request: HttpRequest) -> Credential:
    """What the request's signature or bearer token opens; it may read.

    Call it before the body is read as a stream. Raises AuthFailure.
    """
    header = request.headers.get("Authorization", "")
    if header[:6].lower() == "oauth ":
        credential = _signed(request)
    elif secret := bearer(header):
        credential = _borne(secret)
    else:
        raise AuthFailure("Send an OAuth 1.0a signature or a bearer token in the Authorization header")
    if Scope.READ not in credential.scopes:
        raise AuthFailure("The token lacks the scope “read”")
    return credential


def _borne(secret: str) -> Credential:
    credential = load_credential(secret)
    if credential is None:
        raise AuthFailure("Access token not found")
    return credential


def _signed(request: HttpRequest) -> Credential:
    """What a rightly signed request opens; the first failure is told when no address fits."""
    failures = []
    for address in _addresses(request):
        validator = _Validator()
        try:
            is_valid, parsed = ResourceEndpoint(validator).validate_protected_resource_request(
                address, request.method, _form(request), dict(request.headers)
            )
        except (ValueError, UnicodeError):
            raise AuthFailure("The OAuth parameters cannot be read") from None
        if is_valid:
            _refuse_replays(parsed)
            return validator.credential()
        failures.append(_why(parsed))
    raise AuthFailure(failures[0])


def _addresses(request: HttpRequest) -> list[str]:
    """The addresses that the client may have signed: the one that was asked, then the public one.

    They differ when the HTTPS proxy drops its port from `Host`.
    """
    asked = [request.build_absolute_uri()]
    if settings.TRUSTED_PROXY:
        asked.append(settings.PUBLIC_URL.rstrip("/") + request.get_full_path())
    return list(dict.fromkeys(asked))


def _form(request: HttpRequest) -> str:
    """The body, when it belongs to the signature: only a form's does."""
    return request.body.decode("latin-1") if FORM in request.headers.get("Content-Type", "") else ""


def _refuse_replays(parsed: Any) -> None:
    """Remember a good request's nonce for as long as its timestamp is good; raises AuthFailure the second time."""
    told = f"{parsed.resource_owner_key} {parsed.timestamp} {parsed.nonce}"
    key = f"oauth-nonce:{hashlib.sha256(told.encode()).hexdigest()}"
    if not cache.add(key, 1, 2 * LIFETIME_SECONDS):
        raise AuthFailure("Nonce already used")


def _why(parsed: Any) -> str:
    """The reason of a failure, from oauthlib's notes."""
    notes = getattr(parsed, "validator_log", {})
    if not notes:
        return "Timestamp out of bounds" if _is_old(parsed) else "The OAuth parameters are incomplete or unknown"
    if not notes["resource_owner"]:
        return "Access token not found"
    return "Consumer key not found" if not notes["client"] else "Invalid signature"


def _is_old(parsed: Any) -> bool:
    stamp = str(getattr(parsed, "timestamp", None) or "")
    return stamp.isdecimal() and len(stamp) == 10 and abs(time.time() - int(stamp)) > LIFETIME_SECONDS


class _Validator(RequestValidator):  # type: ignore[misc]  # oauthlib has no types
    """Answers oauthlib's questions about one request from one row of the database."""

    allowed_signature_methods = (SIGNATURE_HMAC_SHA1,)
    timestamp_lifetime = LIFETIME_SECONDS
    # Clients differ; the signature is what counts.
    client_key_length = access_token_length = (1, 100)
    enforce_ssl = False
    dummy_client = dummy_access_token = _DUMMY

    def __init__(self) -> None:
        super().__init__()
        self._asked: dict[str, OAuthCredentials | None] = {}
        self._found: OAuthCredentials | None = None

    def credential(self) -> Credential:
        """What the credentials that were found open."""
        if self._found is None:
            raise AuthFailure("Access token not found")
        return credential_of(self._found.token)

    def check_nonce(self, nonce: str) -> bool:
        """Clients make nonces of any kind."""
        return 0 < len(nonce) <= 200

    def validate_timestamp_and_nonce(self, *_: Any, **__: Any) -> bool:
        """Replays are refused after the signature was checked: nobody else can then fill the memory of nonces."""
        return True

    def validate_access_token(self, client_key: str, token: str, request: Any) -> bool:
        """Whether the access token is one of a live ApiToken."""
        # By now an unknown consumer key has been replaced by the dummy.
        self._found = self._find(token)
        return self._found is not None

    def validate_client_key(self, client_key: str, request: Any) -> bool:
        """Whether the consumer key is the one that was made with the access token."""
        found = self._find(request.resource_owner_key)
        return found is not None and found.consumer_key == client_key

    def validate_realms(self, *_: Any, **__: Any) -> bool:
        """There is one realm."""
        return True

    def get_client_secret(self, client_key: str, request: Any) -> str:
        """The consumer secret, or a dummy of its kind."""
        return self._found.keys["consumer_secret"] if self._found else _DUMMY

    def get_access_token_secret(self, client_key: str, token: str, request: Any) -> str:
        """The access token's secret, or a dummy of its kind."""
        return self._found.keys["access_token_secret"] if self._found else _DUMMY

    def _find(self, access_token: str) -> OAuthCredentials | None:
        if access_token not in self._asked:
            self._asked[access_token] = _live(access_token)
        return self._asked[access_token]


def _live(access_token: str) -> OAuthCredentials | None:
    """The credentials with this access token, if their ApiToken is live and their secrets can be read."""
    found = OAuthCredentials.objects.filter(access_token=access_token).first()
    token = live_token(pk=found.token_id) if found else None
    if found is None or token is None:
        return None
    found.token = token
    try:
        # Opened here, so that a broken seal is a refusal and no server error.
        _ = found.keys
    except BrokenSealError:
        log.warning("oauth_credentials_unreadable", token=str(token), hint="No SEALING_KEY opens them.")
        return None
    return found
