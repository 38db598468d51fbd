"""The team, user, handles and token that a benchmark works with; they leave when it ends."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.db import connection, transaction
from django.db.models import Sum

from accounts.credentials import issue_token
from accounts.models import Handle, Membership, Role, Scope, Team, User
from metrics.models import HandleRollup, TweetRollup
from metrics.vocabulary.engagements import N_TYPES, NAMES
from metrics.vocabulary.events import snowflake_at
from metrics.vocabulary.periods import Grain

if TYPE_CHECKING:
    from metrics.vocabulary.engagements import Counts

STALLED_AFTER = 60.0  # seconds without any progress
TEAM_NAME = "Benchmark"
# A run holds PostgreSQL's advisory lock (this, its team's id) for as long as its process lives.
RUN_LOCK = 7_241_002

# What is counted of a handle, and does not go with it.
_COUNTED = (
    "metrics_handlerollup",
    "metrics_tweetrollup",
    "metrics_engagementevent",
    "metrics_inferredcount",
    "metrics_lastsnapshot",
    "metrics_reachsketch",
)


@dataclass(frozen=True)
class Guest:
    """A handle of the benchmark, with a token for it alone and the ids of its Tweets."""

    handle: Handle
    token: str
    tweets: tuple[int, ...]


class Guests:
    """A context manager: the guests come with it and are gone after it, with their rollups and events.

    What runs that were killed have left goes when the next one begins.
    """

    def __init__(self, handles: int, tweets: int) -> None:
        self._handles, self._tweets = handles, tweets
        self.guests: list[Guest] = []

    def __enter__(self) -> Guests:
        for left in Team.objects.filter(name=TEAM_NAME, slug__regex="^bench[0-9a-f]{8}$"):
            if _claim(left):
                _remove(left)
        name = f"bench{secrets.token_hex(4)}"
        with transaction.atomic():  # nobody sees the team before it is claimed
            self.team = Team.objects.create(name=TEAM_NAME, slug=name)
            _claim(self.team)
        self.user = User(email=f"{name}@benchmark.invalid")
        self.user.set_unusable_password()
        self.user.save()
        Membership.objects.create(user=self.user, team=self.team, role=Role.OWNER)
        self.guests = [self._guest(f"{name}_{number}") for number in range(self._handles)]
        return self

    def _guest(self, username: str) -> Guest:
        handle = Handle.objects.create(team=self.team, username=username, display_name="Benchmark")
        _, secret = issue_token(self.team, username, [Scope.INGEST, Scope.READ], [handle])
        born_at = datetime.now(UTC) - timedelta(hours=1)
        tweets = tuple(snowflake_at(born_at, number) for number in range(self._tweets))
        return Guest(handle, secret, tweets)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _remove(self.team)

    def session_key(self) -> str:
        """The key of a new session in which the user is signed in."""
        store = import_module(settings.SESSION_ENGINE).SessionStore()
        store[SESSION_KEY] = str(self.user.pk)
        store[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[-1]
        store[HASH_SESSION_KEY] = self.user.get_session_auth_hash()
        store.create()
        return str(store.session_key)

    def counted(self) -> int:
        """How many events of the guests can be queried now."""
        sums = HandleRollup.objects.filter(
            handle__in=[guest.handle for guest in self.guests], grain=Grain.LIFETIME
        ).aggregate(**{name: Sum(name, default=0) for name in NAMES})
        return sum(sums.values())

    def wait_until_counted(self, events: int) -> float:
        """Wait for so many events to be queryable; returns when that was, or when nothing had moved for a minute."""
        counted, moved_at = -1, time.monotonic()
        while (now := time.monotonic()) - moved_at < STALLED_AFTER:
            before, counted = counted, self.counted()
            if counted >= events:
                return time.monotonic()
            if counted != before:
                moved_at = now
            time.sleep(0.05)
        return time.monotonic()


def _claim(team: Team) -> bool:
    """Take the lock of the team's run; False while another process, which is alive then, has it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [RUN_LOCK, team.pk])
        return bool(cursor.fetchone()[0])


def _remove(team: Team) -> None:
    """Delete the team, its user, its handles and all that was counted of them; free its lock."""
    team_id, ids = team.pk, list(team.handles.values_list("pk", flat=True))
    User.objects.filter(email=f"{team.slug}@benchmark.invalid").delete()
    team.delete()
    with connection.cursor() as cursor:
        for table in _COUNTED:
            cursor.execute(f"DELETE FROM {table} WHERE handle_id = ANY(%s)", [ids])  # noqa: S608  a fixed list
        cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [RUN_LOCK, team_id])


def totals(guest: Guest, grain: Grain) -> Counts:
    """int64[tweets, 2, 26]: what the rollups of this grain say of the guest's Tweets."""
    found = np.zeros((len(guest.tweets), 2, N_TYPES), dtype=np.int64)
    place = {tweet_id: number for number, tweet_id in enumerate(guest.tweets)}
    rows = TweetRollup.objects.filter(handle=guest.handle, grain=grain).values_list("tweet_id", "promoted", *NAMES)
    for tweet_id, promoted, *counts in rows:
        found[place[tweet_id], int(promoted)] += counts
    return found


def handle_totals(guest: Guest) -> Counts:
    """int64[2, 26]: what the rollups say of the guest's whole handle."""
    found = np.zeros((2, N_TYPES), dtype=np.int64)
    rows = HandleRollup.objects.filter(handle=guest.handle, grain=Grain.LIFETIME).values_list("promoted", *NAMES)
    for promoted, *counts in rows:
        found[int(promoted)] += counts
    return found


def is_exact(guest: Guest, expected: Counts) -> bool:
    """Whether Tweets by lifetime, Tweets by minute and the handle hold exactly int64[tweets, 2, 26] of events."""
    return (
        np.array_equal(totals(guest, Grain.LIFETIME), expected)
        and np.array_equal(totals(guest, Grain.MINUTE), expected)
        and np.array_equal(handle_totals(guest), expected.sum(axis=0))
    )
