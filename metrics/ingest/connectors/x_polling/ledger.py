"""What has been asked of X and what may be: the Tweets' rows, the allowances and the cursor of one source.

Every change of the cursor is made under a lock on the source's row, and only by the poller that opened the ledger last:
should two ever run, because the first one's lease ran out unnoticed, the older one stops at its next call. A call is
written down before it is made, so that all pollers together never make more calls than allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import transaction

from metrics.ingest.connectors import LimitedError
from metrics.ingest.connectors.x_polling import limits
from metrics.ingest.connectors.x_polling.limits import Allowance
from metrics.models import PolledTweet, Source
from metrics.vocabulary.events import tweet_created_at

# The newest so many Tweets of an account are asked about.
MOST_TWEETS = 10_000
# Not found so often in a row: believed to be deleted. One wrong answer must not end the counting of a hundred Tweets.
GONE_AFTER = 2


class Endpoint(StrEnum):
    """X's endpoints, each with an allowance of its own."""

    TIMELINE = "timeline"
    TWEETS = "tweets"
    ANALYTICS = "analytics"


class SupersededError(Exception):
    """Another poller has opened the ledger: this one must not go on."""


class Ledger:
    """The ledger of one source, opened by one poller. Its methods use the database and may raise DatabaseError."""

    def __init__(self, source_id: int) -> None:
        self.source_id = source_id
        with transaction.atomic():
            source = Source.objects.select_for_update().get(pk=source_id)
            self._run = int(source.cursor.get("run", 0)) + 1
            source.cursor["run"] = self._run
            source.save(update_fields=["cursor"])
        self.cursor: dict[str, Any] = source.cursor

    def move(self, **changes: object) -> None:
        """Keep these in the cursor; raises SupersededError."""
        with self._locked() as cursor:
            cursor.update(changes)

    def allowance(self, endpoint: Endpoint, now: datetime) -> Allowance:
        """What the endpoint has left, as far as this poller knows."""
        return _read(self.cursor, endpoint, now)

    def spend(self, endpoint: Endpoint, now: datetime) -> None:
        """Write down one call before it is made; raises SupersededError, and LimitedError where none is left."""
        with self._locked() as cursor:
            left = _read(cursor, endpoint, now)
            if left.remaining < 1:
                raise LimitedError(f"X allows {left.limit:,} calls of this kind at a time.", left.reset_at)
            _write(cursor, endpoint, left.spent())

    def learn(self, endpoint: Endpoint, headers: Mapping[str, str], now: datetime) -> None:
        """Keep what an answer's headers tell of the endpoint's limit; raises SupersededError."""
        with self._locked() as cursor:
            _write(cursor, endpoint, limits.told(headers, now, _read(cursor, endpoint, now)))

    def close_until(self, endpoint: Endpoint, until: datetime) -> None:
        """Nothing more may be asked there until an instant; raises SupersededError."""
        with self._locked() as cursor:
            known = _read(cursor, endpoint, until)
            _write(cursor, endpoint, Allowance(known.limit, 0, until, known.window))

    def tweets(self) -> list[PolledTweet]:
        """The Tweets that are asked about, newest first."""
        return list(PolledTweet.objects.filter(source_id=self.source_id, gone_at=None).order_by("-tweet_id"))

    def found(self, tweets: Iterable[tuple[int, datetime | None]]) -> None:
        """Ask about these Tweets from now on (id and creation); the oldest make room past MOST_TWEETS."""
        rows = [
            PolledTweet(
                source_id=self.source_id, tweet_id=tweet_id, created_at=created_at or tweet_created_at(tweet_id)
            )
            for tweet_id, created_at in tweets
        ]
        PolledTweet.objects.bulk_create(rows, ignore_conflicts=True)
        every = PolledTweet.objects.filter(source_id=self.source_id)
        oldest = every.order_by("-tweet_id").values_list("tweet_id", flat=True)[MOST_TWEETS - 1 : MOST_TWEETS].first()
        if oldest is not None:
            every.filter(tweet_id__lt=oldest).delete()

    def keep(self, rows: Iterable[PolledTweet]) -> None:
        """Write down what has been learnt about these Tweets."""
        fields = ["counted_at", "analysed_at", "blocks", "split", "missing", "gone_at"]
        PolledTweet.objects.bulk_update(rows, fields, batch_size=500)

    @contextmanager
    def _locked(self) -> Iterator[dict[str, Any]]:
        with transaction.atomic():
            source = Source.objects.select_for_update().only("cursor").get(pk=self.source_id)
            if source.cursor.get("run") != self._run:
                raise SupersededError("Another poller runs this source.")
            yield source.cursor
            source.save(update_fields=["cursor"])
        self.cursor = source.cursor


def missed(row: PolledTweet, now: datetime) -> bool:
    """Note that the Tweet was not found; whether it is believed to be gone from now on."""
    row.missing += 1
    if row.missing >= GONE_AFTER:
        row.gone_at = now
    return row.gone_at is not None


def _read(cursor: Mapping[str, Any], endpoint: Endpoint, now: datetime) -> Allowance:
    kept = cursor.get("limits", {}).get(endpoint.value)
    if kept is None:
        return limits.first(now)
    limit, remaining, reset_at, window = kept
    return Allowance(limit, remaining, datetime.fromtimestamp(reset_at, UTC), timedelta(seconds=window)).at(now)


def _write(cursor: dict[str, Any], endpoint: Endpoint, told: Allowance) -> None:
    kept = [told.limit, told.remaining, told.reset_at.timestamp(), told.window.total_seconds()]
    cursor.setdefault("limits", {})[endpoint.value] = kept
