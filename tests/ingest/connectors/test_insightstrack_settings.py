"""A stream's settings: what cannot work is refused, and a test says what the stream follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from metrics.ingest.connectors import SettingsError, SourceError, registry

if TYPE_CHECKING:
    from metrics.models import Source
    from tests.ingest.connectors.upstream import Upstream

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("url", "http://stream.example/a.json", "https://"),
        ("url", "ftp://stream.example/a.json", "https://"),
        ("url", "https://alice:secret@stream.example/a.json", "no user or password"),
        ("url", "https:///a.json", "must name a server"),
        ("url", "https://stream.example/", ".json"),
        ("url", "https://[::1/a.json", "is not an address"),
        ("token", "Bearer abc", "without “Bearer”"),
        ("token", "абв", "no token has"),
        ("tweets", "some", "“own” or “all”"),
    ],
)
def test_it_refuses_settings_that_cannot_work(streamed: Source, field: str, value: str, says: str) -> None:
    given = {"url": "https://stream.example/a.json", "token": "abc", "tweets": ""}
    connector = registry()["insightstrack"]
    assert connector.checked(streamed, given) == {**given, "tweets": "own"}
    with pytest.raises(SettingsError, match=says) as refused:
        connector.checked(streamed, given | {field: value})
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (None, "The stream is open."),
        (["northwind"], "The stream is open. It follows this handle alone."),
        (["from:Northwind", "acme"], "The stream is open. It follows 2 handles."),
    ],
)
async def test_it_tells_what_a_stream_follows(
    streamed: Source, upstream: Upstream, rules: list[str] | None, says: str
) -> None:
    upstream.rules = rules
    assert await registry()["insightstrack"].test(streamed) == says


async def test_it_tells_when_a_stream_does_not_follow_the_handle(streamed: Source, upstream: Upstream) -> None:
    upstream.rules = ["acme"]
    with pytest.raises(SourceError, match="no rule of it follows @northwind"):
        await registry()["insightstrack"].test(streamed)
    upstream.refusals.append((401, {}))
    with pytest.raises(SourceError, match="does not accept the token"):
        await registry()["insightstrack"].test(streamed)
