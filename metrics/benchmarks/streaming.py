"""The measurement of open streams: many readers over busy Tweets, from when a post is due to the summary that holds it.

A Tweet's summary leaves at most once a second, and the newest state wins, so a reader may never see a total that was
passed meanwhile: a post has arrived with the first summary whose total is that of the post or more.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from django.conf import settings

from accounts.credentials import issue_token
from accounts.models import Scope
from metrics.benchmarks.crew import Crew
from metrics.benchmarks.guests import Guest, Guests
from metrics.benchmarks.installation import Installation
from metrics.benchmarks.measures import Meters, percentiles, show_until_posted
from metrics.benchmarks.posting import DripPlan, drip
from metrics.benchmarks.reading import Arrivals, Read, ReadPlan, read
from metrics.present import rules

READERS, HANDLES, TWEETS = 500, 4, 50  # Tweets of each handle; a reader follows one handle
LABEL = "benchmark"
LOAD_PROCESSES = 2
# Each post changes a fifth of its handle's Tweets, so that each Tweet changes once a second.
PARTS, EVERY = 5, 0.2
# After the last post: a message of the writers, a Tweet's interval of a second, and the way.
SETTLE_SECONDS = 4.0


def stream(installation: Installation, seconds: float, meters: Meters, readers: int = READERS) -> dict[str, Any]:
    """Summaries a second over all readers, how late they come, and how many never came."""
    with Guests(handles=HANDLES, tweets=TWEETS) as guests:
        drips = [_drip_plan(installation, guest, seconds) for guest in guests.guests]
        reads = [plan for guest in guests.guests for plan in _read_plans(installation, guest, readers // HANDLES)]
        shares = [reads[share::LOAD_PROCESSES] for share in range(LOAD_PROCESSES)]
        began_opening = time.monotonic()
        with Crew(read, shares) as reading, Crew(drip, [drips]) as posting:
            reading.wait_until_ready()
            posting.wait_until_ready()
            opening = time.monotonic() - began_opening
            began = time.monotonic() + 1.0
            posting.tell(began)
            show_until_posted(posting, began, drips[0], meters, f"{len(reads)} readers")
            dues: list[list[float]] = posting.results()[0]
            guests.wait_until_counted(sum(plan.posts * plan.events for plan in drips))
            time.sleep(SETTLE_SECONDS)
            reading.tell("stop")
            found = [each for part in reading.results() for each in part]
    return {**_told(dues, drips, found), "seconds_to_open": round(opening, 1)}


def _drip_plan(installation: Installation, guest: Guest, seconds: float) -> DripPlan:
    posts = max(PARTS, round(seconds / EVERY))
    whom = (installation.host, installation.port, guest.token)
    return DripPlan(*whom, guest.handle.username, guest.tweets, TWEETS // PARTS, EVERY, posts, PARTS)


def _read_plans(installation: Installation, guest: Guest, readers: int) -> list[ReadPlan]:
    """So many streams of the guest, over as many tokens as they need."""
    team, handle = guest.handle.team, guest.handle
    rules.follow(team.pk, f"{LABEL}-{handle.username}", handle)
    most = settings.STREAM_CONNECTIONS_PER_TOKEN
    secrets = [issue_token(team, LABEL, [Scope.READ], [handle])[1] for _ in range(0, readers, most)]
    path = f"/stream/{rules.address(team.slug, f'{LABEL}-{handle.username}')}"
    return [ReadPlan(installation.host, installation.port, path, secrets[number // most]) for number in range(readers)]


def _told(dues: Sequence[Sequence[float]], drips: Sequence[DripPlan], found: Sequence[Read]) -> dict[str, Any]:
    delays, lost = [np.zeros(0)], 0
    for reader in found:
        place = next(number for number, plan in enumerate(drips) if reader.path.endswith(f"-{plan.run}.json"))
        late, missing = delays_ms(dues[place], drips[place], reader.tweets)
        delays.append(late)
        lost += missing
    summaries = [(total, at) for reader in found for arrivals in reader.tweets.values() for total, at in arrivals]
    took = max((at for _, at in summaries), default=0.0) - min(map(min, dues))
    return {
        "readers": len(found),
        "summaries_per_second": round(len(summaries) / took, 1) if summaries else 0.0,
        **percentiles(np.concatenate(delays)),
        "lost": lost,
        "streams_closed": sum(reader.is_closed for reader in found),
        "tweets": sum(len(plan.tweets) for plan in drips),
        "summaries": len(summaries),
        "megabytes_per_second": round(sum(reader.bytes_read for reader in found) / 1e6 / took, 1) if summaries else 0.0,
        "posts": sum(map(len, dues)),
    }


def delays_ms(
    due: Sequence[float], plan: DripPlan, tweets: Arrivals
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], int]:
    """For each post and Tweet the milliseconds to the first summary with its total; Tweets whose last total never came.

    Post n gives one impression to each Tweet of part `n % parts`.
    """
    delays, lost = [np.zeros(0)], 0
    for number, tweet_id in enumerate(plan.tweets):
        posted = np.asarray(due[number % plan.parts :: plan.parts])
        arrivals = tweets.get(tweet_id, [])
        totals = np.asarray([total for total, _ in arrivals], dtype=np.int64)
        times = np.asarray([at for _, at in arrivals], dtype=np.float64)
        first = np.searchsorted(totals, np.arange(1, len(posted) + 1))
        here = first < len(totals)
        delays.append((times[first[here]] - posted[here]) * 1000)
        lost += not (len(totals) and totals[-1] == len(posted))
    return np.concatenate(delays), lost
