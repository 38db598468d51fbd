"""What a page knows, as JSON: embedded when it is served, fetched again when something was missed.

Counts are [organic, promoted], each a list of 26 in storage order, and `[]` where all are zero: the form that
the frames of `present.live` have. Instants are milliseconds since the epoch, edges of buckets are seconds,
ids are strings.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.urls import reverse

from metrics.models import HandleFeed, Tweet
from metrics.present import clock, figures
from metrics.present.bands import Bands
from metrics.query import series
from metrics.query.params import Compare, Range, ReportQuery
from metrics.query.report import HandleCard, Report, TweetReport, TweetRow
from metrics.query.tweets import rate_period
from metrics.query.typical import AGES
from metrics.vocabulary.engagements import METRICS, NAMES, TYPES, Counts
from metrics.vocabulary.periods import DisplayGrain, Period, day_start

Json = dict[str, Any]
_STORED_AS = {DisplayGrain.MINUTE: "minutes", DisplayGrain.QUARTER: "quarters"}
_PREVIOUS = {
    Range.MINUTES_30: "previous 30 min",
    Range.HOURS_24: "previous 24 h",
    Range.HOURS_28: "previous 28 h",
    Range.DAYS_7: "previous 7 d",
    Range.DAYS_28: "previous 28 d",
    Range.CUSTOM: "period before",
}


def vocabulary() -> Json:
    """The 26 types and every metric as places to add and to subtract, so that no script types them again."""
    places = {name: place for place, name in enumerate(NAMES)}
    return {
        "names": NAMES,
        "undoes": {kind.name: kind.undoes for kind in TYPES if kind.undoes},
        "metrics": {
            name: {
                "plus": [places[part] for part in metric.plus],
                "minus": [places[part] for part in metric.minus],
            }
            for name, metric in METRICS.items()
        },
    }


def report_snapshot(report: Report, rows: Sequence[TweetRow], moving: Sequence[TweetRow], bands: Bands) -> Json:
    """All that the dashboard shows of a report, its Tweets, those that move now, and what its charts mark."""
    query = report.query
    edges = [*report.series.starts, query.period.until]
    known = {row.tweet.tweet_id: row for row in (*rows, *moving)}
    return {
        **_feed(query.handle.username, report.sequence, query.handle.pk, query.now),
        "range": query.range.value,
        "grain": query.grain.value,
        "reading": query.reading.value,
        "zone": query.zone.key,
        "running": query.is_running,
        "edges": [_seconds(edge) for edge in edges],
        "labels": clock.bucket_labels(edges, query.grain, query.zone),
        "ticks": ticks(clock.ticks(query.period, query.zone)),
        "counts": [vectors(bucket) for bucket in report.series.counts],
        "previous": _previous(report),
        "stored_as": _STORED_AS.get(query.grain, "quarters"),
        "tail": _tail(query, edges),
        "tweets": [_tweet(row, pace) for row, pace in zip(known.values(), _paces(query, list(known)), strict=True)],
        "shown": [str(row.tweet.tweet_id) for row in rows],
        "published": report.tweets_published,
        "bands": bands.as_data(),
    }


def comparison_name(query: ReportQuery) -> str:
    """What a change is against: "previous 24 h", "same weekdays", or "" without comparison."""
    if query.comparison is None:
        return ""
    return "same weekdays" if query.comparison.kind is Compare.WEEKDAYS else _PREVIOUS[query.range]


def ticks(found: clock.Ticks) -> Json:
    """A time axis' labels for plotly.js."""
    return {"at": [instant.timestamp() * 1000 for instant in found.at], "text": list(found.text)}


def vectors(counts: Counts) -> list[list[int]]:
    """int64[2, 26] as [organic, promoted], `[]` where all are zero."""
    return [row.tolist() if row.any() else [] for row in counts]


