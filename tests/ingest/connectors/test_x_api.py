"""Polling X: what is asked when, and what becomes of the answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from metrics.ingest.connectors import registry
from metrics.ingest.connectors.x_api import XApi
from metrics.models import PolledTweet, Source, SourceState, Tweet
from tests.ingest.bench import Bench
from tests.ingest.connectors.polled import (
    ANALYTICS,
    COUNTS,
    HOURS_AGO,
    LOOKUP,
    MONTHS_AGO,
    NOW,
    PROMOTED,
    TIMELINE,
    aged,
    make_due,
    notes,
    run,
    said,
)
from tests.x_server import Fault, X, XTweet, problem

pytestmark = pytest.mark.django_db


def test_it_is_registered() -> None:
    assert isinstance(registry()["x_api"], XApi)


def test_it_finds_tweets_and_takes_organic_and_promoted_counts_apart(x: X, bench: Bench) -> None:
    x.add(XTweet(HOURS_AGO, COUNTS, PROMOTED, quotes=4))
    due_at = run(bench)
    tweet = Tweet.objects.get()
    assert (tweet.tweet_id, tweet.text, tweet.tags) == (HOURS_AGO, "Fresh beans & bread #coffee", ["coffee"])
    assert tweet.link == f"https://x.com/northwind/status/{HOURS_AGO}"
    found = said(bench)
    assert found[HOURS_AGO, False] == {
        "impressions": 100,
        "favorites": 5,
        "replies": 0,
        "retweets": 0,
        "url_clicks": 3,
        "user_profile_clicks": 2,
    }
    assert found[HOURS_AGO, True] | {"impressions": 40, "favorites": 1} == found[HOURS_AGO, True]
    assert found[HOURS_AGO, None] == {"quote_tweets": 4}
    assert bench.states == [SourceState.LIVE]
    assert due_at is not None and NOW < due_at < datetime.now(UTC) + timedelta(seconds=90)


def test_it_asks_again_for_less_where_x_leaves_a_tweet_out(x: X, bench: Bench) -> None:
    """Never promoted, and older than 30 days: X answers with an error and without the Tweet."""
    x.add(XTweet(HOURS_AGO, COUNTS), XTweet(MONTHS_AGO, COUNTS, PROMOTED))
    run(bench)
    found = said(bench)
    assert found[HOURS_AGO, False]["impressions"] == 100
    assert (HOURS_AGO, True) not in found
    assert found[MONTHS_AGO, None] == {
        "impressions": 140,
        "favorites": 6,
        "replies": 0,
        "retweets": 0,
        "quote_tweets": 0,
    }
    assert len(x.asked(LOOKUP)) == 3


def test_it_goes_public_when_a_tweet_turns_30_days_old_and_counts_both_parts(x: X, bench: Bench) -> None:
    x.add(XTweet(HOURS_AGO, COUNTS, PROMOTED))
    run(bench)
    x.ahead = timedelta(days=31)
    PolledTweet.objects.update(created_at=NOW - timedelta(days=31))
    make_due(bench)
    bench.deliveries.clear()
    run(bench)
    assert set(said(bench)) == {(HOURS_AGO, None)}
    assert said(bench)[HOURS_AGO, None]["impressions"] == 140


def test_it_notices_that_a_tweet_is_promoted_by_now(x: X, bench: Bench) -> None:
    tweet = XTweet(HOURS_AGO, COUNTS)
    x.add(tweet)
    run(bench)
    tweet.promoted = PROMOTED
    make_due(bench)
    run(bench)
    make_due(bench)
    run(bench)
    assert said(bench)[HOURS_AGO, True]["impressions"] == 40


@pytest.mark.parametrize("gone", [None, {}, {"like_count": None}])
def test_it_takes_null_and_vanished_fields_for_unsaid(x: X, bench: Bench, gone: dict[str, Any] | None) -> None:
    tweet = XTweet(HOURS_AGO, COUNTS, PROMOTED)
    x.add(tweet)
    run(bench)
    bench.deliveries.clear()
    tweet.extra = {"organic_metrics": gone, "promoted_metrics": None}
    make_due(bench)
    run(bench)
    found = said(bench)
    assert set(found) == {(HOURS_AGO, None)}, "what came apart is not taken from the combined blocks"
    assert found[HOURS_AGO, None] == {"quote_tweets": 0}


def test_it_adds_up_the_videos_of_a_tweet(x: X, bench: Bench) -> None:
    whole = {f"playback_{share}_count": 100 - share for share in (0, 25, 50, 75, 100)}
    x.add(XTweet(HOURS_AGO, COUNTS, PROMOTED, videos=[whole, whole | {"playback_75_count": None}]))
    run(bench)
    found = said(bench)[HOURS_AGO, False]
    assert (found["video_starts"], found["video_viewed_25"], found["video_viewed_50"]) == (200, 150, 100)
    assert found["video_viewed_100"] == 0
    assert "video_viewed_75" not in found
    assert Tweet.objects.get().media == "video"


def test_it_adds_what_only_analytics_tell(x: X, bench: Bench) -> None:
    analytics = {"follows": 2, "hashtag_clicks": 7, "email_tweet": None, "url_clicks": 9, "impressions": 999}
    x.add(XTweet(HOURS_AGO, COUNTS, analytics=analytics), XTweet(MONTHS_AGO, analytics=analytics))
    run(bench)
    found = said(bench)
    assert found[HOURS_AGO, None] == {"quote_tweets": 0, "user_follows": 2, "hashtag_clicks": 7}
    assert found[MONTHS_AGO, None]["url_clicks"] == 9
    assert found[MONTHS_AGO, None]["impressions"] == 0
    asked = x.asked(ANALYTICS)
    assert {params["granularity"] for params in asked} == {"total"}
    full_hours = {params[name][14:] for params in asked for name in ("start_time", "end_time")}
    assert full_hours == {"00:00Z"}


def test_it_does_not_take_analytics_that_begin_after_the_tweet(x: X, bench: Bench) -> None:
    late = {"timestamp": f"{NOW:%Y-%m-%dT%H:%M:%SZ}", "metrics": {"follows": 2}}
    body = {"data": [{"id": str(HOURS_AGO), "timestamped_metrics": [late]}]}
    x.add(XTweet(HOURS_AGO, COUNTS))
    x.faults.append(Fault(200, body, path=ANALYTICS))
    run(bench)
    assert said(bench)[HOURS_AGO, None] == {"quote_tweets": 0}


def test_it_goes_on_counting_without_analytics(x: X, bench: Bench) -> None:
    x.add(XTweet(HOURS_AGO, COUNTS))
    x.faults.append(Fault(403, problem(403, "client-forbidden", "Your plan has no analytics."), path=ANALYTICS))
    run(bench)
    make_due(bench)
    run(bench)
    assert len(x.asked(ANALYTICS)) == 1
    assert any("Your plan has no analytics." in note for note in notes(bench))


def test_it_reads_every_page_and_later_only_what_is_new(x: X, bench: Bench) -> None:
    x.page = 2
    x.add(*(XTweet(aged(timedelta(hours=2), place)) for place in range(5)), XTweet(aged(timedelta(1)), is_retweet=True))
    run(bench)
    assert PolledTweet.objects.count() == Tweet.objects.count() == 5
    assert len(x.asked(TIMELINE)) == 3
    make_due(bench)
    x.add(XTweet(aged(timedelta(hours=1))))
    run(bench)
    assert x.asked(TIMELINE)[-1]["since_id"] == str(aged(timedelta(hours=2), 4))
    assert PolledTweet.objects.count() == 6


def test_it_goes_on_with_the_page_at_which_it_was_interrupted(x: X, bench: Bench) -> None:
    x.page = 2
    x.add(*(XTweet(aged(timedelta(hours=2), place)) for place in range(5)))
    x.limit("timeline", 2)
    run(bench)
    assert (PolledTweet.objects.count(), bench.states) == (4, [SourceState.CATCHING_UP])
    x.limit("timeline", 2)
    source = Source.objects.get()
    source.cursor["limits"]["timeline"][2] = NOW.timestamp()
    source.save()
    run(bench)
    assert [params.get("pagination_token") for params in x.asked(TIMELINE)] == [None, "2", "4"]
    assert (PolledTweet.objects.count(), bench.states[-1]) == (5, SourceState.LIVE)


def test_it_begins_again_where_x_does_not_know_the_page_any_more(x: X, bench: Bench) -> None:
    x.add(XTweet(HOURS_AGO))
    bench.source.cursor = {"page": {"token": "long-forgotten", "newest": "5"}}
    bench.source.save()
    run(bench)
    assert PolledTweet.objects.count() == 1
    assert any("is not valid" in note for note in notes(bench))
