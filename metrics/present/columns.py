"""What a file or a JSON answer says about counts: the names, their meaning, and the values, for all of them alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from metrics.query.audience import Reached
from metrics.vocabulary.engagements import (
    CODE,
    ENGAGEMENT_RATE_DEFINITION,
    METRICS,
    NAMES,
    ORGANIC,
    PROMOTED,
    TYPES,
    UNDO_OF,
    Counts,
    engagement_rate,
)

Cell = str | int | float | None

PROMOTABLE = tuple(kind.name for kind in TYPES if kind.promotable)
_HEADLINES = ("impressions", "engagements", "engagement_rate")
_OTHERS = tuple(CODE[name] for name in NAMES if name not in _HEADLINES)
_PROMOTABLE = tuple(CODE[name] for name in PROMOTABLE)
# Every measure of one counts vector, in the order in which files show them.
MEASURES: Mapping[str, str] = {
    "impressions": METRICS["impressions"].definition,
    "engagements": METRICS["engagements"].definition,
    "engagement_rate": f"{ENGAGEMENT_RATE_DEFINITION} Empty where nothing was shown.",
    **{name: f"{METRICS[name].definition} Organic and promoted." for name in NAMES if name not in _HEADLINES},
    **{f"promoted_{name}": f"The promoted part of {name}." for name in PROMOTABLE},
}
_BUCKET = {
    "start": "First instant of the bucket, with the offset of the zone.",
    "until": "First instant after the bucket.",
    "unfinished": "1 while the bucket is running, else 0.",
}
_TWEET = {
    "tweet_id": "The Tweet's id, a 64-bit number: read it as text.",
    "created_at": "When the Tweet was created, with the offset of the zone.",
    "text": "Its text; empty where only its events are known.",
    "media": "none, photo, gif or video.",
    "link": "The link that it carries.",
    "tags": "Its tags, separated by spaces; one that holds a space is in double quotes.",
}
# A Tweet's people over its whole life, by `metrics.query.audience`.
PEOPLE: Mapping[str, str] = {
    "reach": "People who saw the Tweet in its life; empty where only bounds, or nothing, is known.",
    "reach_low": "At least so many (95 %); the same as reach where it is exact.",
    "reach_high": "At most so many (95 %); empty where no upper bound is known.",
    "reach_basis": "exact, estimated, bounds, reported (by another system) or unreported (no source names people).",
    "engaged_people": "People who engaged with the Tweet in its life: anything but an undo; empty as reach is.",
    "engaged_people_low": "At least so many (95 %).",
    "engaged_people_high": "At most so many (95 %).",
    "engaged_people_basis": "As reach_basis.",
    "frequency": "Impressions with a person, for each person who saw it; empty where that is unknown.",
    "coverage": "The share of its impressions that named a person; empty where nothing was shown.",
}


def _prefixed(prefix: str, of: str) -> dict[str, str]:
    return {f"{prefix}_{name}": f"{definition} {of}" for name, definition in MEASURES.items()}


def _people(name: str, what: str) -> dict[str, str]:
    return {
        name: f"{what}; empty where only bounds, or nothing, is known.",
        f"{name}_low": "At least so many, in 95 of 100 cases.",
        f"{name}_high": "At most so many, in 95 of 100 cases; empty where there is no such bound.",
        f"{name}_basis": "exact, estimated, bounds, reported (by the source), or unreported.",
    }


# The columns of each file and what they mean: the documentation, and what the files are made from.
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "tweets": {
        **_TWEET,
        **_prefixed("period", "In the period."),
        **_prefixed("lifetime", "Over the Tweet's whole life."),
        **PEOPLE,
    },
    "campaign": {
        "tweet_id": _TWEET["tweet_id"],
        "handle": "The handle that sent it.",
        "created_at": _TWEET["created_at"],
        "text": _TWEET["text"],
        "impressions": METRICS["impressions"].definition,
        "engagements": METRICS["engagements"].definition,
        "engagement_rate": MEASURES["engagement_rate"],
        **_people("reach", "People who saw the Tweet"),
        **_people("engaged_people", "People who engaged with the Tweet"),
        "frequency": PEOPLE["frequency"],
        "coverage": PEOPLE["coverage"],
        **_people("new_people", "Of those who saw it, the people whom no earlier Tweet of the campaign had reached"),
        **_people("reach_so_far", "People who saw this Tweet or an earlier one of the campaign"),
    },
    "series": {**_BUCKET, **MEASURES},
    "breakdown": {
        "type": "The engagement type's name in the API.",
        "label": "What people call it.",
        "organic": "Gained organically.",
        "promoted": "Gained through promotion.",
        "gained": "Organic and promoted together.",
        "lost": "Taken back: unlikes, Retweets undone and the like.",
        "net": "Gained minus lost.",
    },
    "account_days": {
        "day": "The day, as the platform's file writes it.",
        "metric": "The metric's name.",
        "label": "What people call it.",
        "platform": "What the platform's own dashboard says of the whole account, promotion included.",
        "insightstrack": "What InsightsTrack counts for that day, in the reading asked for; empty where it cannot.",
    },
    "audience": {
        "since": "First instant of the week, a Monday (UTC).",
        "until": "First instant after the week.",
        "unfinished": "1 while the week is running, else 0.",
        "reach": "How many different people saw something; empty where too little is known to tell.",
        "reach_low": "At least so many, in 95 of 100 cases.",
        "reach_high": "At most so many, in 95 of 100 cases.",
        "basis": "exact, estimated, or unreported: no source named anybody.",
        "new": "Of them, who had seen nothing in the four weeks before; empty where people cannot be matched.",
        "new_low": "At least so many.",
        "new_high": "At most so many.",
        "returning": "Of them, who had seen something in the four weeks before.",
        "returning_low": "At least so many.",
        "returning_high": "At most so many.",
    },
    "import_problems": {
        "line": "The line of the file on which the row begins.",
        "column": "The column at fault; empty where it is the whole row.",
        "reason": "A short name of the reason.",
        "detail": "What is wrong, and what would help.",
    },
    "tweet_series": {
        **_BUCKET,
        **MEASURES,
        **_prefixed("cumulative", "From the Tweet's first event to the bucket's end."),
    },
}


def measures(counts: Counts) -> list[Cell]:
    """The values of `MEASURES` for counts int64[2, 26]."""
    both = counts.sum(axis=0)
    rate = engagement_rate(both)
    # As plain numbers all at once: files have tens of thousands of rows.
    each, promoted = both.tolist(), counts[PROMOTED].tolist()
    return [
        each[CODE["impressions"]],
        int(METRICS["engagements"].of(both)),
        None if rate is None else round(rate, 6),
        *[each[code] for code in _OTHERS],
        *[promoted[code] for code in _PROMOTABLE],
    ]


def people(found: Reached) -> list[Cell]:
    """The values of `PEOPLE`."""
    return [
        cell
        for reach in (found.seen, found.engaged)
        for cell in (reach.people, reach.low, reach.high, reach.basis.value)
    ] + [None if ratio is None else round(ratio, 6) for ratio in (found.frequency, found.coverage)]


@dataclass(frozen=True, slots=True)
class TypeTotals:
    """One engagement type, undo types told as what they took back."""

    type: str
    label: str
    organic: int
    promoted: int
    gained: int
    lost: int
    net: int


def by_type(counts: Counts) -> list[TypeTotals]:
    """Each of the 22 types that can be gained, from int64[2, 26]."""
    both = counts.sum(axis=0)
    rows = []
    for kind in TYPES:
        if kind.undoes is None:
            code = CODE[kind.name]
            gained = int(both[code])
            lost = int(both[CODE[UNDO_OF[kind.name]]]) if kind.name in UNDO_OF else 0
            organic, promoted = int(counts[ORGANIC, code]), int(counts[PROMOTED, code])
            rows.append(TypeTotals(kind.name, kind.label, organic, promoted, gained, lost, gained - lost))
    return rows


def all_metrics(counts: Counts) -> dict[str, int]:
    """Every metric by its name, from int64[2, 26]: the 26 types and those derived from them."""
    both = counts.sum(axis=0)
    return {name: int(metric.of(both)) for name, metric in METRICS.items()}
