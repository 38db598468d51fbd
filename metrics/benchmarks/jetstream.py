"""How many messages of the Bluesky network the installation filters for one account, on the one core of its source.

The real connector, run by the installation, reads a local server; the clock stops when its cursor stands at the last
message, which is when all that concerned the account's posts has been stored. The counts are checked afterwards.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from accounts.models import Platform
from metrics.benchmarks.crew import Crew
from metrics.benchmarks.firehose import FirehosePlan, speak
from metrics.benchmarks.guests import STALLED_AFTER, Guest, Guests, is_exact
from metrics.benchmarks.installation import BenchmarkError, Installation
from metrics.benchmarks.measures import Meters
from metrics.ingest import sources
from metrics.models import Source
from metrics.vocabulary import atproto

MESSAGES_PER_SECOND = 20_000  # of the length asked for: how many are made, not how fast they are sent
POSTS = 50
DID = "did:plc:benchmark777777777777777"


def jetstream(installation: Installation, seconds: float, meters: Meters) -> dict[str, Any]:
    """Messages a second from the first one sent to the last one filtered and stored."""
    plan = _plan(round(seconds * MESSAGES_PER_SECOND))
    with Guests(handles=1, tweets=0) as guests:
        guest = replace(guests.guests[0], tweets=tuple(map(atproto.post_id, plan.posts)))
        with Crew(speak, [plan]) as crew:
            (url,) = crew.results()
            before = installation.cpu_seconds().get("sources", 0.0)
            done_at = _wait(_connect(guest, url, plan), plan, meters)
            used = installation.cpu_seconds().get("sources", 0.0) - before
            crew.tell("stop")
            ((began, expected),) = crew.results()
        events = int(expected.sum())
        guests.wait_until_counted(events)
        exact = is_exact(guest, expected)
    return {
        "messages_per_second": round(plan.messages / (done_at - began), 1),
        "exact": exact,
        "messages": plan.messages,
        "events": events,
        "seconds": round(done_at - began, 2),
        "cores_of_the_source": round(used / (done_at - began), 2),
    }


def _plan(messages: int) -> FirehosePlan:
    now_us = time.time_ns() // 1000
    posts = tuple(
        atproto.uri(DID, atproto.POST, atproto.tid(now_us - 86_400_000_000 + number * 1_000_000))
        for number in range(POSTS)
    )
    return FirehosePlan(DID, posts, messages, now_us - 3_600_000_000)


def _connect(guest: Guest, url: str, plan: FirehosePlan) -> Source:
    """A source of the guest that has come to just before the first message."""
    guest.handle.platform = Platform.BLUESKY
    guest.handle.save()
    source = sources.known(guest.handle, "jetstream", "benchmark")
    source.settings = {"account": DID, "url": url}
    source.cursor = {"account": DID, "did": DID, "time_us": plan.since_us, "delivery": 0}
    source.save()
    return source


def _wait(source: Source, plan: FirehosePlan, meters: Meters) -> float:
    """When (Unix seconds) the cursor stood at the last message; raises BenchmarkError when it stands still before."""
    place, moved_at = plan.since_us, time.monotonic()
    with meters("Filtering", "messages", float(plan.messages)) as meter:
        while place < plan.last_us:
            time.sleep(0.02)
            source.refresh_from_db(fields=["cursor", "state", "reason"])
            before, place = place, int(source.cursor["time_us"])
            done = round(plan.messages * (place - plan.since_us) / (plan.last_us - plan.since_us))
            meter.show(float(done), done)
            if place != before:
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > STALLED_AFTER:
                raise BenchmarkError(f"The source stands still: {source.get_state_display()}. {source.reason}")
    return time.time()
