"""The messages of an InsightsTrack stream as a reader takes them: summaries become snapshots, Tweets become ours.

A summary holds the cumulative counts of one Tweet as of its `end_time`. Given and taken back are told apart there, and
as net in a snapshot. Where organic and promoted counts stand beside the total, both parts are kept; the vendor's totals
alone are kept as both together. Unique counts are kept as the source's word on how many people there were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from metrics.ingest.reported import Report
from metrics.ingest.snapshots import IncomingSnapshot
from metrics.ingest.tweets import IncomingTweet
from metrics.models import Audience
from metrics.vocabulary.engagements import CODE, TYPES, UNDO_OF
from metrics.vocabulary.snapshots import MAX_TOTAL, Part

_PROMOTABLE = frozenset(kind.name for kind in TYPES if kind.promotable)
_PARTS = {"total": Part.BOTH, "organic": Part.ORGANIC, "promoted": Part.PROMOTED}
_PROMOTED = {Part.ORGANIC: False, Part.PROMOTED: True, Part.BOTH: None}
_ALSO_AS = {"detail_clicks": "detail_expands"}  # a real client reads the first, the manual says the second
_MEDIA: dict[str, Literal["photo", "gif", "video"]] = {
    "photo": "photo",
    "video": "video",
    "gif": "gif",
    "animated_gif": "gif",
}
MOST_KNOWN = 100_000  # Tweets that are remembered
Counts = dict[tuple[str, Part], int]


class Summary(NamedTuple):
    """What was told of a Tweet: its counts by type and part, each given or taken back, as of `end_us` (Unix µs)."""

    tweet_id: int
    end_us: int
    counts: Counts
    people: Mapping[Audience, int] = {}


class Told(NamedTuple):
    """The newest of a Tweet's summaries so far, and the instant that it was given."""

    summary: Summary
    as_of_us: int


class Memory:
    """What a stream has told of a handle while this process ran the source."""

    def __init__(self, username: str, tweets: str) -> None:
        self.username, self.takes_all = username.lower(), tweets == "all"
        self.told: dict[int, Told] = {}
        self.is_ours: dict[int, bool] = {}
        """Tweets of which it is known whose they are."""
        self.unclaimed: dict[int, Told] = {}
        """The newest summaries of the others: a Tweet may be told after its first summary."""

    def dated(self, summary: Summary) -> Told | None:
        """The summary with an instant after those of all that was told before it; None when it says nothing new.

        An `end_time` in whole seconds may be up to a second before what it counts. It counts as late in that second:
        taken too early, what it holds would be counted beside events of that second.
        """
        before = self.told.get(summary.tweet_id)
        as_of_us = summary.end_us if summary.end_us % 1_000_000 else summary.end_us + 999_000
        if before is None:
            # Whoever ran the source before us may have told something of this same second.
            as_of_us += 500
        elif summary.end_us == before.summary.end_us:
            if not _grows(before.summary.counts, summary.counts):
                return None
            as_of_us = before.as_of_us + 1
        elif summary.end_us < before.summary.end_us:
            return None if summary.counts.keys() <= before.summary.counts.keys() else Told(summary, as_of_us)
        told = Told(summary, as_of_us)
        self.told[summary.tweet_id] = told
        return told

    def claim(self, tweet_id: int, username: str) -> bool:
        """Remember whose Tweet it is; whether it is our handle's."""
        self.is_ours[tweet_id] = username.lower() == self.username
        return self.is_ours[tweet_id]

    def forget(self, tweet_ids: Iterable[int]) -> None:
        """Take these as never told: what was, has not been stored."""
        for tweet_id in tweet_ids:
            self.told.pop(tweet_id, None)

    def trim(self) -> None:
        """Forget the Tweets that were told first, where there are too many."""
        known: dict[int, Any]
        for known in (self.told, self.is_ours, self.unclaimed):
            for tweet_id in list(known)[: max(0, len(known) - MOST_KNOWN)]:
                del known[tweet_id]


def _grows(before: Counts, now: Counts) -> bool:
    return before != now and all(count >= before.get(key, 0) for key, count in now.items())


def summary_of(event: Any) -> Summary | None:
    """A summary as it is read; None when it lacks its target, its time, or every count."""
    match event:
        case {"target": {"id_str": str(number)}, "end_time": str(end), "metrics": dict(metrics)} if number.isdecimal():
            try:
                ended = datetime.fromisoformat(end)
            except ValueError:
                return None
            if ended.tzinfo is None:
                ended = ended.replace(tzinfo=UTC)
            counts, end_us = dict(_counts(metrics)), round(ended.timestamp() * 1_000_000)
            return Summary(int(number), end_us, counts, dict(_people(metrics))) if counts else None
    return None


