"""What had happened before a source was first heard: counts whose time is known only roughly."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from django.db import connection

from metrics.models import InferredCount

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from metrics.vocabulary.periods import Period

Span = tuple["datetime", "datetime"]


def before_tracking(handle_id: int, tweet_id: int | None, period: Period, starts: Sequence[datetime]) -> list[Span]:
    """The stretches of a period that hold counts from before tracking began, as whole display buckets.

    `starts` are the display buckets of the period; neighbouring ones are joined. Of one Tweet, or of the whole handle.
    """
    edges = [*starts, period.until]
    held = sorted({bisect_right(edges, instant) - 1 for instant in _quarters(handle_id, tweet_id, period)})
    spans: list[Span] = []
    for place in held:
        since, until = edges[max(0, place)], edges[min(max(0, place) + 1, len(edges) - 1)]
        if spans and spans[-1][1] >= since:
            spans[-1] = (spans[-1][0], until)
        else:
            spans.append((since, until))
    return spans


def _quarters(handle_id: int, tweet_id: int | None, period: Period) -> list[datetime]:
    """The quarter-hours of the period in which history lies."""
    table = InferredCount._meta.db_table
    of_tweet = "AND tweet_id = %(tweet)s" if tweet_id is not None else ""
    statement = (
        f"SELECT DISTINCT date_bin('15 minutes', occurred_at, 'epoch'::timestamptz) FROM {table}"  # noqa: S608  # fixed words
        f" WHERE handle_id = %(handle)s AND is_history {of_tweet}"
        " AND occurred_at >= %(since)s AND occurred_at < %(until)s"
    )
    parameters = {"handle": handle_id, "tweet": tweet_id, "since": period.since, "until": period.until}
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return [instant for (instant,) in cursor.fetchall()]
