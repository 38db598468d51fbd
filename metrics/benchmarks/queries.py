"""How long the readers take with many events behind the rollups.

The events are real rows, copied straight into their day's partition (through the door they would take much longer);
the rollups over them are made by the product's own `rebuild`. They spread over 28 days and 500 Tweets, each Tweet's
fading over three days. Timed are the readers that pages and API call, database included, HTTP and rendering not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from django.db import connection

from metrics.aggregate import arrivals, events, history, partitions
from metrics.benchmarks.guests import Guest, Guests
from metrics.benchmarks.measures import Meters
from metrics.benchmarks.timing import p95_ms
from metrics.models import Tweet
from metrics.query import params, series
from metrics.query.report import report, top_tweets
from metrics.vocabulary.engagements import N_TYPES
from metrics.vocabulary.events import snowflake_at, tweet_created_at
from metrics.vocabulary.periods import DisplayGrain

DAYS, TWEETS, RUNS = 28, 500, 120
AT_ONCE = 250_000
_DAY_US = 86_400_000_000
_FADES_US = 3 * _DAY_US


def query(meters: Meters, sizes: Sequence[int]) -> dict[str, Any]:
    """p95 of each reader at each number of events."""
    found: dict[str, Any] = {"report": {}, "top_tweets": {}, "tweets_28d_by_hour": {}}
    with Guests(handles=1, tweets=0) as guests:
        guest = with_history(guests.guests[0])
        loaded = 0
        for size in sorted(sizes):
            load(guest, loaded, size, meters)
            loaded = size
            for name, read in _readers(guest).items():
                found[name][f"p95_ms_{size / 1e6:g}m"] = p95_ms(read, RUNS)
        held = guests.counted()
    return {**found, "events": held, "runs": RUNS, "days": DAYS, "tweets": TWEETS}


def with_history(guest: Guest) -> Guest:
    """The guest with Tweets of the last 28 days, which are not stored yet."""
    now, step = datetime.now(UTC), timedelta(days=DAYS) / TWEETS
    tweets = (snowflake_at(now - timedelta(days=DAYS) + step * number, number) for number in range(TWEETS))
    return replace(guest, tweets=tuple(tweets))


def load(guest: Guest, since: int, until: int, meters: Meters) -> None:
    """Events number `since` to `until`, their rollups, and fresh statistics as autovacuum would make them."""
    known = {tweet_id: Tweet(handle=guest.handle, tweet_id=tweet_id) for tweet_id in guest.tweets}
    for tweet_id, tweet in known.items():
        tweet.created_at = tweet_created_at(tweet_id)
    Tweet.objects.bulk_create(known.values(), ignore_conflicts=True)
    random = np.random.default_rng(since + 1)
    with meters("Events", "events", until - since) as meter:
        for done in range(since, until, AT_ONCE):
            _copy(_events(guest, random, min(AT_ONCE, until - done)))
            meter.show(done - since, done - since)
        meter.show(until - since, until - since)
    history.rebuild(guest.handle.pk)
    with connection.cursor() as cursor:
        for table in ("metrics_handlerollup", "metrics_tweetrollup", "metrics_tweet"):
            cursor.execute(f"VACUUM (ANALYZE) {table}")


def _events(guest: Guest, random: np.random.Generator, number: int) -> arrivals.Batch:
    """So many events in key order."""
    now_us = time.time_ns() // 1000
    tweets = np.asarray(guest.tweets, dtype=np.int64)
    born_us = np.asarray([int(tweet_created_at(tweet_id).timestamp() * 1e6) for tweet_id in guest.tweets])
    places = random.integers(TWEETS, size=number)
    ages = (random.random(number) ** 3 * np.minimum(_FADES_US, now_us - born_us)[places]).astype(np.int64)
    fields = [("handle_id", "<i8"), ("tweet_id", "<i8"), ("occurred_at", "<i8"), ("event_key", "V16")]
    fields += [("person", "<i8"), ("count", "<i4"), ("type", "u1"), ("promoted", "u1"), ("received_at", "<i8")]
    fields += [("epoch", "<i2")]
    batch = np.zeros(number, dtype=fields)
    batch["handle_id"], batch["tweet_id"] = guest.handle.pk, tweets[places]
    batch["occurred_at"] = born_us[places] + ages
    batch["event_key"] = np.frombuffer(random.bytes(16 * number), dtype="V16")
    batch["person"] = random.integers(1, 2**40, size=number)
    batch["count"], batch["received_at"] = 1, now_us
    batch["type"] = np.where(random.random(number) < 0.6, 0, random.integers(N_TYPES, size=number))
    batch.sort(order="occurred_at")
    return batch


def _copy(batch: arrivals.Batch) -> None:
    events.ensure_partitions(batch)
    days = batch["occurred_at"] // _DAY_US
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        for day in np.unique(days):
            table = partitions.partition_name(partitions.EVENTS, datetime.fromtimestamp(int(day) * 86_400, UTC).date())
            with cursor.copy(f"COPY {table} ({events.COLUMNS.names}) FROM STDIN (FORMAT BINARY)") as copy:
                copy.write(events.COLUMNS.to_bytes(batch[days == day]))


def _readers(guest: Guest) -> dict[str, Callable[[], object]]:
    asked = {"range": "28d"}
    chosen = guest.tweets[:: TWEETS // 25]

    def by_hour() -> object:
        found = params.parse(asked, guest.handle, datetime.now(UTC))
        return series.tweet_series(guest.handle.pk, chosen, found.period, DisplayGrain.HOUR, found.zone)

    return {
        "report": lambda: report(params.parse(asked, guest.handle, datetime.now(UTC))),
        "top_tweets": lambda: top_tweets(params.parse(asked, guest.handle, datetime.now(UTC)), "engagements", limit=25),
        "tweets_28d_by_hour": by_hour,
    }
