"""The measurements that go through the front door: ingest, single, latency, fanout. Each returns its JSON object."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from django.conf import settings

from metrics.benchmarks.bodies import Template
from metrics.benchmarks.crew import Crew
from metrics.benchmarks.guests import Guest, Guests, is_exact
from metrics.benchmarks.installation import Installation
from metrics.benchmarks.posting import DripPlan, SendPlan, Sent, drip, send
from metrics.benchmarks.viewing import Seen, ViewPlan, watch

RATES = {100: 20, 1_000: 25, 5_000: 25}  # events a second: posts a second
VIEWERS = 2_000
FRAMES_EACH_SECOND = 4
TWEETS = 100  # of each handle
BODY_EVENTS = 500
SETTLE_SECONDS = 2.0  # after the last post, for the last frame to arrive


class Meter(Protocol):
    """Shows how far a measurement is."""

    def show(self, done: float, count: int) -> None: ...


Meters = Callable[[str, str, float], AbstractContextManager[Meter]]
"""(label, what is counted, total) → a meter."""


def ingest(installation: Installation, seconds: float, meters: Meters) -> dict[str, Any]:
    """Bodies of 500 events; the clock stops when all that was accepted can be queried."""
    return _throughput(installation, seconds, meters, BODY_EVENTS, connections=4)


def single(installation: Installation, seconds: float, meters: Meters) -> dict[str, Any]:
    """Posts of one event over many keep-alive connections."""
    return _throughput(installation, seconds, meters, 1, connections=32)


def _throughput(
    installation: Installation, seconds: float, meters: Meters, events: int, connections: int
) -> dict[str, Any]:
    with Guests(handles=2, tweets=TWEETS) as guests:
        plans = [_send_plan(installation, guest, events == 1, connections, seconds) for guest in guests.guests]
        with Crew(send, plans) as crew:
            crew.wait_until_ready()
            began = time.monotonic()
            crew.tell(began)
            _show_until_done(crew, guests, began, seconds, meters)
            sent: list[Sent] = crew.results()
            accepted_at = time.monotonic()
        posts = sum(each.posts for each in sent)
        queryable_at = guests.wait_until_counted(posts * events)
        exact = all(
            is_exact(guest, Template("", guest.tweets, BODY_EVENTS).expected(each.posts * events))
            for guest, each in zip(guests.guests, sent, strict=True)
        )
    took, whole = accepted_at - began, queryable_at - began
    return {
        "events_per_second": round(posts * events / whole, 1),
        "requests_per_second": round(posts / took, 1),
        "accepted_per_second": round(posts * events / took, 1),
        "exact": exact,
        "events": posts * events,
        "seconds": round(whole, 2),
        "waits": sum(each.waits for each in sent),
        "events_each_post": events,
        "load_processes": len(plans),
        "connections": connections * len(plans),
    }


def _send_plan(installation: Installation, guest: Guest, single: bool, connections: int, seconds: float) -> SendPlan:
    name = guest.handle.username
    whom = (installation.host, installation.port, guest.token)
    return SendPlan(*whom, name, guest.tweets, BODY_EVENTS, connections, seconds, single)


def _show_until_done(crew: Crew, guests: Guests, began: float, seconds: float, meters: Meters) -> None:
    with meters("Sending", "events applied", seconds) as meter:
        while not crew.is_done(1.0):
            meter.show(min(time.monotonic() - began, seconds), guests.counted())


def latency(installation: Installation, seconds: float, meters: Meters) -> dict[str, Any]:
    """From when a post is due to the frame that holds its last event, at a websocket client."""
    rates = []
    with Guests(handles=len(RATES), tweets=TWEETS) as guests:
        for guest, (rate, posts) in zip(guests.guests, RATES.items(), strict=True):
            plan = _drip_plan(installation, guest, rate // posts, 1 / posts, seconds)
            due, seen = _live(guests, guest, plan, [1], meters, f"{rate:,} events/s")
            delays, unseen = delays_ms(due, plan.events, [each for part in seen for each in part.sockets])
            rates.append({"events_per_second": rate, **percentiles(delays), "posts": len(due), "unseen": unseen})
    return {"rates": rates, "posts_per_second": list(RATES.values()), "frame_interval_ms": settings.LIVE_INTERVAL_MS}


def fanout(installation: Installation, seconds: float, meters: Meters, viewers: int = VIEWERS) -> dict[str, Any]:
    """From when one event's post is due to its frame at each of many sockets of one handle."""
    with Guests(handles=1, tweets=TWEETS) as guests:
        guest = guests.guests[0]
        plan = _drip_plan(installation, guest, 1, 1 / FRAMES_EACH_SECOND, seconds)
        shares = [viewers // 2, viewers - viewers // 2]
        due, seen = _live(guests, guest, plan, shares, meters, f"{viewers:,} sockets")
    sockets = [each for part in seen for each in part.sockets]
    delays, unseen = delays_ms(due, plan.events, sockets)
    return {
        "viewers": viewers,
        **percentiles(delays),
        "frames_lost": frames_lost(sockets),
        "unseen": unseen,
        "sockets_closed": sum(part.closed for part in seen),
        "frames_received": sum(map(len, sockets)),
        "posts": len(due),
    }


def _drip_plan(installation: Installation, guest: Guest, events: int, every: float, seconds: float) -> DripPlan:
    posts = max(1, round(seconds / every))
    name = guest.handle.username
    return DripPlan(installation.host, installation.port, guest.token, name, guest.tweets, events, every, posts)


def _live(
    guests: Guests, guest: Guest, plan: DripPlan, shares: Sequence[int], meters: Meters, label: str
) -> tuple[list[float], list[Seen]]:
    """Post on the timetable while sockets watch: when each post was due, and what each process's sockets saw."""
    cookie = f"{settings.SESSION_COOKIE_NAME}={guests.session_key()}"
    views = [ViewPlan(plan.host, plan.port, cookie, guest.handle.username, share) for share in shares]
    with Crew(watch, views) as watching, Crew(drip, [[plan]]) as posting:
        watching.wait_until_ready()
        posting.wait_until_ready()
        # The first look at a handle costs more than the rest: connections are quiet when the clock starts.
        began = time.monotonic() + 1.0
        posting.tell(began)
        show_until_posted(posting, began, plan, meters, label)
        due: list[float] = posting.results()[0][0]
        guests.wait_until_counted(plan.posts * plan.events)
        time.sleep(SETTLE_SECONDS)
        watching.tell("stop")
        return due, watching.results()


def show_until_posted(posting: Crew, began: float, plan: DripPlan, meters: Meters, label: str) -> None:
    """Show how far the timetable is until its process is through."""
    with meters(label, "posts", plan.posts * plan.every) as meter:
        while not posting.is_done(1.0):
            elapsed = min(max(0.0, time.monotonic() - began), plan.posts * plan.every)
            meter.show(elapsed, round(elapsed / plan.every))


def delays_ms(
    due: Sequence[float], events: int, sockets: Sequence[Sequence[tuple[int, float]]]
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], int]:
    """For each post and socket the milliseconds to the first frame that holds its events, and how many never came."""
    needed = events * np.arange(1, len(due) + 1)
    delays = []
    for frames in sockets:
        totals = np.asarray([total for total, _ in frames], dtype=np.int64)
        times = np.asarray([at for _, at in frames], dtype=np.float64)
        first = np.searchsorted(totals, needed)
        here = first < len(totals)
        delays.append((times[first[here]] - np.asarray(due)[here]) * 1000)
    together = np.concatenate(delays)
    return together, len(due) * len(sockets) - len(together)


def frames_lost(sockets: Sequence[Sequence[tuple[int, float]]]) -> int:
    """How many frames that some socket received did not reach another."""
    sent = {total for frames in sockets for total, _ in frames}
    return sum(len(sent - {total for total, _ in frames}) for frames in sockets)


def percentiles(delays: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float | None]:
    """p50, p95 and p99, or None where there is nothing."""
    shares = (50, 95, 99)
    if not len(delays):
        return dict.fromkeys((f"p{share}_ms" for share in shares), None)
    return {f"p{share}_ms": round(float(np.percentile(delays, share)), 1) for share in shares}
