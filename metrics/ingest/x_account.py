"""A handle's own account on X: connected with OAuth 2, its tokens kept fresh, disconnected by us or by X.

The connection is a source of kind `x_api`. Its settings tell the account (`user_id`, `username`), its sealed secrets
are `access_token`, `refresh_token`, `expires_at` (Unix seconds) and `scope`. While it holds,
the handle is authenticated.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.models import Handle, Platform, User
from accounts.sealing import BrokenSealError
from metrics.ingest import sources
from metrics.ingest.connectors import DisconnectedError, LimitedError, SourceError
from metrics.models import Source, SourceState

log = structlog.get_logger(__name__)

KIND: Final = "x_api"
SCOPES: Final = ("tweet.read", "users.read", "offline.access")
EARLY_SECONDS: Final = 120
"""A token is renewed when it has less than this to live."""
TIMEOUT_SECONDS: Final = 10.0
# What X says of a grant that is over; it calls a used or withdrawn refresh token an invalid request.
_OVER: Final = frozenset({"invalid_grant", "invalid_request", "access_denied"})
_OURS: Final = frozenset({"invalid_client", "unauthorized_client"})


class WrongAccountError(ValueError):
    """The account that was linked is not the handle's; the message names both."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who somebody is on X."""

    user_id: str
    username: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """What X granted; `expires_at` in Unix seconds."""

    access_token: str
    refresh_token: str
    expires_at: int
    scope: str = ""


def is_configured() -> bool:
    """Whether an admin has named the app under which this installation is known to X."""
    return bool(settings.X_CLIENT_ID and settings.X_CLIENT_SECRET)


def connection_of(handle: Handle) -> Source | None:
    """The handle's connection, whatever its state."""
    return Source.objects.filter(handle=handle, kind=KIND).select_related("handle").first()


def connect(handle: Handle, account: Account, tokens: Tokens, by: User) -> Source:
    """Keep the tokens for the handle and mark it authenticated; raises WrongAccountError and keeps nothing then."""
    if handle.platform != Platform.X:
        raise WrongAccountError(f"@{handle.username} is a handle of {handle.get_platform_display()}, not of X.")
    if account.username.lower() != handle.username.lower():
        raise WrongAccountError(
            f"You allowed access as @{account.username}, but this is the page of @{handle.username}. "
            f"Nothing was stored. Sign in to X as @{handle.username} and connect again."
        )
    with transaction.atomic():
        # Held, so that two who connect at once make one source.
        Handle.objects.select_for_update().get(pk=handle.pk)
        source = connection_of(handle) or Source(handle=handle, kind=KIND, name="X account")
        source.settings = {**source.settings, **asdict(account)}
        source.secrets, source.created_by = asdict(tokens), by
        source.save()
        handle.authenticated_at = timezone.now()
        handle.save(update_fields=["authenticated_at"])
        sources.note(source, f"Connected to @{account.username} by {by.email}.")
        sources.enter(source, SourceState.STARTING)
    return source


def access_token(source: Source, refused: str = "") -> str:
    """A token that X should take for the next minutes. Pass as `refused` one that X has just answered 401 to.

    Renews it where needed. The source's row is held meanwhile: X takes a refresh token once, so of several that ask at
    the same time one renews and the others get its result. Raises DisconnectedError when access is over (the source is
    disconnected then), LimitedError, and SourceError when X is away.
    """
    with transaction.atomic():
        held = Source.objects.select_for_update().get(pk=source.pk)
        try:
            return _fresh(held, refused)
        except DisconnectedError as error:
            over = error
            _end(held, over.reason)
    raise over


def withdrawn(source: Source, reason: str) -> None:
    """X has ended the access: forget the tokens, take the handle's mark away, and say why."""
    with transaction.atomic():
        _end(Source.objects.select_for_update().get(pk=source.pk), reason)


def doubt(source: Source) -> None:
    """The account can no longer be read: it vouches for its handle no longer, until somebody connects it again."""
    Handle.objects.filter(pk=source.handle_id).update(authenticated_at=None)


