"""django-allauth's X provider, opened for one purpose: to link a handle's account while somebody is signed in here.

Nobody signs up or signs in with X: every answer of X ends in `AccountLinker.pre_social_login`, which keeps the tokens
(sealed, with the source) and sends the person back to where they came from.
"""

from __future__ import annotations

import time
from typing import Any, NoReturn

import structlog
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.base import AuthError, ProviderException
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from allauth.socialaccount.providers.twitter_oauth2.provider import TwitterOAuth2Provider
from allauth.socialaccount.providers.twitter_oauth2.views import TwitterOAuth2Adapter
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts.access import EDITORS, require_role, signed_in
from accounts.models import Handle
from metrics.ingest import x_account
from metrics.ingest.x_account import Account, Tokens, WrongAccountError

log = structlog.get_logger(__name__)
_NOTHING = "Nothing was changed."
_FIELDS = ["id", "name", "username"]


class XAdapter(TwitterOAuth2Adapter):  # type: ignore[misc]  # allauth ships no types
    """The provider's adapter, at the addresses of the settings."""

    @property
    def access_token_url(self) -> str:
        """Where a code becomes tokens."""
        return f"{settings.X_API_URL}/2/oauth2/token"

    @property
    def authorize_url(self) -> str:
        """Where the person allows the access."""
        return str(settings.X_AUTHORISE_URL)

    @property
    def profile_url(self) -> str:
        """Where X says who allowed it."""
        return f"{settings.X_API_URL}/2/users/me"

    def complete_login(self, request: HttpRequest, app: SocialApp, token: Any, **kwargs: Any) -> SocialLogin:
        """Who allowed the access, with the scopes that X granted; raises ProviderException for anything else."""
        try:
            login = super().complete_login(request, app, token, **kwargs)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProviderException(f"no account in the answer: {error!r}") from error
        login.granted_scope = str(kwargs["response"].get("scope", ""))
        return login


class XProvider(TwitterOAuth2Provider):  # type: ignore[misc]  # allauth ships no types
    """allauth's provider with our addresses and scopes; PKCE is on."""

    oauth2_adapter_class = XAdapter

    def get_scope(self) -> list[str]:
        """What is asked for: to read, for as long as nobody ends it."""
        return list(x_account.SCOPES)

    def get_fields(self) -> list[str]:
        """What is asked of the account."""
        return _FIELDS


class AccountLinker(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """Answers allauth's questions so that an account on X is linked to a handle and to nothing else."""

    def list_apps(self, request: HttpRequest, provider: Any = None, client_id: Any = None) -> list[SocialApp]:
        """The one app, of the settings; none is kept in the database, where its secret would lie open."""
        if not x_account.is_configured():
            return []
        named = {"client_id": settings.X_CLIENT_ID, "secret": settings.X_CLIENT_SECRET}
        return [SocialApp(provider=XProvider.id, name="X", **named)]

    def get_provider(self, request: HttpRequest, provider: Any, client_id: Any = None) -> XProvider:
        """X, whatever was asked for."""
        return XProvider(request, app=self.get_app(request, provider=XProvider.id))

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Never: accounts come from invitations."""
        return False

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> NoReturn:
        """Link the account to the handle for which this was begun, and stop there."""
        handle = _handle_of(request, sociallogin.state)
        told = sociallogin.account.extra_data
        account = Account(str(told["id"]), str(told["username"]))
        try:
            x_account.connect(handle, account, _tokens_of(sociallogin), signed_in(request))
        except WrongAccountError as error:
            messages.error(request, str(error))
        else:
            messages.success(request, f"@{handle.username} is connected to X, and authenticated by it.")
        raise ImmediateHttpResponse(redirect(sociallogin.state["next"]))

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,
    ) -> NoReturn:
        """Say what went wrong, in the page where it was begun."""
        state = (extra_context or {}).get("state")
        if state is None:
            messages.error(request, "This took too long, or was begun in another browser. Please connect again.")
            raise ImmediateHttpResponse(redirect("handles"))
        handle = _handle_of(request, state)
        if error == AuthError.CANCELLED:
            messages.warning(request, f"You did not allow the access on X. {_NOTHING}")
        else:
            log.warning("x_connect_failed", handle=handle.username, error=str(exception)[:300])
            messages.error(request, f"X did not complete the connection ({_kind(exception)}). {_NOTHING} Try again.")
        raise ImmediateHttpResponse(redirect(state["next"]))


def begin(request: HttpRequest, handle: Handle, back: str) -> HttpResponse:
    """Send the person to X, to come back to the address `back`."""
    provider = AccountLinker(request).get_provider(request, XProvider.id)
    answer: HttpResponse = provider.redirect(request, process="connect", next_url=back, data={"handle": handle.pk})
    return answer


def answered(request: HttpRequest) -> HttpResponse:
    """X sends the person back here with a code, or with a refusal."""
    if not x_account.is_configured():
        raise Http404("X is not set up.")
    signed_in(request)
    view = OAuth2CallbackView.adapter_view(XAdapter)
    answer: HttpResponse = view(request)
    return answer


def _handle_of(request: HttpRequest, state: dict[str, Any]) -> Handle:
    """The handle for which it was begun, if the person may still change it."""
    handle = Handle.objects.visible_to(signed_in(request)).filter(pk=state["data"]["handle"]).first()
    if handle is None:
        raise Http404("No such handle.")
    require_role(signed_in(request), handle.team, EDITORS)
    return handle


def _tokens_of(sociallogin: SocialLogin) -> Tokens:
    token = sociallogin.token
    if not token.token_secret:
        raise PermissionDenied("X granted no lasting access (offline.access).")
    expires_at = token.expires_at.timestamp() if token.expires_at else time.time()
    return Tokens(token.token, token.token_secret, int(expires_at), sociallogin.granted_scope)


def _kind(exception: Exception | None) -> str:
    """What failed, in a word or two; never what X wrote, which is for the log."""
    if isinstance(exception, PermissionDenied):
        return str(exception)
    return {"ConnectTimeout": "no answer", "ReadTimeout": "no answer", "ConnectionError": "not reached"}.get(
        type(exception).__name__, "an unexpected answer"
    )
