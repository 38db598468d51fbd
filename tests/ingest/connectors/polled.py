"""What the tests of polling X share: Tweets by age, one run of the connector, and what it said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from metrics.ingest.connectors.x_api import XApi
from metrics.models import PolledTweet, Source
from metrics.vocabulary.events import snowflake_at
from tests import x_server
from tests.ingest.bench import Bench

NOW = datetime.now(UTC)
TIMELINE, LOOKUP, ANALYTICS = f"/2/users/{x_server.USER_ID}/tweets", "/2/tweets", "/2/tweets/analytics"
Said = dict[tuple[int, bool | None], dict[str, int | None]]


def aged(age: timedelta, sequence: int = 0) -> int:
    """The id of a Tweet of this age."""
    return snowflake_at(NOW - age, sequence)


def run(bench: Bench) -> datetime | None:
    """One run, as a runner would make it; returns when the next one is due."""
    return bench.run(XApi())


def said(bench: Bench) -> Said:
    """What all snapshots said so far: (Tweet, promoted) → counts, later ones over earlier ones."""
    found: Said = {}
    for delivery in bench.deliveries:
        for one in delivery.snapshots:
            found.setdefault((int(one.tweet_id), one.promoted), {}).update(one.counts)
    return found


def notes(bench: Bench) -> list[str]:
    """The source's log."""
    return [str(note) for note in bench.source.notes.all()]


def make_due(bench: Bench) -> None:
    """Let a week pass for the schedule."""
    week_ago = NOW - timedelta(days=8)
    PolledTweet.objects.update(counted_at=week_ago, analysed_at=week_ago)
    source = Source.objects.get(pk=bench.source.pk)
    source.cursor["listed_at"] = week_ago.isoformat()
    source.save()


HOURS_AGO = aged(timedelta(hours=3))
MONTHS_AGO = aged(timedelta(days=60))
COUNTS = {"impression_count": 100, "like_count": 5, "url_link_clicks": 3, "user_profile_clicks": 2}
PROMOTED = {"impression_count": 40, "like_count": 1}
