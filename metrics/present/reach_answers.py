"""The shapes of answers about people: how many, how sure that is, and how audiences lie over each other."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from ninja import Schema
from pydantic import Field, WithJsonSchema

from metrics.present.shapes import NAME, WHEN, PeriodOut, Text, text_param
from metrics.query.audience import Basis, Reach, Reached
from metrics.query.overlap import MOST_SETS

MOST_TWEETS = 500
MOST_TAGS = 12
MOST_HANDLES = 100
BASES = (
    "exact: everybody was counted. estimated: the 95 % interval is low to high. bounds: only low and high are known, "
    "because other systems report the people of several Tweets, or because the key changed. reported: another system's "
    "word. unreported: no source names people; that is not zero."
)
_TweetId = Annotated[str, WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,19}$"})]
_Name = Annotated[str, WithJsonSchema({"type": "string", "pattern": NAME})]
_Tag = Annotated[str, WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 100})]


def _several(description: str, most: int, example: str, least: int = 0) -> Any:
    """A parameter that may be given several times; how often is checked where it is read."""
    bounds = {"maxItems": most} | ({"minItems": least} if least else {})
    return Field(default_factory=list, description=description, json_schema_extra=bounds | {"examples": [[example]]})


class PeopleParams(Schema):
    """Parameters that choose the time for which people are counted."""

    since: Text = text_param(
        "Start of the period: a date or time in the zone, or a time with an offset; ever when absent.",
        "2026-03-01",
        pattern=WHEN,
    )
    until: Text = text_param(
        "End of the period, itself no longer counted; now when absent.", "2026-03-08T12:00", pattern=WHEN
    )
    zone: Text = text_param("Time zone of dates without an offset; UTC when absent.", "Europe/Copenhagen")


class ReachParams(PeopleParams):
    """Parameters of a set's reach."""

    tweet: list[_TweetId] = _several("A Tweet's id; give it once for each Tweet.", MOST_TWEETS, "1108499416611061761")
    tag: list[_Tag] = _several("All Tweets with this tag, the newest 500 of them.", MOST_TAGS, "spring")
    handle: list[_Name] = _several("All that this handle has sent.", MOST_HANDLES, "northwind")


class AudienceParams(PeopleParams):
    """Parameters of a comparison of audiences."""

    audience: Text = text_param("seen (default): who saw it; engaged: who engaged.", "seen", enum=["seen", "engaged"])


class OverlapParams(AudienceParams):
    """Parameters of an overlap: Tweets or tags, two to twelve of one kind."""

    tweet: list[_TweetId] = _several("A Tweet's id; give 2 to 12.", MOST_SETS, "1108499416611061761")
    tag: list[_Tag] = _several("A campaign's tag; give 2 to 12.", MOST_SETS, "spring")


class GrowthParams(AudienceParams):
    """Parameters of a campaign's growth."""

    tag: str = Field(description="The campaign's tag.", min_length=1, max_length=100, examples=["spring"])


class WeeksParams(Schema):
    """Parameters of a handle's weeks."""

    number: int = Field(12, ge=1, le=52, description="How many weeks to answer, the running one included.")


class ReachOut(Schema):
    """A number of people, with its bounds."""

    basis: Basis = Field(description=BASES, examples=["estimated"])
    people: int | None = Field(description="The likeliest number; null where only bounds, or nothing, is known.")
    low: int | None = Field(description="At least so many; the same as people where it is exact.")
    high: int | None = Field(description="At most so many; null where no upper bound is known.")


class SharedOut(ReachOut):
    """A number of people that a comparison gave."""

    told: bool = Field(description="false: too small to tell; the interval is wider than the number, which is null.")


class AudienceOut(Schema):
    """The people of a Tweet or of a set of Tweets, each counted once."""

    seen: ReachOut = Field(description="Reach: people who saw it.")
    engaged: ReachOut = Field(description="People who engaged: anything but an undo.")
    frequency: float | None = Field(description="Impressions with a person, for each person; null where unknown.")
    coverage: float | None = Field(description="Share of impressions that named a person; null where nothing shown.")


