"""How much the writers read: no more than they need, even where the planner has not yet heard of what is new."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from accounts.models import Handle
from metrics.aggregate import events, fold
from metrics.aggregate.statements import named
from metrics.models import Tweet
from metrics.vocabulary.events import snowflake_at
from tests.aggregate.events import NOW, Event, entries

MANY = 2_000
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _unheard_of(northwind: Handle) -> None:
    """Many Tweets, and a planner that thinks there are none."""
    born = NOW - timedelta(days=300)
    tweets = [Tweet(handle=northwind, tweet_id=snowflake_at(born, n), created_at=born) for n in range(MANY)]
    Tweet.objects.bulk_create(tweets)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM pg_statistic WHERE starelid = 'metrics_tweet'::regclass")
        cursor.execute(
            "UPDATE pg_class SET reltuples = 0 WHERE oid = 'metrics_tweet'::regclass"
            " OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'metrics_tweet'::regclass)"
        )


def rows_read(statement: str, parameters: dict[str, Any] | None = None) -> int:
    """How many Tweets the statement looked at, wanted or not."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
        plan = cursor.fetchone()[0][0]["Plan"]
    return sum(
        int(node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)))
        for node in nodes(plan)
        if node.get("Relation Name") == "metrics_tweet" and node["Node Type"] != "ModifyTable"
    )


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def test_snapshots_read_each_tweet_once() -> None:
    with connection.cursor() as cursor:
        cursor.execute(named("snapshots.sql")["tweets_table"])
        cursor.execute("INSERT INTO tweets_at_hand SELECT 0, handle_id, tweet_id FROM metrics_tweet")
    assert rows_read(named("snapshots.sql")["created"]) == MANY


def test_events_read_each_tweet_once(northwind: Handle) -> None:
    batch = events.batch_of(entries(northwind.pk, [[Event(key, key % 4, 0, 60 * key) for key in range(100)]]))
    events.ensure_partitions(batch)
    with connection.cursor() as cursor:
        cursor.execute(events._ARRIVALS)
        events.COLUMNS.copy_in(cursor, "arrivals", batch)
    assert rows_read(fold.statement("events"), fold.constants()) <= MANY
