"""A file from its last byte to its report."""

from __future__ import annotations

from metrics import stream
from metrics.models import ImportState, Tweet
from metrics.vocabulary.engagements import CODE
from metrics.vocabulary.snapshots import UNSAID, Part, Snapshots, unpack
from tests.ingest.files.conftest import DATA, EXPORTED_AT, Import


def sent() -> list[Snapshots]:
    """The snapshots that the streams hold, entry by entry."""
    rows = [row for shard in stream.shards() for row in stream.client().xrange(stream.stream_key(shard))]
    return [unpack(fields[b"s"]) for _, fields in rows if b"s" in fields]


def test_it_imports(imported: Import) -> None:
    file = imported(DATA / "tweet_activity_metrics_northwind_20161201_20170101_en.csv")
    assert (file.state, file.error) == (ImportState.DONE, "")
    assert (file.rows, file.read, file.imported, file.unchanged, file.refused) == (4, 4, 4, 0, 0)
    (records,) = sent()
    assert records["part"].tolist() == [Part.ORGANIC, Part.ORGANIC, Part.PROMOTED, Part.ORGANIC, Part.ORGANIC]
    assert set(records["as_of"].tolist()) == {round(EXPORTED_AT.timestamp() * 1e6)}
    assert records["counts"][0, CODE["impressions"]] == 1938
    assert records["counts"][0, CODE["quote_tweets"]] == UNSAID
    assert Tweet.objects.get(tweet_id=812369711592374273).text.startswith("Fresh beans & a warm cup <3\nCome by")