def tweet_snapshot(report: TweetReport, bands: Bands) -> Json:
    """All that a Tweet's page shows of its report, and what its charts mark."""
    query = report.query
    edges = [*report.clock.starts, query.period.until]
    minutes = [*report.velocity.starts]
    return {
        **_feed(query.handle.username, report.sequence, query.handle.pk, query.now),
        "tweet": str(query.tweet.tweet_id),
        "lifetime": vectors(report.lifetime),
        "times": report.times_usual,
        "created_at": query.tweet.created_at.timestamp() * 1000,
        "is_young": query.now - query.tweet.created_at <= AGES[-1],
        "edges": [_seconds(edge) for edge in edges],
        "labels": clock.bucket_labels(edges, query.grain, query.zone),
        "before": vectors(report.before),
        "counts": [vectors(bucket) for bucket in report.clock.counts],
        "zone": query.zone.key,
        "bands": bands.as_data(),
        "minutes": [
            [_seconds(start), *vectors(counts)] for start, counts in zip(minutes, report.velocity.counts, strict=True)
        ],
    }


def cards_snapshot(cards: Sequence[HandleCard], now: datetime) -> Json:
    """All that the page of handles shows."""
    return {"served_at": now.timestamp() * 1000, "handles": [_card(card, now) for card in cards]}


def _card(card: HandleCard, now: datetime) -> Json:
    moving, zone = card.moving, card.handle.zone
    today = now.astimezone(zone).date()
    return {
        **_feed(card.handle.username, card.sequence, card.handle.pk, now),
        "minutes": [
            [_seconds(start), *vectors(counts)]
            for start, counts in zip(card.minutes.starts, card.minutes.counts, strict=True)
        ],
        "midnight": _seconds(day_start(today, zone)),
        "tomorrow": _seconds(day_start(today + timedelta(days=1), zone)),
        "today": vectors(card.today),
        "yesterday": vectors(card.yesterday),
        "last_week": vectors(card.last_week),
        "moving": moving
        and {
            "url": tweet_url(card.handle.username, moving.tweet),
            "text": str(moving.tweet),
            "rate": figures.rate(moving.rate_per_minute),
        },
    }


def _feed(username: str, sequence: int, handle_id: int, now: datetime) -> Json:
    feed = HandleFeed.objects.filter(handle_id=handle_id).only("last_received_at").first()
    last = feed.last_received_at if feed else None
    return {
        "handle": username,
        "sequence": sequence,
        "served_at": now.timestamp() * 1000,
        "last_received_at": last and last.timestamp() * 1000,
    }


def _previous(report: Report) -> Json | None:
    if report.previous is None or report.previous_series is None:
        return None
    return {
        "name": comparison_name(report.query),
        "totals": vectors(report.previous),
        "counts": [vectors(bucket) for bucket in report.previous_series.counts],
    }


def _tail(query: ReportQuery, edges: Sequence[datetime]) -> list[list[Any]]:
    """The quarter-hours within the last two hours or days shown: what a frame can replace."""
    if query.grain in _STORED_AS or not query.is_running:
        return []
    part = Period(edges[max(0, len(edges) - 3)], edges[-1])
    quarters = series.handle_series(query.handle.pk, part, DisplayGrain.QUARTER, query.zone)
    return [[_seconds(start), *vectors(counts)] for start, counts in zip(quarters.starts, quarters.counts, strict=True)]


def _paces(query: ReportQuery, tweet_ids: Sequence[int]) -> list[list[list[int]]]:
    """For each Tweet its engagements in the minutes that make its speed: [[start, engagements], …]."""
    period = rate_period(query.now)
    found = series.tweet_series(query.handle.pk, tweet_ids, period, DisplayGrain.MINUTE, query.zone)
    return [
        [
            [_seconds(start), int(METRICS["engagements"].of(counts).sum())]
            for start, counts in zip(found[tweet_id].starts, found[tweet_id].counts, strict=True)
        ]
        for tweet_id in tweet_ids
    ]


def _tweet(row: TweetRow, pace: list[list[int]]) -> Json:
    tweet = row.tweet
    return {
        "id": str(tweet.tweet_id),
        "url": tweet_url(tweet.handle.username, tweet),
        "text": str(tweet),
        "media": tweet.get_media_display(),
        "created_at": tweet.created_at.timestamp() * 1000,
        "totals": vectors(row.totals),
        "lifetime": vectors(row.lifetime),
        "pace": pace,
        "times": row.times_usual,
        "tags": [[tag, reverse("campaign", args=[tag])] for tag in tweet.tags if tag],
    }


def tweet_url(username: str, tweet: Tweet) -> str:
    """The address of a Tweet's page."""
    return reverse("tweet", args=[username, tweet.tweet_id])


def _seconds(instant: datetime) -> int:
    return int(instant.timestamp())
