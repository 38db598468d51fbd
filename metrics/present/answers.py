"""The JSON API's shapes: what its parameters and answers hold, with examples, as the OpenAPI schema shows them."""

from __future__ import annotations

from datetime import datetime

from ninja import Schema
from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from metrics.present.reach_answers import AudienceOut, PeopleOut
from metrics.present.shapes import NAME, WHEN, PeriodOut, Text, text_param
from metrics.query.params import Compare, Range, Reading
from metrics.query.story import Span
from metrics.query.tweets import SORTS
from metrics.vocabulary.engagements import METRICS
from metrics.vocabulary.periods import DisplayGrain


class Stretch(Schema):
    """Parameters that choose a period, its grain and its time zone."""

    since: Text = text_param(
        "Start of a custom period: a date or time in the zone, or a time with an offset.", "2026-03-01", pattern=WHEN
    )
    until: Text = text_param(
        "End of a custom period, itself no longer counted; now when absent.", "2026-03-08T12:00", pattern=WHEN
    )
    grain: Text = text_param(
        "Length of the series' buckets; chosen from the period when absent.", "hour", enum=[*DisplayGrain]
    )
    zone: Text = text_param("Time zone of dates and buckets; the handle's when absent.", "Europe/Copenhagen")


class ReportParams(Stretch):
    """Parameters of a handle's report and of its Tweets."""

    range: Text = text_param(
        "A rolling range that ends with the running bucket, or custom; 28h when absent.", "7d", enum=[*Range]
    )
    compare: Text = text_param("What the period is compared with; previous when absent.", "weekdays", enum=[*Compare])
    reading: Text = text_param(
        "activity (default): what happened in the period, whatever the Tweet. "
        "tweets: all that ever happened to the Tweets created in it.",
        "activity",
        enum=[*Reading],
    )


class TweetsParams(ReportParams):
    """Parameters of a list of Tweets."""

    sort: Text = text_param("Order: rate (default), or one of these.", "engagements", enum=[*SORTS, *METRICS])
    order: Text = text_param("desc (default): the largest first; asc: the smallest.", "desc", enum=["desc", "asc"])
    tag: Text = text_param("Only Tweets with this tag, written exactly so; all when absent.", "spring")
    limit: int = Field(25, ge=1, le=100, description="How many Tweets to answer at most.")
    offset: int = Field(
        0, ge=0, le=1_000_000, description="How many Tweets to pass over: `next_offset` of the last answer."
    )


class SeriesParams(Stretch):
    """Parameters of a Tweet's series."""

    range: Text = text_param("Which part of the Tweet's life; all of it when absent.", "24h", enum=[*Span])
    handle: Text = text_param(
        "The Tweet's handle, needed only when several of yours hold this id.", "northwind", pattern=NAME
    )


class Problem(Schema):
    """Why a request is refused."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"error": "bad_parameter", "field": "range", "detail": "range: “90d” is not known; use 7d."}]
        }
    )
    error: str = Field(description="A word that programs can rely on.")
    detail: str = Field(description="What is wrong, and what to do about it.")
    field: str | SkipJsonSchema[None] = Field(None, description="The parameter at fault, when there is one.")


class HandleOut(Schema):
    """A handle that you may read."""

    username: str = Field(examples=["northwind"])
    display_name: str = Field(examples=["Northwind Coffee"])
    platform: str = Field(examples=["x"])
    time_zone: str = Field(examples=["Europe/Copenhagen"])
    colour: str = Field(examples=["#0b6e69"])


class HandlesOut(Schema):
    """All handles that you may read."""

    handles: list[HandleOut]


class ComparisonOut(PeriodOut):
    """The period compared with. While the period is running, totals count only until `elapsed_until`."""

    kind: str = Field(examples=["previous"])
    elapsed_until: datetime


class ValueOut(Schema):
    """One metric's total, and how it changed."""

    value: int = Field(examples=[1284])
    previous: int | None = Field(description="The comparison's total; null without comparison.", examples=[1100])
    change: float | None = Field(
        description="0.12 is 12 % more; null without comparison or from zero.", examples=[0.167]
    )