def disconnect(source: Source, by: str) -> bool:
    """End the access from our side, `by` whom the log shall say; False when X could not be told of it."""
    with transaction.atomic():
        held = Source.objects.select_for_update().get(pk=source.pk)
        secrets = _readable(held)
        _end(held, f"Disconnected by {by}.")
    tokens = [secrets[name] for name in ("refresh_token", "access_token") if secrets.get(name)]
    untold = [token for token in tokens if not _revoke(token)]
    if untold:
        where = "remove the app in your X account under Settings, Security, Apps and sessions"
        sources.note(source, f"X could not be told that the access has ended: {where}.", is_trouble=True)
    return not untold


def _fresh(held: Source, refused: str) -> str:
    try:
        secrets = held.secrets
    except BrokenSealError as error:
        raise SourceError("The tokens were sealed under a key that SEALING_KEY no longer names.") from error
    if not secrets:
        raise DisconnectedError("The account on X is not connected.")
    if secrets["access_token"] != refused and secrets["expires_at"] - EARLY_SECONDS > time.time():
        return str(secrets["access_token"])
    renewed = _renewed(secrets["refresh_token"])
    held.secrets = {**secrets, **renewed}
    held.save(update_fields=["sealed"])
    return str(renewed["access_token"])


def _readable(held: Source) -> dict[str, Any]:
    try:
        return held.secrets
    except BrokenSealError:
        return {}


def _end(held: Source, reason: str) -> None:
    held.secrets = {}
    held.save(update_fields=["sealed"])
    doubt(held)
    sources.enter(held, SourceState.DISCONNECTED, reason)


def _renewed(refresh_token: str) -> dict[str, Any]:
    """The secrets that take the place of the old ones: X gives a new refresh token each time."""
    answer = _ask("/2/oauth2/token", {"grant_type": "refresh_token", "refresh_token": refresh_token})
    _refuse(answer)
    try:
        told = answer.json()
        return {
            "access_token": str(told["access_token"]),
            "refresh_token": str(told.get("refresh_token") or refresh_token),
            "expires_at": int(time.time()) + int(told["expires_in"]),
            "scope": str(told.get("scope", "")),
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError("X answered the renewal of the tokens with something else.") from error


def _refuse(answer: httpx.Response) -> None:
    """Raise what an answer of the token endpoint means, unless it is a good one."""
    if answer.is_success:
        return
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise LimitedError("X limits how often tokens are renewed.", _reset_at(answer))
    error = _error_of(answer)
    if error in _OURS:
        raise SourceError("X does not accept X_CLIENT_ID and X_CLIENT_SECRET: an admin has to correct them.")
    if error in _OVER or answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise DisconnectedError("X has ended the access; connect again.")
    raise SourceError(f"X answered the renewal of the tokens with {answer.status_code}.")


def _error_of(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return ""


def _reset_at(answer: httpx.Response) -> datetime:
    now = datetime.now(UTC)
    try:
        told = datetime.fromtimestamp(int(answer.headers["x-rate-limit-reset"]), UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        return now + timedelta(minutes=15)
    return min(max(told, now + timedelta(seconds=5)), now + timedelta(days=1))


def _revoke(token: str) -> bool:
    try:
        answer = _ask("/2/oauth2/revoke", {"token": token})
    except SourceError as error:
        log.warning("x_revoke_failed", error=error.reason)
        return False
    # A token that X no longer knows has ended just as well.
    return answer.is_success or _error_of(answer) in _OVER


def _ask(path: str, form: dict[str, str]) -> httpx.Response:
    """POST a form in the app's name; raises SourceError when X cannot be asked."""
    if not is_configured():
        raise SourceError("X_CLIENT_ID and X_CLIENT_SECRET are not set: an admin has to.")
    try:
        return httpx.post(
            f"{settings.X_API_URL}{path}",
            data={**form, "client_id": settings.X_CLIENT_ID},
            auth=(settings.X_CLIENT_ID, settings.X_CLIENT_SECRET),
            timeout=TIMEOUT_SECONDS,
        )
    except httpx.TimeoutException as error:
        raise SourceError(f"X did not answer within {TIMEOUT_SECONDS:.0f} seconds.") from error
    except httpx.HTTPError as error:
        raise SourceError(f"X could not be reached: {type(error).__name__}.") from error