def _people(metrics: dict[str, Any]) -> Iterator[tuple[Audience, int]]:
    """How many people are said to have seen the Tweet, and to have engaged with it."""
    told = {
        Audience.SEEN: metrics.get("impressions"),
        Audience.ENGAGED: _dict(metrics.get("engagements")).get("overall"),
    }
    for audience, node in told.items():
        match _dict(node).get("unique"):
            case {"count": int(count)} if 0 <= count <= MAX_TOTAL and not isinstance(count, bool):
                yield audience, count


def reports_of(summary: Summary) -> list[Report]:
    """What a summary says of people."""
    as_of = datetime.fromtimestamp(summary.end_us / 1e6, UTC)
    return [Report(summary.tweet_id, audience, people, as_of) for audience, people in summary.people.items()]


def _counts(metrics: dict[str, Any]) -> Iterator[tuple[tuple[str, Part], int]]:
    """Every count that is said; what is null or no count says nothing."""
    told = {"impressions": metrics.get("impressions")}
    match metrics:
        case {"engagements": {"metric_counts": dict(by_type)}}:
            told |= by_type
    for key, parts in told.items():
        name = _ALSO_AS.get(key, key)
        if name not in CODE or not isinstance(parts, dict):
            continue
        for word, part in _PARTS.items():
            match parts.get(word):
                case {"count": int(count)} if 0 <= count <= MAX_TOTAL and not isinstance(count, bool):
                    yield (name, part), count


def snapshots_of(summary: Summary, as_of_us: int) -> list[IncomingSnapshot]:
    """The summary as snapshots as of an instant: of each part where it tells them apart, else of both together.

    A type of which more was taken back than ever given is left out: no net can say that.
    """
    tweet_id, counts = summary.tweet_id, summary.counts
    as_of = datetime.fromtimestamp(as_of_us / 1e6, UTC)
    found = []
    for part, each in _by_part(counts).items():
        said: dict[str, int | None] = {name: count for name, count in _net(each).items() if count >= 0}
        if said:
            found.append(IncomingSnapshot(tweet_id=tweet_id, as_of=as_of, counts=said, promoted=_PROMOTED[part]))
    return found


def _by_part(counts: Counts) -> dict[Part, dict[str, int]]:
    """What is told of each part alone, and of both together. What cannot be promoted is organic, where any is told."""
    totals = {name: count for (name, part), count in counts.items() if part is Part.BOTH}
    split = {name for name, part in counts if part is Part.PROMOTED and (name, Part.ORGANIC) in counts}
    if not split:
        return {Part.BOTH: totals}
    organic, promoted = ({name: counts[name, part] for name in split} for part in (Part.ORGANIC, Part.PROMOTED))
    organic |= {name: count for name, count in totals.items() if name not in _PROMOTABLE}
    both = {name: totals[name] for name in totals.keys() & _PROMOTABLE - split}
    for gain, undo in UNDO_OF.items():
        # What can be promoted may only have an organic undo: then of some types only the sum is no less than zero.
        below_zero = any(part.get(gain, 0) < part.get(undo, 0) for part in (organic, promoted) if gain in part)
        if below_zero or (gain in split and undo in both):
            for name in (gain, undo):
                organic.pop(name, None)
                promoted.pop(name, None)
                both |= {name: totals[name]} if name in totals else {}
    return {Part.ORGANIC: organic, Part.PROMOTED: promoted if any(promoted.values()) else {}, Part.BOTH: both}


def _net(counts: dict[str, int]) -> dict[str, int]:
    """Given less what was taken back, where both are told; below zero when more was taken back than ever given."""
    pairs = ((gain, undo) for gain, undo in UNDO_OF.items() if gain in counts and undo in counts)
    return counts | {gain: counts[gain] - counts[undo] for gain, undo in pairs}


def tweet_of(message: dict[str, Any], tweet_id: int) -> IncomingTweet:
    """A Tweet in the vendor's shape, long ones included; what is not as expected is left out."""
    message = message | _dict(message.get("extended_tweet"))
    text = message.get("full_text") or message.get("text") or ""
    entities = _dict(message.get("entities"))
    media = _dicts(_dict(message.get("extended_entities")).get("media")) or _dicts(entities.get("media"))
    links = [url.get("expanded_url") for url in _dicts(entities.get("urls"))]
    tags = [str(tag.get("text"))[:100] for tag in _dicts(entities.get("hashtags")) if tag.get("text")]
    return IncomingTweet(
        id=tweet_id,
        text=str(text)[:25_000],
        media=next((_MEDIA[kind] for each in media if (kind := str(each.get("type"))) in _MEDIA), "none"),
        link=next((link[:2_000] for link in links if isinstance(link, str) and link.startswith("http")), ""),
        tags=tags[:50],
    )


def _dict(node: Any) -> dict[str, Any]:
    return node if isinstance(node, dict) else {}


def _dicts(node: Any) -> list[dict[str, Any]]:
    return [each for each in node if isinstance(each, dict)] if isinstance(node, list) else []