class TypeOut(Schema):
    """One engagement type: gained each way, taken back, and what remains."""

    type: str = Field(examples=["favorites"])
    label: str = Field(examples=["Likes"])
    organic: int
    promoted: int
    gained: int
    lost: int
    net: int


class SeriesOut(Schema):
    """Counts by bucket: the lists stand beside `starts`."""

    starts: list[datetime] = Field(description="First instants of the buckets, in the zone.")
    until: datetime = Field(description="End of the last bucket; the series is unfinished while it lies ahead.")
    metrics: dict[str, list[int]] = Field(description="Each metric, organic and promoted together.")
    promoted: dict[str, list[int]] = Field(description="The promoted part of the types that can be promoted.")


class ReportOut(Schema):
    """A handle's figures in a period."""

    handle: str = Field(examples=["northwind"])
    range: str = Field(examples=["28h"])
    reading: str = Field(examples=["activity"])
    grain: str = Field(examples=["quarter"])
    zone: str = Field(examples=["Europe/Copenhagen"])
    period: PeriodOut = Field(description="The period actually used, of whole buckets.")
    widened: bool = Field(description="Whether a custom period was widened to whole buckets.")
    comparison: ComparisonOut | None
    as_of: datetime
    sequence: int = Field(description="Number of the handle's latest commit: the same number means the same figures.")
    quiet_since: datetime | None = Field(description="When the last event came, once that is a minute ago.")
    tweets_published: int
    engagement_rate: float | None = Field(description="Engagements / impressions; null where nothing was shown.")
    previous_engagement_rate: float | None
    metrics: dict[str, ValueOut]
    types: list[TypeOut]
    reach: PeopleOut | None = Field(
        description="People whom the handle's Tweets reached in the period; by reading tweets, whom the Tweets created "
        "in it reached in their life, or null where those are more than 500."
    )
    series: SeriesOut


class TweetOut(Schema):
    """A Tweet."""

    id: str = Field(description="A 64-bit number, as text.", examples=["1108499416611061761"])
    handle: str = Field(examples=["northwind"])
    text: str
    created_at: datetime
    media: str = Field(examples=["photo"])
    link: str
    tags: list[str]


class RankedTweetOut(TweetOut):
    """A Tweet with its figures: in the reading that was asked for, and over its life."""

    totals: dict[str, int] = Field(description="Each metric, in the reading that was asked for.")
    lifetime: dict[str, int] = Field(description="Each metric over the Tweet's life.")
    engagement_rate: float | None
    rate_per_minute: float = Field(description="Engagements a minute over the last five minutes.")
    times_usual: float | None = Field(
        description="Its engagements against the handle's median Tweet at the same age; null where that is unknown."
    )
    reach: AudienceOut = Field(description="People, over the Tweet's life.")


class TweetsOut(Schema):
    """One page of Tweets, in order."""

    handle: str = Field(examples=["northwind"])
    reading: str = Field(examples=["activity"])
    period: PeriodOut
    sort: str = Field(examples=["rate"])
    tweets: list[RankedTweetOut]
    next_offset: int | None = Field(description="Where the next page begins; null after the last.")


class TweetSeriesOut(Schema):
    """A Tweet's counts by bucket, and what they add up to since its first event."""

    tweet: TweetOut
    grain: str = Field(examples=["minute"])
    zone: str = Field(examples=["Europe/Copenhagen"])
    period: PeriodOut
    as_of: datetime
    lifetime: dict[str, int] = Field(description="Each metric over the Tweet's life.")
    types: list[TypeOut] = Field(description="Over the Tweet's life.")
    reach: AudienceOut = Field(description="People, over the Tweet's life.")
    series: SeriesOut
    cumulative: dict[str, list[int]] = Field(description="Each metric from the first event to each bucket's end.")