class PeopleOut(AudienceOut):
    """People, and the time for which they were counted."""

    period: PeriodOut | None = Field(description="The period actually counted, in whole hours or UTC days; null: ever.")
    widened: bool = Field(description="Whether the period was widened to the hours or days for which people are kept.")
    key_changes: list[datetime] = Field(
        description="When people began to be hashed with another key: nobody can be matched across, so bounds are told."
    )


class SetReachOut(PeopleOut):
    """The reach of a set of Tweets."""

    tweets: int = Field(description="How many Tweets were asked for, by id or tag.")
    handles: int = Field(description="How many handles were asked for as a whole.")
    impressions: int
    named_impressions: int = Field(description="Impressions that named a person.")
    engagements: int
    as_of: datetime


class PairOut(Schema):
    """People of both of two sets."""

    of: list[str] = Field(description="The two Tweets or tags.")
    shared: SharedOut


class CombinationOut(Schema):
    """People of all of these sets and of none of the others."""

    of: list[str] = Field(description="The Tweets or tags.")
    people: SharedOut


class NamedReachOut(Schema):
    """The people of one of the sets compared."""

    name: str = Field(description="The Tweet's id, or the tag.")
    reach: ReachOut


class ComparedOut(Schema):
    """What a comparison is of."""

    audience: str = Field(examples=["seen"])
    period: PeriodOut | None = Field(description="The period actually counted; null: ever.")
    widened: bool
    as_of: datetime


class OverlapOut(ComparedOut):
    """How the audiences of sets lie over each other."""

    sets: list[NamedReachOut]
    pairs: list[PairOut]
    combinations: list[CombinationOut] = Field(description="The largest first.")
    is_partial: bool = Field(description="Whether people hashed with an older key are left out.")


class StepOut(Schema):
    """What a Tweet added to those before it."""

    id: str = Field(examples=["1108499416611061761"])
    handle: str = Field(examples=["northwind"])
    created_at: datetime
    reach: ReachOut
    new: SharedOut = Field(description="Its people who had seen none of the Tweets before it.")
    total: ReachOut = Field(description="Everybody so far.")


class GrowthOut(ComparedOut):
    """How a campaign's reach grew, Tweet by Tweet."""

    tag: str = Field(examples=["spring"])
    steps: list[StepOut] = Field(description="In the order in which the Tweets were sent.")
    key_changes: list[datetime] = Field(description="People hashed with an older key than the last are left out.")


class WeekOut(PeriodOut):
    """A handle's week."""

    reach: ReachOut
    new: SharedOut | None = Field(
        description="Who had seen nothing in the four weeks before; null where people cannot be matched."
    )
    returning: SharedOut | None = Field(description="Who had; null where people cannot be matched.")


class WeeksOut(Schema):
    """A handle's weeks from Monday, UTC."""

    handle: str = Field(examples=["northwind"])
    weeks: list[WeekOut] = Field(description="Oldest first; the last one is running.")
    as_of: datetime


def told_reach(reach: Reach) -> dict[str, Any]:
    """A number of people as an answer holds it."""
    return {"basis": reach.basis, "people": reach.people, "low": reach.low, "high": reach.high}


def told_shared(reach: Reach) -> dict[str, Any]:
    """The same of a comparison: no number where it is too small to tell."""
    people = reach.people if reach.is_told else None
    return told_reach(reach) | {"people": people, "told": reach.is_told}


def told_audience(found: Reached) -> dict[str, Any]:
    """A set's people as an answer holds them."""
    return {
        "seen": told_reach(found.seen),
        "engaged": told_reach(found.engaged),
        "frequency": rounded(found.frequency),
        "coverage": rounded(found.coverage),
    }


def told_people(found: Reached) -> dict[str, Any]:
    """A set's people, and the time for which they were counted."""
    span = found.span
    return told_audience(found) | {
        "period": span.period and {"since": span.period.since, "until": span.period.until},
        "widened": span.is_widened,
        "key_changes": list(found.epochs),
    }


def rounded(ratio: float | None) -> float | None:
    """To six digits after the point, as the CSV files have it."""
    return None if ratio is None else round(ratio, 6)
