"""Is it alive, is it ready, how is it doing: `/healthz`, `/readyz` and `/metrics`.

Open to everybody who reaches the server: reasons name the part that fails and never an address or a secret.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import product

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from metrics import stream, telemetry
from metrics.ingest import runner
from metrics.models import Source, StreamCursor
from metrics.stream import Group

LAG_ALLOWED = 60.0  # seconds that an accepted event may wait
BEAT_ALLOWED = 60.0  # seconds since the beat was last heard
# A writer hands its lease on about once a minute; for that moment nobody holds it.
LEASE_PATIENCE = 0.5  # seconds
_LABELS = ["shard", "group"]
CONSUMERS = {Group.ROLLUPS: "consumer", Group.REACH: "reach"}


@dataclass(frozen=True)
class Check:
    """One part: whether it works, why not, and what was measured."""

    ok: bool
    reason: str = ""
    backlog_events: int | None = None
    lag_seconds: float | None = None
    age_seconds: float | None = None


@require_safe
@never_cache
def healthz(_request: HttpRequest) -> HttpResponse:
    """200 while the process can answer at all."""
    return JsonResponse({"alive": True})


@require_safe
@never_cache
def readyz(_request: HttpRequest) -> HttpResponse:
    """200 when events are taken in, counted and shown; else 503, and which part is why."""
    checks = readiness()
    ready = all(check.ok for check in checks.values())
    body = {name: _without_blanks(check) for name, check in checks.items()}
    return JsonResponse({"ready": ready, "checks": body}, status=200 if ready else 503)


@require_safe
@never_cache
def metrics(_request: HttpRequest) -> HttpResponse:
    """The figures of the whole installation in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(InstallationCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def readiness() -> dict[str, Check]:
    """Every check by name: database, redis, each shard's consumers, the sources, beat."""
    checks = {"database": check_database(), "redis": _asking_redis(_ping)}
    for shard in range(settings.SHARDS):
        for group, name in CONSUMERS.items():
            checks[f"{name}_{shard}"] = _asking_redis(partial(check_consumer, shard, group))
    checks["sources"] = _asking_redis(check_sources)
    checks["beat"] = _asking_redis(check_beat)
    return checks


def check_database() -> Check:
    """One query."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return Check(False, "the database does not answer")
    return Check(True)


def check_consumer(shard: int, group: Group = Group.ROLLUPS) -> Check:
    """Somebody writes the shard, and nothing has waited for long. Raises RedisError."""
    lag = stream.lag_seconds(shard, group)
    found = Check(True, backlog_events=stream.backlog(shard, group), lag_seconds=round(lag, 3))
    if not lease_is_held(shard, group, LEASE_PATIENCE):
        return replace(found, ok=False, reason="no consumer holds the shard's lease")
    if lag > LAG_ALLOWED:
        return replace(found, ok=False, reason=f"events wait for {lag:.0f} s")
    return found


def lease_is_held(shard: int, group: Group = Group.ROLLUPS, patience: float = 0.0) -> bool:
    """Tell whether the shard has a writer of the group, asking again for `patience` seconds. Raises RedisError."""
    deadline = time.monotonic() + patience
    while not stream.lease(shard, group).locked():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def check_sources() -> Check:
    """No source waits long for somebody to run it. Raises RedisError."""
    try:
        overdue = len(runner.overdue(datetime.now(UTC)))
    except DatabaseError:
        return Check(False, "the database does not answer")
    return Check(not overdue, f"{overdue} sources wait for a thread" if overdue else "")


def check_beat() -> Check:
    """The beat was heard lately. Raises RedisError."""
    heard_at = telemetry.last_beat_at()
    if heard_at is None:
        return Check(False, "the beat was never heard")
    age = round((datetime.now(UTC) - heard_at).total_seconds(), 3)
    if age > BEAT_ALLOWED:
        return Check(False, f"the beat was last heard {age:.0f} s ago", age_seconds=age)
    return Check(True, age_seconds=age)


def _ping() -> Check:
    stream.client().ping()
    return Check(True)


def _asking_redis(check: Callable[[], Check]) -> Check:
    try:
        return check()
    except RedisError:
        return Check(False, "Redis does not answer")


def _without_blanks(check: Check) -> dict[str, object]:
    return {name: value for name, value in asdict(check).items() if value is not None}


class InstallationCollector(Collector):
    """Reads the figures when they are asked for; a part that is away leaves its figures out and `up` at 0."""

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family that can be read now."""
        up = GaugeMetricFamily("insightstrack_up", "1 when the part answers", labels=["part"])
        for part, read in (("redis", self._from_redis), ("database", self._from_database)):
            try:
                families = list(read())
            except (RedisError, DatabaseError):
                up.add_metric([part], 0)
                continue
            up.add_metric([part], 1)
            yield from families
        yield up

    def _from_redis(self) -> Iterator[Metric]:
        backlog = GaugeMetricFamily("insightstrack_backlog_events", "Accepted events not yet applied", labels=_LABELS)
        lag = GaugeMetricFamily("insightstrack_lag_seconds", "Age of the oldest waiting batch", labels=_LABELS)
        held = GaugeMetricFamily("insightstrack_consumer_held", "1 when the shard has a writer", labels=_LABELS)
        for shard, group in product(range(settings.SHARDS), Group):
            labels = [str(shard), group.value]
            backlog.add_metric(labels, stream.backlog(shard, group))
            lag.add_metric(labels, stream.lag_seconds(shard, group))
            held.add_metric(labels, float(lease_is_held(shard, group)))
        yield from (backlog, lag, held, _announce_latency())
        yield GaugeMetricFamily("insightstrack_sources_held", "Sources that are being run", value=runner.held())
        heard_at = telemetry.last_beat_at()
        if heard_at is not None:
            at = heard_at.timestamp()
            yield GaugeMetricFamily("insightstrack_beat_timestamp_seconds", "When the beat was last heard", value=at)

    def _from_database(self) -> Iterator[Metric]:
        applied = CounterMetricFamily(
            "insightstrack_applied_events",
            "Events taken from the stream, duplicates included",
            labels=["shard"],
        )
        for shard, events in StreamCursor.objects.values_list("shard", "applied_events"):
            applied.add_metric([str(shard)], events)
        known = GaugeMetricFamily("insightstrack_sources", "Sources by kind and state", labels=["kind", "state"])
        for kind, state, number in Source.objects.values_list("kind", "state").annotate(Count("pk")).order_by():
            known.add_metric([kind, state], number)
        yield from (applied, known)


def _announce_latency() -> HistogramMetricFamily:
    seen = telemetry.latencies()
    bounds = [*(str(bound / 1000) for bound in telemetry.BOUNDS_MS), "+Inf"]
    cumulative, buckets = 0, []
    for bound, count in zip(bounds, seen.counts, strict=True):
        cumulative += count
        buckets.append((bound, float(cumulative)))
    return HistogramMetricFamily(
        "insightstrack_announce_latency_seconds",
        "From the arrival of a batch to its announcement to browsers",
        buckets=buckets,
        sum_value=seen.total_ms / 1000,
    )


urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
