"""What the health pages say, to whom, and when a part is away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from accounts.models import Handle
from metrics import stream, telemetry
from metrics.ingest import runner
from metrics.ingest.connectors import registry
from metrics.models import Source
from tests.ingest.scripted import Scripted

ASK = """
import json, sys, django
django.setup()
from django.test import Client
answers = {page: Client(SERVER_NAME="localhost").get("/" + page) for page in ("healthz", "readyz", "metrics")}
print(json.dumps({page: [answer.status_code, answer.content.decode()] for page, answer in answers.items()}))
"""


@pytest.fixture
def quiet_redis() -> Iterator[None]:
    """Nothing in Redis before and after."""
    stream.client().flushdb()
    yield
    stream.client().flushdb()


@pytest.fixture
def healthy(db: None, quiet_redis: None) -> Iterator[None]:
    """Every shard is held and the beat was just heard."""
    leases = [stream.lease(shard, group) for shard in range(settings.SHARDS) for group in stream.Group]
    assert all(lease.acquire() for lease in leases)
    telemetry.note_beat()
    yield
    for lease in leases:
        if lease.owned():
            lease.release()


def ready(client: Client) -> tuple[int, dict[str, Any]]:
    answer = client.get("/readyz")
    return answer.status_code, answer.json()["checks"]


def test_it_is_alive_without_asking_anyone(client: Client) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"alive": True})


def test_it_is_ready_when_every_part_works(client: Client, healthy: None) -> None:
    status, checks = ready(client)
    assert status == 200
    consumers = {"consumer_0", "consumer_1", "reach_0", "reach_1"}
    assert set(checks) == {"database", "redis", "sources", "beat", *consumers}
    assert checks["consumer_0"] == {"ok": True, "reason": "", "backlog_events": 0, "lag_seconds": 0.0}


def test_it_is_not_ready_without_a_writer_for_every_shard(client: Client, healthy: None) -> None:
    stream.client().delete(stream.lease(1).name)
    status, checks = ready(client)
    assert status == 503
    assert checks["consumer_1"]["reason"] == "no consumer holds the shard's lease"
    assert checks["consumer_0"]["ok"]
    stream.client().delete(stream.lease(0, stream.Group.REACH).name)
    assert not ready(client)[1]["reach_0"]["ok"]


def test_it_is_not_ready_while_events_wait_too_long(client: Client, healthy: None) -> None:
    stream.client().xadd(stream.stream_key(0), {"e": b""}, id="1700000000000-0")
    status, checks = ready(client)
    assert status == 503
    assert checks["consumer_0"]["reason"].startswith("events wait for ")


def test_it_is_not_ready_without_the_beat(client: Client, healthy: None) -> None:
    stream.client().set(telemetry.BEAT_KEY, 1_700_000_000_000)
    status, checks = ready(client)
    assert status == 503
    assert checks["beat"]["reason"].startswith("the beat was last heard ")
    stream.client().delete(telemetry.BEAT_KEY)
    assert ready(client)[1]["beat"]["reason"] == "the beat was never heard"


def test_it_is_not_ready_while_a_source_waits_for_a_thread(
    client: Client, healthy: None, northwind: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry(), "scripted", Scripted())
    long_ago = datetime.now(UTC) - timedelta(minutes=2)
    source = Source.objects.create(handle=northwind, kind="scripted", name="a stream", state_since=long_ago)
    status, checks = ready(client)
    assert status == 503
    assert checks["sources"]["reason"] == "1 sources wait for a thread"
    stream.client().set(runner.lease_key(source.pk), "held")
    assert ready(client)[0] == 200
    told = client.get("/metrics").content.decode()
    assert 'insightstrack_sources{kind="scripted",state="starting"} 1.0' in told
    assert "insightstrack_sources_held 1.0" in told


def test_it_tells_prometheus_what_waits_and_how_long_announcing_takes(client: Client, healthy: None) -> None:
    stream.append(0, b"")
    telemetry.observe_announcement([1_000_000, 1_150_000, 900_000], announced_us=1_200_000)
    telemetry.observe_announcement([0], announced_us=90_000_000)
    found = samples(client.get("/metrics").content.decode())
    assert found["insightstrack_backlog_events", "reach 0"] == 0
    assert found["insightstrack_consumer_held", "rollups 1"] == 1
    assert found["insightstrack_announce_latency_seconds_bucket", "0.05"] == 1
    assert found["insightstrack_announce_latency_seconds_bucket", "0.2"] == 2
    assert found["insightstrack_announce_latency_seconds_bucket", "60.0"] == 3
    assert found["insightstrack_announce_latency_seconds_bucket", "+Inf"] == 4
    assert found["insightstrack_announce_latency_seconds_sum", ""] == pytest.approx(90.55)
    assert (found["insightstrack_up", "redis"], found["insightstrack_up", "database"]) == (1, 1)


@pytest.mark.parametrize(
    ("variable", "url", "part"),
    [
        ("DATABASE_URL", "postgresql://reader:hunter2@127.0.0.1:1/nowhere", "database"),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1:1/0", "redis"),
    ],
)
def test_it_says_which_part_is_away_and_no_more(variable: str, url: str, part: str) -> None:
    answers = json.loads(
        subprocess.run(
            [sys.executable, "-c", ASK],
            env={**os.environ, variable: url},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        ).stdout
    )
    assert answers["healthz"][0] == 200
    status, body = answers["readyz"]
    assert status == 503
    assert json.loads(body)["checks"][part]["reason"].endswith("does not answer")
    status, text = answers["metrics"]
    assert status == 200
    assert samples(text)["insightstrack_up", part] == 0
    for _, shown in answers.values():
        assert not any(word in shown for word in ("hunter2", "reader", "127.0.0.1", "Traceback"))


def samples(text: str) -> dict[tuple[str, str], float]:
    """Prometheus text → {(name, the labels' values): value}."""
    return {
        (sample.name, " ".join(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
