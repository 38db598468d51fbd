"""`benchmark webhook`: how soon X's deliveries are answered while many come at once, and whether each counts once."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from metrics.benchmarks.crew import Crew
from metrics.benchmarks.delivering import CONNECTIONS, SECRET, Delivered, DeliveryPlan, deliver
from metrics.benchmarks.guests import Guest, Guests, handle_totals
from metrics.benchmarks.installation import Installation
from metrics.benchmarks.measures import Meters, percentiles
from metrics.ingest.connectors.x_webhook import KIND
from metrics.ingest.webhooks import PREFIX
from metrics.models import Source
from metrics.vocabulary.engagements import CODE, ORGANIC

TWEETS = 100


def webhook(installation: Installation, seconds: float, meters: Meters) -> dict[str, Any]:
    """Signed deliveries of one like each over many connections; the answers' times, and the exact count."""
    with Guests(handles=1, tweets=TWEETS) as guests:
        guest = guests.guests[0]
        plan = _plan(installation, guest, seconds)
        with Crew(deliver, [plan]) as crew, meters("Delivering", "likes applied", seconds) as meter:
            crew.wait_until_ready()
            began = time.monotonic()
            crew.tell(began)
            while not crew.is_done(1.0):
                meter.show(min(time.monotonic() - began, seconds), guests.counted())
            sent: Delivered = crew.results()[0]
            took = time.monotonic() - began
        guests.wait_until_counted(sent.likes)
        exact = handle_totals(guest)[ORGANIC][CODE["favorites"]] == sent.likes
    milliseconds = np.asarray(sent.took) * 1000
    return {
        "deliveries_per_second": round(len(milliseconds) / took, 1),
        **percentiles(milliseconds),
        "slowest_ms": round(float(milliseconds.max()), 1),
        "exact": bool(exact),
        "deliveries": len(milliseconds),
        "likes": sent.likes,
        "connections": CONNECTIONS,
        "seconds": round(took, 2),
    }


def _plan(installation: Installation, guest: Guest, seconds: float) -> DeliveryPlan:
    source = Source(handle=guest.handle, kind=KIND, name="benchmark")
    source.secrets = {"consumer_secret": SECRET}
    source.save()
    path = f"{PREFIX}{source.public_id.hex}"
    return DeliveryPlan(installation.host, installation.port, path, guest.handle.username, guest.tweets, seconds)
