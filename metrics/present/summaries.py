"""The messages of the InsightsTrack stream as bytes; each is one line of JSON.

A summary holds a Tweet's lifetime totals as of its `end_time`; its shape is the vendor's, with the organic and the
promoted part beside each total that has both. `unique` is people, with the bounds of their number: left out where that
is not known, and some seconds older than the totals while a Tweet moves.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from accounts.models import Handle
from metrics.models import Tweet
from metrics.query.audience import Reach
from metrics.query.following import People, State
from metrics.vocabulary.engagements import CODE, METRICS, TYPES, EngagementType

KEEP_ALIVE = b"\r\n"
_ENGAGEMENTS = tuple(CODE[name] for name in METRICS["insightstrack_engagements"].plus)
_IMPRESSIONS = CODE["impressions"]
_NONE = [0] * len(TYPES)
_NO_PEOPLE = People(None, None)
# A real client reads `detail_clicks` where the manual says `detail_expands`.
_ALSO_AS = {"detail_expands": "detail_clicks"}
_encode = msgspec.json.Encoder().encode


def _counts(kind: EngagementType) -> str:
    split = ',"organic":{"count":%d},"promoted":{"count":%d}' if kind.promotable else ""
    return f'{{"total":{{"count":%d}}{split}}}'


_COUNTED = [
    (key, kind)
    for kind in TYPES
    if kind.name != "impressions"
    for key in (kind.name, _ALSO_AS.get(kind.name))
    if key is not None
]
_SUMMARY = (
    '{"summary_event":{"target":{"id_str":"%d"},"start_time":"%s","end_time":"%s","metrics":{'
    '"impressions":{"total":{"count":%d}%s},"engagements":{"overall":{"total":{"count":%d}%s},"metric_counts":{'
    + ",".join(f'"{key}":{_counts(kind)}' for key, kind in _COUNTED)
    + "}}}}}\r\n"
)
_PLACES = [(CODE[kind.name], kind.promotable) for _, kind in _COUNTED]


def summary(state: State, start_time: datetime) -> bytes:
    """The summary of a Tweet that is followed since `start_time`; a fixed text with the numbers filled in."""
    organic, promoted = state.organic or _NONE, state.promoted or _NONE
    totals = list(map(int.__add__, organic, promoted))
    shown, engaged = totals[_IMPRESSIONS], sum(map(totals.__getitem__, _ENGAGEMENTS))
    people = state.people or _NO_PEOPLE
    numbers: list[int | str] = [shown, _unique(people.seen, shown), engaged, _unique(people.engaged, engaged)]
    for place, is_split in _PLACES:
        numbers.append(totals[place])
        if is_split:
            numbers += (organic[place], promoted[place])
    return (_SUMMARY % (state.tweet_id, _second(start_time), _second(state.at), *numbers)).encode()


def _unique(reach: Reach | None, total: int) -> str:
    """How many people that were; nothing where that is not known, or only that nobody was named."""
    if reach is None or (total and not reach.people):
        return ""
    return f',"unique":{{"count":{reach.people},"low":{reach.low},"high":{reach.high}}}'


def tweet(told: Tweet, handle: Handle) -> bytes:
    """A Tweet in the vendor's shape; ids only as strings, because they do not fit a float."""
    return _line(
        {
            "created_at": told.created_at.astimezone(UTC).strftime("%a %b %d %H:%M:%S +0000 %Y"),
            "id_str": str(told.tweet_id),
            "text": told.text,
            "user": {"id_str": str(handle.pk), "screen_name": handle.username, "name": handle.display_name},
            "entities": {
                "hashtags": [{"text": tag} for tag in told.tags],
                "urls": [{"expanded_url": told.link}] if told.link else [],
                "media": [{"type": told.media}] if told.media != "none" else [],
            },
        }
    )


def revocation(handle_id: int, app: str, at: datetime) -> bytes:
    """Says that a handle is followed no longer, because it left the reach of the reader's token."""
    target, source = {"app_id": app}, {"user_id": str(handle_id)}
    told = {"date_time": at.astimezone(UTC).isoformat(timespec="seconds"), "target": target, "source": source}
    return _line({"user_event": {"revoke": told}})


def _line(message: dict[str, Any]) -> bytes:
    return _encode(message) + b"\r\n"


def _second(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
