"""A writer that stood still past its lease, and came too late: what it holds is counted all the same, and once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from accounts.models import Handle
from metrics import stream
from metrics.aggregate import rollups
from metrics.models import EngagementEvent, HandleRollup
from tests.ingest.asking import post
from tests.ingest.corpus import good


@pytest.fixture(autouse=True)
def empty_streams() -> Iterator[None]:
    stream.client().flushdb()
    yield
    stream.client().flushdb()


@pytest.mark.django_db(transaction=True)
def test_it_counts_a_batch_that_was_overtaken(ingest_token: str, northwind: Handle) -> None:
    shard = stream.shard_of(northwind.pk)
    late_writer = rollups.Writer(shard)
    for name in ("held", "overtaking"):
        assert post(ingest_token, [good(id=name)]).status == 202
    held = stream.read(shard, 1)
    overtaking = stream.read(shard, 1)
    assert rollups.apply(shard, overtaking).fresh == 1
    stream.acknowledge(shard, overtaking)
    assert rollups.apply(shard, held).fresh == 1
    assert rollups.apply(shard, held).fresh == 0
    while late_writer.step(1):
        pass
    assert EngagementEvent.objects.count() == 2
    assert HandleRollup.objects.get(handle=northwind, grain=4).favorites == 2
    assert stream.oldest_waiting_us(shard) is None
    assert stream.backlog(shard) == 0
