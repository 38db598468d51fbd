"""Real Retweet cascades as Tweets of a handle, sent through the HTTP API with their real spacing, sped up.

All Tweets of a replay begin at the same minute, far enough back that every Retweet lies in the past. Ids
follow from that minute and the file's number alone, so a second replay from the same minute changes nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from metrics.demo.events import Event
from metrics.vocabulary.events import snowflake_at

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from metrics.demo.cascades import Cascade
    from metrics.demo.sender import Sender

MARGIN = timedelta(minutes=2)
# How far back an earlier replay is looked for, to be completed or repeated rather than begun anew.
REMEMBERED = timedelta(days=90)
BATCH = 2_500
TICK_S = 0.25
APPLIED_WITHIN_S = 300.0


class ReplayError(Exception):
    """The replay was taken only in part, or not applied in time."""


@dataclass(frozen=True)
class Replay:
    """A replay of `cascades` for the @handle; all its Tweets were created at `started_at`, a whole minute."""

    handle: str
    cascades: Sequence[Cascade]
    started_at: datetime

    @property
    def size(self) -> int:
        """The number of Retweets."""
        return sum(len(cascade.ages) for cascade in self.cascades)

    def tweet_id(self, cascade: Cascade) -> int:
        """The Tweet that stands for a cascade."""
        return snowflake_at(self.started_at, cascade.number)

    def tweets(self) -> list[dict[str, Any]]:
        """The Tweets as the ingest API takes them."""
        return [
            {
                "handle": self.handle,
                "id": str(self.tweet_id(cascade)),
                "text": title(cascade),
                "created_at": self.started_at,
                "media": "none",
            }
            for cascade in self.cascades
        ]

    def timeline(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """All Retweets by age: ages in seconds, float64[size]; (cascade, place in it), int64[size, 2]."""
        ages = np.concatenate([cascade.ages for cascade in self.cascades])
        lengths = [len(cascade.ages) for cascade in self.cascades]
        which = np.repeat(np.arange(len(lengths)), lengths)
        place = np.concatenate([np.arange(length) for length in lengths])
        order = np.argsort(ages, kind="stable")
        return ages[order], np.stack([which, place], axis=1)[order]

    def event(self, which: int, place: int) -> Event:
        """One Retweet."""
        cascade = self.cascades[which]
        return Event(
            id=f"replay-{cascade.number}-{place}",
            handle=self.handle,
            tweet_id=str(self.tweet_id(cascade)),
            type="retweets",
            occurred_at=self.started_at + timedelta(seconds=float(cascade.ages[place])),
        )


def title(cascade: Cascade) -> str:
    """The text of the Tweet that stands for a cascade."""
    return f"Cascade RT{cascade.number}: {len(cascade.ages):,} Retweets"


def latest_start(cascades: Sequence[Cascade], now: datetime) -> datetime:
    """The last whole minute from which all of the cascades lie in the past."""
    span = max((float(cascade.ages[-1]) for cascade in cascades if len(cascade.ages)), default=0.0)
    return (now.astimezone(UTC) - timedelta(seconds=span) - MARGIN).replace(second=0, microsecond=0)


def send(replay: Replay, sender: Sender, speed: float, stop: threading.Event) -> Iterator[tuple[int, str]]:
    """Post everything, `speed` times as fast as it happened (0: at once); yields (Retweets sent, receipt).

    Raises ReplayError when the server rejects any, and the sender's errors.
    """
    _all_taken(sender.tweets(replay.tweets()).rejected)
    ages, places = replay.timeline()
    sent, began = 0, time.monotonic()
    while sent < len(ages) and not stop.is_set():
        due = len(ages)
        if speed > 0:
            due = int(np.searchsorted(ages, (time.monotonic() - began) * speed, side="right"))
        batch = [replay.event(which, place) for which, place in places[sent : min(due, sent + BATCH)].tolist()]
        if not batch:
            stop.wait(TICK_S)
            continue
        answer = sender.events(batch)
        _all_taken(answer.rejected)
        sent += len(batch)
        yield sent, answer.receipt
        if sent == due and speed > 0:
            stop.wait(TICK_S)


def _all_taken(rejected: Sequence[Any]) -> None:
    if rejected:
        first = rejected[0]
        raise ReplayError(f"{len(rejected)} rejected, the first because of {first.field}: {first.detail}")


def wait_until_applied(
    sender: Sender, receipts: Sequence[str], stop: threading.Event, shown: Callable[[int], object]
) -> None:
    """Return when every batch is applied; `shown` hears how many are. Raises ReplayError after too long."""
    deadline, done = time.monotonic() + APPLIED_WITHIN_S, 0
    while done < len(receipts) and not stop.is_set():
        status = sender.read(f"/api/v1/receipts/{receipts[done]}")["status"]
        if status == "applied":
            done += 1
            shown(done)
            continue
        if status != "pending":
            raise ReplayError(f"batch {done + 1} of {len(receipts)} is {status.replace('_', ' ')}")
        if time.monotonic() > deadline:
            raise ReplayError(f"only {done} of {len(receipts)} batches were applied in {APPLIED_WITHIN_S:.0f} s")
        stop.wait(TICK_S)


def by_minute(cascade: Cascade) -> dict[int, int]:
    """Retweets by minute of age, as the file has them; only minutes with any."""
    minutes, numbers = np.unique((cascade.ages // 60).astype(np.int64), return_counts=True)
    return dict(zip(minutes.tolist(), numbers.tolist(), strict=True))


def earlier_start(sender: Sender, handle: str, cascades: Sequence[Cascade], now: datetime) -> datetime | None:
    """When the handle's latest replay of any of these cascades began, so that it is repeated; None without one."""
    titles = {title(cascade) for cascade in cascades}
    offset: int | None = 0
    while offset is not None:
        page = sender.read(
            f"/api/v1/handles/{handle}/tweets",
            reading="tweets",
            range="custom",
            since=_text(now - REMEMBERED),
            until=_text(now),
            zone="UTC",
            sort="created_at",
            limit=100,
            offset=offset,
        )
        for tweet in page["tweets"]:
            if tweet["text"] in titles:
                return datetime.fromisoformat(tweet["created_at"]).astimezone(UTC)
        offset = page["next_offset"]
    return None


@dataclass(frozen=True, slots=True)
class Count:
    """Retweets of a Tweet: over its life, summed up at the series' end, and by minute of age where there are any."""

    lifetime: int
    cumulative: int
    by_minute: dict[int, int]


def counted(sender: Sender, replay: Replay, cascade: Cascade) -> Count:
    """What the JSON API tells of a cascade's Tweet."""
    minutes = int(cascade.ages[-1] // 60) + 1 if len(cascade.ages) else 1
    answer = sender.read(
        f"/api/v1/tweets/{replay.tweet_id(cascade)}/series",
        handle=replay.handle,
        range="custom",
        since=_text(replay.started_at),
        until=_text(replay.started_at + timedelta(minutes=minutes)),
        grain="minute",
        zone="UTC",
    )
    series = answer["series"]
    found = {}
    for start, number in zip(series["starts"], series["metrics"]["retweets"], strict=True):
        if number:
            age = datetime.fromisoformat(start) - replay.started_at
            found[int(age.total_seconds() // 60)] = int(number)
    return Count(int(answer["lifetime"]["retweets"]), int(answer["cumulative"]["retweets"][-1]), found)


def in_file(cascade: Cascade) -> Count:
    """What the file tells."""
    return Count(len(cascade.ages), len(cascade.ages), by_minute(cascade))


def _text(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M}Z"
