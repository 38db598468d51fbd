"""The live table of a stream: what each Tweet stands at, the busiest of the last minute first."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from metrics.vocabulary.events import tweet_created_at

ACTIVE_SECONDS = 60.0
RATE_SECONDS = 10.0
# Column, its type in `metric_counts`.
COLUMNS = {
    "Likes": "favorites",
    "Retweets": "retweets",
    "Replies": "replies",
    "Link clicks": "url_clicks",
    "Video views": "video_views",
}


@dataclass
class Row:
    """A Tweet's newest summary, and its sums at moments (unix seconds) of the last minute and one before."""

    end_time: str = ""
    impressions: int = 0
    engagements: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    seen_at: float = 0.0
    earlier: deque[tuple[float, int]] = field(default_factory=deque)

    def take(self, event: dict[str, Any], now: float) -> bool:
        """Take a summary unless a newer one is known; whether it was taken."""
        if event["end_time"] < self.end_time:
            return False
        engagements = event["metrics"]["engagements"]
        self.end_time, self.seen_at = event["end_time"], now
        self.impressions = event["metrics"]["impressions"]["total"]["count"]
        self.engagements = engagements["overall"]["total"]["count"]
        self.counts = {name: count["total"]["count"] for name, count in engagements["metric_counts"].items()}
        self.earlier.append((ended_at(event), self.sum))
        return True

    @property
    def sum(self) -> int:
        """Everything that ever happened to the Tweet."""
        return self.impressions + self.engagements

    def gained(self, clock: float) -> int:
        """What was added in the minute before `clock` (unix seconds), as far as summaries tell."""
        while len(self.earlier) > 1 and self.earlier[1][0] <= clock - ACTIVE_SECONDS:
            self.earlier.popleft()
        return self.sum - self.earlier[0][1]


def ended_at(event: dict[str, Any]) -> float:
    """A summary's `end_time` in unix seconds."""
    return datetime.fromisoformat(event["end_time"]).timestamp()


class Board:
    """All Tweets of a stream; give it every message."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.rows: dict[str, Row] = {}
        # The server's clock, as unix seconds less our monotonic ones: `end_time` is the server's.
        self._clock = -math.inf
        self._texts: dict[str, str] = {}
        self._arrivals: deque[float] = deque()
        self.revoked: set[str] = set()
        """Ids of handles that left the token's reach."""

    def take(self, message: dict[str, Any]) -> str | None:
        """Take a message; returns the line that tells it, or None for what is old or unknown."""
        if event := message.get("summary_event"):
            return self._take_summary(event)
        if revoke := message.get("user_event", {}).get("revoke"):
            self.revoked.add(handle := revoke["source"]["user_id"])
            return f"{revoke['date_time']} handle {handle} may be followed no longer"
        if "text" in message and "id_str" in message:
            number = message["id_str"]
            self.name(number, message["user"]["screen_name"], message["text"])
            return f"{message['created_at']} {number} Tweet: {self._texts[number]}"
        return None

    def name(self, number: str, username: str, text: str) -> None:
        """Say what a Tweet is; no text of a stranger may steer the terminal."""
        told = f"@{username} {text}".strip()
        self._texts[number] = "".join(letter if letter.isprintable() else " " for letter in told)

    def _take_summary(self, event: dict[str, Any]) -> str | None:
        now = time.monotonic()
        number = event["target"]["id_str"]
        row = self.rows.setdefault(number, Row())
        self._arrivals.append(now)
        self._clock = max(self._clock, ended_at(event) - now)
        if not row.take(event, now):
            return None
        counts = " ".join(f"{name}={row.counts.get(name, 0)}" for name in COLUMNS.values())
        return f"{row.end_time} {number} impressions={row.impressions} engagements={row.engagements} {counts}"

    def rate(self) -> float:
        """Summaries a second, over the last ten seconds."""
        now = time.monotonic()
        while self._arrivals and now - self._arrivals[0] > RATE_SECONDS:
            self._arrivals.popleft()
        return len(self._arrivals) / RATE_SECONDS

    def render(self, state: str, height: int) -> RenderableType:
        """The table, `height` lines high at most."""
        colour = "green" if state == "open" else "yellow"
        sums = f"  {self.rate():.1f} summaries/s  {len(self.rows)} Tweets"
        head = Text.assemble((self.title, "bold"), "  ", (f"● {state}", colour), sums)
        if self.revoked:
            head.append(f"  followed no longer: {len(self.revoked)}", "red")
        return Group(head, self._table(max(1, height - 6)))

    def _table(self, most: int) -> Table:
        table = Table(expand=True, header_style="bold", caption=self._caption(most), caption_justify="left")
        table.add_column("Tweet", no_wrap=True, overflow="ellipsis", ratio=1)
        for name in ("Last minute", "Impressions", "Engagements", *COLUMNS, "Age"):
            table.add_column(name, justify="right", no_wrap=True)
        now = time.monotonic()
        clock = self._clock + now
        by_activity = sorted(self.rows.items(), key=lambda item: (-item[1].gained(clock), -int(item[0])))
        for number, row in by_activity[:most]:
            numbers = [row.impressions, row.engagements, *(row.counts.get(name, 0) for name in COLUMNS.values())]
            gained = row.gained(clock)
            added = Text(f"+{gained:,}" if gained > 0 else f"{gained:,}", "bold green" if gained > 0 else "dim")
            table.add_row(Text(self._name(number)), added, *(f"{n:,}" for n in numbers), _age(now - row.seen_at))
        return table

    def _caption(self, most: int) -> str:
        if not self.rows:
            return (
                "No summary yet: one comes when a Tweet of a followed handle, at most 7 days old, gets an engagement."
            )
        hidden = len(self.rows) - most
        return f"… and {hidden} quieter Tweets" if hidden > 0 else ""

    def _name(self, number: str) -> str:
        born_at = tweet_created_at(int(number)).astimezone(UTC)
        return self._texts.get(number) or f"{number} of {_moment(born_at)}"


def _moment(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M")


def _age(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
