"""Writes the platforms' files as they write them, for tests that read them: any rows, and files of any size.

python -m tests.ingest.files.writing 1000000000 /tmp/tweet_activity.csv
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path

from metrics.vocabulary.events import snowflake_at, tweet_created_at

TAIL = tuple(
    """impressions;engagements;engagement rate;retweets;replies;likes;user profile clicks;url clicks;hashtag clicks;
    detail expands;permalink clicks;app opens;app installs;follows;email tweet;dial phone;media views;media engagements
    """.replace("\n    ", "").split(";")
)
TYPES = {
    "impressions": "impressions",
    "retweets": "retweets",
    "replies": "replies",
    "likes": "favorites",
    "user profile clicks": "user_profile_clicks",
    "url clicks": "url_clicks",
    "hashtag clicks": "hashtag_clicks",
    "detail expands": "detail_expands",
    "permalink clicks": "permalink_clicks",
    "app opens": "app_opens",
    "app installs": "app_install_attempts",
    "follows": "user_follows",
    "email tweet": "email_tweet",
    "media views": "video_views",
    "media engagements": "media_clicks",
}
"""Column of the Tweet activity file → the type it counts as."""
CONTENT = tuple(
    """Post id;Date;Post text;Post Link;Impressions;Likes;Engagements;Bookmarks;Shares;New follows;Replies;Reposts;
    Profile visits;Detail Expands;URL Clicks;Hashtag Clicks;Permalink Clicks""".replace("\n    ", "").split(";")
)
CONTENT_TYPES = {
    "Impressions": "impressions",
    "Likes": "favorites",
    "New follows": "user_follows",
    "Replies": "replies",
    "Reposts": "retweets",
    "Profile visits": "user_profile_clicks",
    "Detail Expands": "detail_expands",
    "URL Clicks": "url_clicks",
    "Hashtag Clicks": "hashtag_clicks",
    "Permalink Clicks": "permalink_clicks",
}
BORN = datetime(2016, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Post:
    """One Tweet with counts by engagement type; `promoted` is empty where there was no promotion."""

    tweet_id: int
    text: str
    organic: dict[str, int]
    promoted: dict[str, int] = field(default_factory=dict)
    username: str = "northwind"

    @property
    def link(self) -> str:
        """Its address."""
        return f"https://twitter.com/{self.username}/status/{self.tweet_id}"


def tweet_activity(posts: Iterable[Post]) -> Iterator[bytes]:
    """The old file with a row a Tweet, in pieces: every cell quoted, texts escaped, counts as `7.0`."""
    header = ["Tweet id", "Tweet permalink", "Tweet text", "time", *TAIL, *(f"promoted {name}" for name in TAIL)]
    return _written(header, map(_tweet_row, posts), csv.QUOTE_ALL)


def _tweet_row(post: Post) -> list[str]:
    born = f"{tweet_created_at(post.tweet_id):%Y-%m-%d %H:%M} +0000"
    facts = [str(post.tweet_id), post.link, escape(post.text, quote=False), born]
    return [*facts, *_tail(post.organic), *(_tail(post.promoted) if post.promoted else ["-"] * len(TAIL))]


def _tail(counts: dict[str, int]) -> list[str]:
    return [f"{counts.get(TYPES.get(name, ''), 0)}.0" for name in TAIL]


def content(posts: Iterable[Post]) -> Iterator[bytes]:
    """Today's content file, in pieces."""
    return _written(CONTENT, map(_content_row, posts), csv.QUOTE_MINIMAL)


def _content_row(post: Post) -> list[str]:
    facts = [str(post.tweet_id), f"{tweet_created_at(post.tweet_id):%a, %b %-d, %Y}", escape(post.text, quote=False)]
    counts = [str(post.organic.get(CONTENT_TYPES.get(name, ""), 0)) for name in CONTENT[4:]]
    return [*facts, post.link, *counts]


def _written(header: Iterable[str], rows: Iterable[list[str]], quoting: int) -> Iterator[bytes]:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=quoting, lineterminator="\r\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(row)
        if text.tell() > 500_000:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


def many_posts(number: int) -> Iterator[Post]:
    """Tweets a minute apart, each tenth of them promoted."""
    for place in range(number):
        counts = {name: (place * 7 + code * 13) % 997 for code, name in enumerate(TYPES.values())}
        text = f'Tweet {place} of a large file & more,\nin two lines, "quoted" #number{place % 10}'
        tweet_id = snowflake_at(BORN + timedelta(minutes=place), place % 4096)
        yield Post(tweet_id, text, counts, counts if place % 10 == 0 else {})


def write_large(path: Path, size: int) -> int:
    """Write a Tweet activity file of about so many bytes; returns how many rows it has."""
    row = len(b"".join(tweet_activity(many_posts(1_000)))) // 1_000
    number = size // row
    with path.open("wb") as file:
        file.writelines(tweet_activity(many_posts(number)))
    return number


if __name__ == "__main__":
    sys.stdout.write(f"{write_large(Path(sys.argv[2]), int(sys.argv[1])):,} rows\n")
