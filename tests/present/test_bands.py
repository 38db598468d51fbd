"""What charts mark: hatched outages, dotted history, and the same in words and as data."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Handle, User
from metrics.ingest import sources
from metrics.models import HandleFeed, Outage, Source, SourceState
from tests.ledger import Event, a_tweet, record
from tests.present.test_integrations import as_, text

pytestmark = pytest.mark.django_db


@pytest.fixture
def source(northwind: Handle) -> Source:
    """A source of a handle that has figures."""
    tweet = a_tweet(northwind, timezone.now() - timedelta(hours=5), "Winter roast")
    record(northwind, [Event(tweet.tweet_id, timezone.now() - timedelta(hours=4), "favorites", 3)])
    HandleFeed.objects.update_or_create(handle=northwind, defaults={"last_received_at": timezone.now()})
    return Source.objects.create(handle=northwind, kind="jetstream", name="Bluesky")


def test_the_dashboard_hatches_and_tells_when_a_source_was_down(alice: User, source: Source) -> None:
    client = as_(alice)
    quiet = text(client.get("/h/northwind/"))
    assert 'data-band-legend="down" hidden' in quiet
    now = timezone.now()
    since, until = now - timedelta(hours=3), now - timedelta(hours=2)
    Outage.objects.create(source=source, since=since, until=until, state=SourceState.FAILING, reason="no route.")
    page = text(client.get("/h/northwind/"))
    assert 'data-band-legend="down" hidden' not in page
    assert "Bluesky was down" in page
    assert "(no route)." in page
    bands = client.get("/h/northwind/live.json").json()["bands"]
    assert bands["down"] == [[since.timestamp() * 1000, until.timestamp() * 1000]]
    assert bands["history"] == []


def test_a_tweets_growth_is_marked_too(alice: User, source: Source) -> None:
    sources.enter(source, SourceState.PAUSED, "by alice")
    tweet = source.handle.tweets.get()
    page = text(as_(alice).get(f"/h/northwind/t/{tweet.tweet_id}/"))
    assert "Bluesky was paused since" in page
    assert as_(alice).get(f"/h/northwind/t/{tweet.tweet_id}/live.json").json()["bands"]["down"]
