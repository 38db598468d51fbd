"""Machines' keys: made once, kept as a digest, checked quickly, gone within five seconds of being revoked."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal

from django.db import transaction
from django.db.models import F, Prefetch, Q
from django.utils import timezone

from accounts.models import ApiToken, Handle, OAuthCredentials, Scope
from accounts.sealing import seal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from accounts.models import Team, User

SECRET_SHAPE = re.compile(r"it_[0-9a-f]{8}_[A-Za-z0-9_-]{43}")
BEARER_SHAPE = re.compile(r" *bearer +([\x21-\x7e]{1,200}) *", re.IGNORECASE)
NOTE_USE_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a live token opens: `handles` maps each covered username, in lower case, to its handle's id."""

    token_id: int
    team_id: int
    scopes: frozenset[str]
    handles: Mapping[str, int]


class Missing(Enum):
    """The type of `MISSING`, an enumeration so that type checkers can tell it from None."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING


def issue_token(
    team: Team,
    name: str,
    scopes: Iterable[str],
    handles: Iterable[Handle],
    expires_at: datetime | None = None,
    created_by: User | None = None,
    oauth: bool = False,
) -> tuple[ApiToken, str]:
    """A new token and its secret, which is shown once and never stored; with `oauth`, `token.oauth` is made too.

    Raises ValueError when no scope or no handle is given, when one is unknown or of another team, or when OAuth
    credentials are wanted for a token that may not read.
    """
    wanted, covered = sorted(set(scopes)), list(handles)
    _check_issue(team, wanted, covered, oauth)
    prefix = f"it_{secrets.token_hex(4)}"
    secret = f"{prefix}_{secrets.token_urlsafe(32)}"
    with transaction.atomic():
        token = ApiToken.objects.create(
            team=team,
            name=name,
            prefix=prefix,
            digest=digest_of(secret),
            scopes=wanted,
            expires_at=expires_at,
            created_by=created_by,
        )
        token.handles.set(covered)
        if oauth:
            _make_oauth(token)
    return token, secret


def _check_issue(team: Team, wanted: list[str], covered: list[Handle], oauth: bool) -> None:
    if not wanted or not set(wanted) <= set(Scope.values):
        raise ValueError(f"scopes: give at least one of {', '.join(Scope.values)}.")
    if not covered or any(handle.team_id != team.pk for handle in covered):
        raise ValueError("handles: give at least one, all of the token's team.")
    if oauth and Scope.READ not in wanted:
        raise ValueError("scopes: OAuth credentials only read, so give the token the scope “read”.")


def _make_oauth(token: ApiToken) -> OAuthCredentials:
    """New OAuth 1.0a credentials for the token; the lengths are those that clients of the vendor's know."""
    return OAuthCredentials.objects.create(
        token=token,
        consumer_key=_letters(25),
        consumer_secret=seal(_letters(50)),
        access_token=_letters(40),
        access_secret=seal(_letters(45)),
    )


def _letters(number: int) -> str:
    """So many random letters and digits: nothing that a client would have to escape."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(number))


def load_credential(secret: str) -> Credential | None:
    """What this secret opens now, in two queries; None when it is malformed, unknown, expired or revoked.

    Notes when the token was last used, at most once a minute.
    """
    if not SECRET_SHAPE.fullmatch(secret):
        return None
    token = live_token(digest=digest_of(secret))
    return credential_of(token) if token else None


def live_token(**which: Any) -> ApiToken | None:
    """The token that the conditions name, with its handles, in two queries; None unless it opens doors now."""
    # A handle that moved to another team leaves the token's reach with it.
    covered = Prefetch("handles", Handle.objects.filter(tokens__team=F("team")).distinct().order_by())
    token = ApiToken.objects.filter(**which).prefetch_related(covered).first()
    return token if token and token.is_live(timezone.now()) else None


def credential_of(token: ApiToken) -> Credential:
    """What a token from `live_token` opens, for whoever has proved to hold it; notes the use, at most once a minute."""
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at >= NOTE_USE_EVERY:
        _note_use(token.pk, now)
    return Credential(
        token_id=token.pk,
        team_id=token.team_id,
        scopes=frozenset(token.scopes),
        handles={handle.username.lower(): handle.pk for handle in token.handles.all()},
    )


def _note_use(token_id: int, now: datetime) -> None:
    """Write the use down, unless another process has just done so."""
    unnoted = Q(last_used_at=None) | Q(last_used_at__lte=now - NOTE_USE_EVERY)
    ApiToken.objects.filter(unnoted, pk=token_id).update(last_used_at=now)


def digest_of(secret: str) -> str:
    """The SHA-256 hex digest under which a secret is kept; secrets are random, so no salt is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def bearer(header: str | bytes | None) -> str | None:
    """The token of an `Authorization: Bearer …` header; None for anything else."""
    text = header.decode("latin-1") if isinstance(header, bytes) else header or ""
    match = BEARER_SHAPE.fullmatch(text)
    return match[1] if match else None


class CredentialCache:
    """The latest answers of `load_credential`, refusals included, each believed for `ttl` seconds.

    One process holds one; threads may share it. Secrets are held as digests. The default leaves half a second
    of the promised five for the look-up that was under way while a token was revoked.
    """

    def __init__(self, ttl: float = 4.5, size: int = 4096, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl, self._size, self._clock = ttl, size, clock
        self._answers: OrderedDict[bytes, tuple[float, Credential | None]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, secret: str) -> Credential | Literal[Missing.MISSING] | None:
        """The believed answer: a credential, None for a refused secret, or MISSING: look it up."""
        answer = self._answers.get(_cache_key(secret))
        if answer is None or self._clock() >= answer[0]:
            return MISSING
        return answer[1]

    def put(self, secret: str, credential: Credential | None) -> None:
        """Believe this answer from now on; the oldest answers make room."""
        key = _cache_key(secret)
        with self._lock:
            self._answers[key] = (self._clock() + self._ttl, credential)
            self._answers.move_to_end(key)
            while len(self._answers) > self._size:
                self._answers.popitem(last=False)


def _cache_key(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
