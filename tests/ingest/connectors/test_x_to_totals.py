"""From X's answers to the totals on a page: exact after each poll, and no spike where the history begins."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from metrics import stream
from metrics.aggregate import partitions, rollups
from metrics.models import HandleRollup, InferredCount, PolledTweet, TweetRollup
from metrics.vocabulary.engagements import NAMES
from metrics.vocabulary.periods import Grain
from tests.ingest.bench import Bench
from tests.ingest.connectors.polled import NOW, aged, make_due, run
from tests.x_server import X, XTweet

pytestmark = pytest.mark.django_db
FEW = {"impression_count": 1_200, "like_count": 30, "reply_count": 2, "url_link_clicks": 9}
TWEET = aged(timedelta(hours=20))


@pytest.fixture(autouse=True)
def _no_memory_of_partitions() -> Iterator[None]:
    stream.client().flushdb()
    yield
    partitions.forget()
    stream.client().flushdb()


def poll(x: X, bench: Bench, seconds_ago: int) -> None:
    """One poll, of which X's clock says that it was so long ago, and the writer's work on what it brought."""
    x.ahead = -timedelta(seconds=seconds_ago)
    make_due(bench)
    run(bench)
    writer = rollups.Writer(stream.shard_of(bench.source.handle_id))
    while writer.step(1):
        pass


def totals(tweet_id: int = TWEET) -> dict[tuple[str, bool], int]:
    """(type, promoted) → the Tweet's lifetime total, where there is one."""
    rows = TweetRollup.objects.filter(tweet_id=tweet_id, grain=Grain.LIFETIME).values()
    return {(name, row["promoted"]): row[name] for row in rows for name in NAMES if row[name]}


def test_it_moves_a_tweets_totals_exactly_and_draws_no_spike(x: X, bench: Bench) -> None:
    tweet = XTweet(TWEET, FEW, quotes=3, analytics={"follows": 4})
    x.add(tweet)
    poll(x, bench, 120)
    assert totals() == {
        ("impressions", False): 1_200,
        ("favorites", False): 30,
        ("replies", False): 2,
        ("url_clicks", False): 9,
        ("quote_tweets", False): 3,
        ("user_follows", False): 4,
    }
    assert all(row.is_history for row in InferredCount.objects.all())
    hours = HandleRollup.objects.filter(grain=Grain.HOUR).values_list("impressions", flat=True)
    assert sum(hours) == 1_200
    assert max(hours) < 200, "spread over the Tweet's life"
    tweet.organic = FEW | {"impression_count": 1_260, "like_count": 33}
    poll(x, bench, 0)
    assert totals()["impressions", False] == 1_260
    assert totals()["favorites", False] == 33
    new = InferredCount.objects.filter(is_history=False)
    assert sum(row.counts[NAMES.index("impressions")] for row in new) == 60
    assert all(row.occurred_at >= NOW - timedelta(seconds=150) for row in new)


def test_it_counts_promoted_apart_and_goes_on_when_only_the_sum_is_told(x: X, bench: Bench) -> None:
    tweet = XTweet(TWEET, FEW, {"impression_count": 500, "like_count": 5})
    x.add(tweet)
    poll(x, bench, 240)
    PolledTweet.objects.update(created_at=NOW - timedelta(days=29, hours=12))
    poll(x, bench, 180)
    assert (totals()["impressions", False], totals()["impressions", True]) == (1_200, 500)
    PolledTweet.objects.update(created_at=NOW - timedelta(days=31))
    tweet.organic = FEW | {"impression_count": 1_210}
    poll(x, bench, 60)
    assert totals()["impressions", False] + totals()["impressions", True] == 1_710
    assert totals()["favorites", False] + totals()["favorites", True] == 35
    grown = InferredCount.objects.filter(is_history=False)
    assert sum(row.counts[NAMES.index("impressions")] for row in grown) == 10


def test_it_follows_likes_down_and_never_impressions(x: X, bench: Bench) -> None:
    tweet = XTweet(TWEET, FEW)
    x.add(tweet)
    poll(x, bench, 240)
    tweet.organic = FEW | {"impression_count": 1_190, "like_count": 28}
    for seconds_ago in (180, 120):
        poll(x, bench, seconds_ago)
    found = totals()
    assert (found["favorites", False], found["unfavorites", False]) == (30, 2)
    assert found["impressions", False] == 1_200


def test_it_keeps_the_totals_of_a_deleted_tweet(x: X, bench: Bench) -> None:
    x.add(XTweet(TWEET, FEW))
    poll(x, bench, 240)
    before = totals()
    x.tweets.clear()
    for seconds_ago in (180, 120, 60):
        poll(x, bench, seconds_ago)
    assert totals() == before
    assert PolledTweet.objects.get().gone_at is not None
