"""The answer to a `ReportQuery`: totals, the comparison, the series; and the other readers by one name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from metrics.models import HandleFeed, Tweet
from metrics.query import audience, series
from metrics.query.cards import HandleCard, MovingTweet, handle_cards
from metrics.query.params import Reading
from metrics.query.story import TweetQuery, TweetReport, parse_tweet, tweet_report
from metrics.query.tweets import TweetRow, search_tweets, top_tweets
from metrics.vocabulary.engagements import METRICS, engagement_rate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from django.db.models import QuerySet

    from metrics.query.audience import Reached
    from metrics.query.params import ReportQuery
    from metrics.query.series import Series
    from metrics.vocabulary.engagements import Counts
    from metrics.vocabulary.periods import Period

# Nothing received for so long makes a handle quiet.
QUIET_AFTER = timedelta(minutes=1)
# Of more Tweets that were created in a period, no reach is told.
MOST_TWEETS = 500

__all__ = [
    "HandleCard",
    "MovingTweet",
    "Report",
    "TweetQuery",
    "TweetReport",
    "TweetRow",
    "handle_cards",
    "parse_tweet",
    "reach",
    "reach_of_each",
    "report",
    "search_tweets",
    "top_tweets",
    "totals",
    "tweet_report",
]


@dataclass(frozen=True, slots=True)
class Report:
    """A handle's figures, all from one moment.

    `totals` int64[2, 26] is the sum of `series`. `previous` int64[2, 26] covers as much of the comparison
    period as the running period has already had, so that an unfinished day is not set against a whole one;
    `previous_series` draws all of it. `quiet_since` is when the last event came, once that is a minute ago;
    None while events come, and for a handle that never had one. `sequence` numbers the handle's commits.
    """

    query: ReportQuery
    sequence: int
    totals: Counts
    previous: Counts | None
    series: Series
    previous_series: Series | None
    as_of: datetime
    quiet_since: datetime | None
    tweets_published: int
    previous_tweets_published: int | None

    def change(self, name: str) -> float | None:
        """The metric's relative change against the comparison (0.12: 12 % more); None from zero."""
        if self.previous is None:
            return None
        metric = METRICS[name]
        return change(int(metric.of(self.totals).sum()), int(metric.of(self.previous).sum()))

    @property
    def engagement_rate(self) -> float | None:
        """Engagements divided by impressions; None where nothing was shown."""
        return engagement_rate(self.totals.sum(axis=0))

    @property
    def previous_engagement_rate(self) -> float | None:
        """The comparison's engagement rate; None without comparison, or where nothing was shown."""
        return None if self.previous is None else engagement_rate(self.previous.sum(axis=0))


def change(value: float, before: float) -> float | None:
    """How much larger the value is, relative to the size of before; None where before is zero."""
    return (value - before) / abs(before) if before else None


def report(query: ReportQuery) -> Report:
    """The figures of the query's handle and period, read from one moment's snapshot."""
    handle_id, other = query.handle.pk, query.comparison
    by_life = query.reading is Reading.TWEETS
    read_series = series.cohort_series if by_life else series.handle_series
    read_totals = series.cohort_totals if by_life else series.handle_totals
    with series.snapshot():
        feed = HandleFeed.objects.filter(handle_id=handle_id).first()
        drawn = read_series(handle_id, query.period, query.grain, query.zone)
        before = read_series(handle_id, other.period, query.grain, query.zone) if other else None
        previous = read_totals(handle_id, other.elapsed) if other else None
        return Report(
            query=query,
            sequence=feed.sequence if feed else 0,
            totals=drawn.totals,
            previous=previous,
            series=drawn,
            previous_series=before,
            as_of=query.now,
            quiet_since=_quiet_since(feed, query.now),
            tweets_published=_published(handle_id, query.period),
            previous_tweets_published=_published(handle_id, other.elapsed) if other else None,
        )


def totals(query: ReportQuery) -> Counts:
    """int64[2, 26]: the totals of `report`, when nothing else of it is wanted."""
    read = series.cohort_totals if query.reading is Reading.TWEETS else series.handle_totals
    return read(query.handle.pk, query.period)


def reach(query: ReportQuery) -> Reached | None:
    """The people whom the handle reached in the period; or the Tweets created in it, in their life, unless too many."""
    if query.reading is Reading.ACTIVITY:
        return audience.reached([[audience.whole(query.handle)]], audience.span(query.period, query.now))[0]
    tweets = list(_created(query.handle.pk, query.period)[: MOST_TWEETS + 1])
    if len(tweets) > MOST_TWEETS:
        return None
    return audience.reached([[audience.member(tweet) for tweet in tweets]], audience.span(None, query.now))[0]


def reach_of_each(tweets: Sequence[Tweet], now: datetime) -> list[Reached]:
    """The people of each Tweet over its life."""
    return audience.reached([[audience.member(tweet)] for tweet in tweets], audience.span(None, now))


def _quiet_since(feed: HandleFeed | None, now: datetime) -> datetime | None:
    last = feed.last_received_at if feed else None
    return last if last and now - last >= QUIET_AFTER else None


def _published(handle_id: int, period: Period) -> int:
    return _created(handle_id, period).count()


def _created(handle_id: int, period: Period) -> QuerySet[Tweet]:
    return Tweet.objects.filter(handle_id=handle_id, created_at__gte=period.since, created_at__lt=period.until)
