"""What each column of the platforms' files counts as: the one table. The README shows the same.

A column that none of the 26 types stands for is told as "not counted", with its sum in the report; a column that
follows from others, such as a rate, is only compared or passed over.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metrics.vocabulary.engagements import CODE, TYPES
from metrics.vocabulary.snapshots import Part

_LABELS = {kind.name: kind.label for kind in TYPES}
_NO_TYPE = "not counted: none of the 26 engagement types"
_FOLLOWS = "not counted: follows from the other columns"
_CHECK = "compared with the sum of its parts"
_PARTS = {Part.ORGANIC: "organic", Part.PROMOTED: "promoted", Part.BOTH: "organic and promoted together"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a format: its name as the platform writes it, the type it counts as, and what to say of it.

    `type` is one of the 26, or "" where the column is none; `is_apart` marks numbers that no type stands for,
    `is_check` the platform's own sum. `others` are its names in other variants of the format.
    """

    name: str
    type: str = ""
    note: str = ""
    is_apart: bool = False
    is_check: bool = False
    others: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        """The place of the column's type in a counts vector."""
        return CODE[self.type]

    @property
    def is_number(self) -> bool:
        """Whether the column's cells are whole numbers to read."""
        return bool(self.type) or self.is_apart or self.is_check

    def named(self, prefix: str) -> Column:
        """The same column of the promoted part."""
        others = tuple(prefix + other for other in self.others)
        return Column(prefix + self.name, self.type, self.note, self.is_apart, self.is_check, others)

    def told(self, name: str, part: Part | None) -> dict[str, Any]:
        """The column as a preview shows it, under the name that the file gives it."""
        label = _LABELS.get(self.type, "")
        of = _PARTS[part] if part is not None and self.type else ""
        return {"column": name, "to": self.type or None, "label": label, "part": of, "note": self.note}


def _apart(name: str, *others: str) -> Column:
    return Column(name, note=_NO_TYPE, is_apart=True, others=others)


def _fact(name: str, note: str, *others: str) -> Column:
    return Column(name, note=note, others=others)


_ENGAGEMENTS = Column("engagements", note=_CHECK, is_check=True)
# What X's per-Tweet and per-day files say from "impressions" on; then the same again for the promoted part.
TAIL: tuple[Column, ...] = (
    Column("impressions", "impressions"),
    _ENGAGEMENTS,
    _fact("engagement rate", _FOLLOWS),
    Column("retweets", "retweets", others=("reposts",)),
    Column("replies", "replies"),
    Column("likes", "favorites", others=("favorites",)),
    Column("user profile clicks", "user_profile_clicks"),
    Column("url clicks", "url_clicks"),
    Column("hashtag clicks", "hashtag_clicks"),
    Column("detail expands", "detail_expands"),
    Column("permalink clicks", "permalink_clicks"),
    Column("app opens", "app_opens"),
    Column("app installs", "app_install_attempts"),
    Column("follows", "user_follows"),
    Column("email tweet", "email_tweet"),
    _apart("dial phone"),
    Column("media views", "video_views", "as in the Engagement API, where media views are answered from video views"),
    Column("media engagements", "media_clicks"),
)
PROMOTED_TAIL: tuple[Column, ...] = tuple(column.named("promoted ") for column in TAIL)
TWEET_FACTS: tuple[Column, ...] = (
    _fact("Tweet id", "names the Tweet", "post id"),
    _fact("Tweet permalink", "the Tweet's link", "post permalink"),
    _fact("Tweet text", "the Tweet's text", "post text"),
    _fact("time", "for Tweets before snowflake ids; later ids hold their time"),
)
CONTENT: tuple[Column, ...] = (
    _fact("Post id", "names the Tweet", "tweet id"),
    _fact("Date", "the id holds the exact time"),
    _fact("Post text", "the Tweet's text", "tweet text"),
    _fact("Post Link", "the Tweet's link", "link", "tweet link"),
    Column("Impressions", "impressions"),
    Column("Likes", "favorites"),
    Column("Engagements", note=_CHECK, is_check=True),
    _apart("Bookmarks"),
    _apart("Shares", "share"),
    Column("New follows", "user_follows"),
    Column("Replies", "replies"),
    Column("Reposts", "retweets"),
    Column("Profile visits", "user_profile_clicks"),
    Column("Detail Expands", "detail_expands"),
    Column("URL Clicks", "url_clicks"),
    Column("Hashtag Clicks", "hashtag_clicks"),
    Column("Permalink Clicks", "permalink_clicks"),
)


@dataclass(frozen=True, slots=True)
class DayMetric:
    """A number of the account's day: its name in the files, its key in `AccountDay.counts`, what people call it."""

    name: str
    key: str
    label: str


def _day(name: str, key: str = "", label: str = "") -> DayMetric:
    key = key or name.lower().replace(" ", "_")
    return DayMetric(name, key, label or _LABELS.get(key, name[0].upper() + name[1:].lower()))


# A key is one of the 26 types, or `engagements`, only where the account's number means the same for all its Tweets.
DAY_TAIL: tuple[DayMetric | None, ...] = (
    _day("impressions"),
    _day("engagements"),
    None,  # the rate follows from the two before
    _day("retweets"),
    _day("replies"),
    _day("likes", "favorites"),
    _day("user profile clicks", "user_profile_clicks"),
    _day("url clicks"),
    _day("hashtag clicks"),
    _day("detail expands"),
    _day("permalink clicks"),
    _day("app opens"),
    _day("app installs", "app_install_attempts"),
    _day("follows", "user_follows"),
    _day("email tweet"),
    _day("dial phone"),
    _day("media views"),
    _day("media engagements", "media_clicks"),
)
_PUBLISHED = _day("Tweets published")
DAILY: tuple[DayMetric | None, ...] = (
    _PUBLISHED,
    *DAY_TAIL,
    *(day and DayMetric(f"promoted {day.name}", f"promoted_{day.key}", f"{day.label}, promoted") for day in DAY_TAIL),
)
OVERVIEW: tuple[DayMetric | None, ...] = (
    _day("Impressions"),
    _day("Likes", "favorites"),
    _day("Engagements"),
    _day("Bookmarks"),
    _day("Shares"),
    _day("New follows"),
    _day("Unfollows"),
    _day("Replies"),
    _day("Reposts", "retweets"),
    _day("Profile visits"),
    _day("Create Post", _PUBLISHED.key, _PUBLISHED.label),
    _day("Video views"),
    _day("Media views"),
)
DAY_METRICS: dict[str, str] = {day.key: day.label for day in (*DAILY, *OVERVIEW) if day}
"""Every key of `AccountDay.counts` and what people call it."""


def plain(name: str) -> str:
    """A header cell without what differs between variants: case, spaces, underscores, a stray backslash."""
    return re.sub(r"[\s_\\]+", " ", name.replace("\\", "")).strip().casefold()


def places_by_name(header: Sequence[str], columns: Sequence[Column]) -> dict[int, Column]:
    """Which place of the header holds which column, by name; each column once."""
    wanted = {plain(name): column for column in columns for name in (column.name, *column.others)}
    found: dict[int, Column] = {}
    for place, cell in enumerate(header):
        column = wanted.get(plain(cell))
        if column is not None and column not in found.values():
            found[place] = column
    return found
