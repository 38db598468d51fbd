"""How long the Engagement API takes over HTTP, with many events behind the rollups.

One client asks as the vendor's do: with a token, over a connection that it keeps, for gzipped answers. The events are
those of `queries`. Each request asks about other Tweets.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from typing import Any

import numpy as np

from metrics.benchmarks import queries
from metrics.benchmarks.guests import Guest, Guests
from metrics.benchmarks.installation import BenchmarkError, Installation
from metrics.benchmarks.measures import Meters
from metrics.query.engagement import Dimension

RUNS = 120
# Those of the vendor's 28hr and historical endpoints, and of its totals.
TYPES = (
    *("impressions", "engagements", "favorites", "retweets", "replies", "video_views", "media_views"),
    *("media_engagements", "url_clicks", "hashtag_clicks", "detail_expands", "permalink_clicks"),
    *("app_install_attempts", "app_opens", "email_tweet", "user_follows", "user_profile_clicks"),
)
LIFETIME_TYPES = ("impressions", "engagements", "favorites", "retweets", "quote_tweets", "replies", "video_views")


def engagement(installation: Installation, events: int, meters: Meters) -> dict[str, Any]:
    """p50 and p95 of 25 Tweets × 17 types × 28 days by hour, and of 250 Tweets of totals."""
    with Guests(handles=1, tweets=0) as guests:
        guest = queries.with_history(guests.guests[0])
        queries.load(guest, 0, events, meters)
        found = {
            "historical": _times(installation, guest, "historical", 25, TYPES, list(Dimension)),
            "totals": _times(installation, guest, "totals", 250, LIFETIME_TYPES, [Dimension.TWEET, Dimension.TYPE]),
        }
        counted = guests.counted()
    p95s = {f"{name}_p95_ms": each.pop("p95_ms") for name, each in found.items()}
    return {**p95s, **found, "events": counted, "runs": RUNS, "days": queries.DAYS, "tweets": queries.TWEETS}


def _times(
    installation: Installation, guest: Guest, surface: str, tweets: int, types: Sequence[str], group_by: list[Dimension]
) -> dict[str, Any]:
    step = len(guest.tweets) // tweets
    times, size = [], 0
    connection = HTTPConnection(installation.host, installation.port, timeout=60)
    for run in range(RUNS + 1):
        asked = {"engagement_types": types, "groupings": {"g": {"group_by": group_by}}}
        body = json.dumps({"tweet_ids": [str(number) for number in guest.tweets[run % step :: step]], **asked})
        began = time.perf_counter()
        answer = _ask(connection, guest.token, surface, body)
        times.append(time.perf_counter() - began)
        size = len(answer)
        if run == 0:
            _check(json.loads(gzip.decompress(answer)), tweets)
    connection.close()
    p50, p95 = np.percentile(times[1:], (50, 95)) * 1000  # the first one warms up
    return {"p95_ms": round(float(p95), 2), "p50_ms": round(float(p50), 2), "gzipped_bytes": size}


def _ask(connection: HTTPConnection, token: str, surface: str, body: str) -> bytes:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept-Encoding": "gzip"}
    connection.request("POST", f"/insights/engagement/{surface}", body, headers)
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        raise BenchmarkError(f"/insights/engagement/{surface} answered {response.status}.")
    return answer


def _check(answer: dict[str, Any], tweets: int) -> None:
    if "errors" in answer or len(answer["g"]) != tweets:
        raise BenchmarkError(f"The answer does not tell {tweets} Tweets: {answer.get('errors')}.")
