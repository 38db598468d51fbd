"""Polling X: what is asked when, what is taken, and what every fault of X's leads to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync

from metrics.ingest import x_account
from metrics.ingest.connectors import DisconnectedError, LimitedError, SourceError, registry
from metrics.ingest.connectors.x_api import XApi
from metrics.ingest.connectors.x_polling import client, ledger
from metrics.ingest.connectors.x_polling.ledger import Endpoint, Ledger, SupersededError
from metrics.ingest.x_account import Account, Tokens
from metrics.models import PolledTweet, Source, SourceState, Tweet
from metrics.vocabulary.events import snowflake_at
from tests import x_oauth, x_server
from tests.ingest.bench import Bench
from tests.x_oauth import Grant
from tests.x_server import Fault, X, XTweet, problem

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

    from accounts.models import Handle, User

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC)
TIMELINE, LOOKUP, ANALYTICS = f"/2/users/{x_server.USER_ID}/tweets", "/2/tweets", "/2/tweets/analytics"
Said = dict[tuple[int, bool | None], dict[str, int | None]]


@pytest.fixture
def x(settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch) -> Iterator[X]:
    """An X that the settings name; second tries come at once."""
    monkeypatch.setattr(client, "SECOND_TRY_SECONDS", 0.0)
    with x_server.running() as x:
        settings.X_API_URL = x.url
        settings.X_CLIENT_ID, settings.X_CLIENT_SECRET = x_oauth.CLIENT_ID, x_oauth.CLIENT_SECRET
        yield x


@pytest.fixture
def bench(x: X, alice: User, northwind: Handle) -> Bench:
    """A shift for @northwind's connection."""
    grant = Grant(x.oauth.user, "tweet.read users.read offline.access")
    x.oauth.grants.append(grant)
    told = grant.renew()
    tokens = Tokens(told["access_token"], told["refresh_token"], int(NOW.timestamp()) + told["expires_in"])
    return Bench(x_account.connect(northwind, Account(x_server.USER_ID, x_server.USERNAME), tokens, alice))


def aged(age: timedelta, sequence: int = 0) -> int:
    """The id of a Tweet of this age."""
    return snowflake_at(NOW - age, sequence)


def run(bench: Bench) -> datetime | None:
    return bench.run(XApi())


def said(bench: Bench) -> Said:
    """What all snapshots said so far: (Tweet, promoted) → counts, later ones over earlier ones."""
    found: Said = {}
    for delivery in bench.deliveries:
        for one in delivery.snapshots:
            found.setdefault((int(one.tweet_id), one.promoted), {}).update(one.counts)
    return found


def notes(bench: Bench) -> list[str]:
    return [str(note) for note in bench.source.notes.all()]


def make_due(bench: Bench) -> None:
    """Let a week pass for the schedule."""
    week_ago = NOW - timedelta(days=8)
    PolledTweet.objects.update(counted_at=week_ago, analysed_at=week_ago)
    source = Source.objects.get(pk=bench.source.pk)
    source.cursor["listed_at"] = week_ago.isoformat()
    source.save()


HOURS_AGO = aged(timedelta(hours=3))
MONTHS_AGO = aged(timedelta(days=60))
COUNTS = {"impression_count": 100, "like_count": 5, "url_link_clicks": 3, "user_profile_clicks": 2}
PROMOTED = {"impression_count": 40, "like_count": 1}


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
    x.add(XTweet(HOURS_AGO, COUNTS, PROMOTED, videos=[whole, whole | {"playback_75_count": None}]))  # type: ignore[dict-item]
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


def test_it_gives_a_deleted_tweet_up_when_it_is_missing_twice(x: X, bench: Bench) -> None:
    other = aged(timedelta(hours=3), 1)
    x.add(XTweet(HOURS_AGO, COUNTS), XTweet(other, COUNTS))
    run(bench)
    del x.tweets[HOURS_AGO]
    for _ in range(2):
        make_due(bench)
        run(bench)
    assert PolledTweet.objects.get(tweet_id=HOURS_AGO).gone_at is not None
    assert Tweet.objects.filter(tweet_id=HOURS_AGO).exists()
    assert any(str(HOURS_AGO) in note and "Deleted" in note for note in notes(bench))
    make_due(bench)
    run(bench)
    assert x.asked(LOOKUP)[-1]["ids"] == str(other)


def test_it_forgives_a_tweet_that_was_missing_once(x: X, bench: Bench) -> None:
    x.add(XTweet(HOURS_AGO, COUNTS))
    run(bench)
    for _ in range(3):
        make_due(bench)
        tweet = x.tweets.pop(HOURS_AGO)
        run(bench)
        x.tweets[HOURS_AGO] = tweet
        make_due(bench)
        run(bench)
    assert PolledTweet.objects.get().gone_at is None


def test_it_keeps_the_good_ones_of_a_partial_answer(x: X, bench: Bench) -> None:
    hidden, odd = aged(timedelta(hours=3), 1), aged(timedelta(hours=3), 2)
    x.add(XTweet(HOURS_AGO, COUNTS), XTweet(hidden), XTweet(odd, extra={"organic_metrics": ["?"], "public_metrics": 7}))
    x.forbidden.add(hidden)
    run(bench)
    assert said(bench)[HOURS_AGO, False]["impressions"] == 100
    assert {tweet_id for tweet_id, _ in said(bench)} == {HOURS_AGO, odd}
    assert PolledTweet.objects.get(tweet_id=hidden).gone_at is None
    assert any("does not tell the counts of 1 " in note for note in notes(bench))


def test_it_obeys_429_until_the_reset_by_xs_clock(x: X, bench: Bench) -> None:
    x.add(XTweet(HOURS_AGO, COUNTS))
    x.ahead = timedelta(hours=-2)
    x.limit("tweets", 15, remaining=0, seconds=600)
    with pytest.raises(LimitedError) as limited:
        run(bench)
    wait = limited.value.until - datetime.now(UTC)
    assert timedelta(seconds=590) < wait < timedelta(seconds=605)
    before = len(x.requests)
    due_at = run(bench)
    assert due_at is not None
    assert LOOKUP not in [path for path, _ in x.requests[before:]]


def test_it_obeys_a_daily_limit(x: X, bench: Bench) -> None:
    reset = str(int(NOW.timestamp()) + 40_000)
    headers = {"x-user-limit-24hour-remaining": "0", "x-user-limit-24hour-reset": reset, "x-rate-limit-reset": "1"}
    x.faults.append(Fault(429, problem(429, "about:blank", "Too Many Requests"), headers))
    with pytest.raises(LimitedError) as limited:
        run(bench)
    assert limited.value.until > NOW + timedelta(seconds=39_000)


def test_it_waits_long_when_the_plan_is_used_up(x: X, bench: Bench) -> None:
    x.faults.append(Fault(429, problem(429, "usage-capped", "Usage cap exceeded: Monthly product cap")))
    with pytest.raises(LimitedError, match="plan") as limited:
        run(bench)
    assert limited.value.until > NOW + timedelta(hours=5)


def test_it_never_calls_more_often_than_x_allows(x: X, bench: Bench) -> None:
    x.add(*(XTweet(aged(timedelta(days=40), place), COUNTS) for place in range(450)))
    x.limit("tweets", 2)
    due_at = run(bench)
    for _ in range(3):
        run(bench)
    assert len(x.asked(LOOKUP)) == 2
    assert due_at is not None and due_at < NOW + timedelta(minutes=16)
    assert "X allows 2 calls in 15 minutes" in XApi().outlook(Source.objects.get())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(503), "the error 503"),
        (Fault(0), "cannot be reached"),
        (Fault(200, b"<html>Over capacity</html>"), "not JSON"),
        (Fault(200, b"[1]"), "not JSON"),
        (Fault(200, b"\xff\xfe"), "not JSON"),
        (Fault(302, headers={"Location": "https://elsewhere.example/"}), "redirect"),
        (Fault(402), "paid"),
        (Fault(400, problem(400, "invalid-request", "One field is wrong.")), "One field is wrong."),
    ],
    ids=lambda value: str(getattr(value, "status", "")),
)
def test_it_says_what_fails_and_is_tried_again(x: X, bench: Bench, fault: Fault, reason: str) -> None:
    x.add(XTweet(HOURS_AGO, COUNTS))
    x.faults += [fault, fault]
    with pytest.raises(SourceError, match=reason) as failed:
        run(bench)
    assert not isinstance(failed.value, DisconnectedError | LimitedError)
    x.faults.clear()
    run(bench)
    assert said(bench)[HOURS_AGO, False]["impressions"] == 100


def test_it_gets_past_one_failure_by_itself(x: X, bench: Bench) -> None:
    x.add(XTweet(HOURS_AGO, COUNTS))
    x.faults += [Fault(500, path=TIMELINE), Fault(0, path=LOOKUP)]
    run(bench)
    assert said(bench)[HOURS_AGO, False]["impressions"] == 100


def test_it_says_so_when_x_takes_too_long(x: X, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TIMEOUT", 0.2)
    x.faults += [Fault(200, seconds=0.5), Fault(200, seconds=0.5)]
    with pytest.raises(SourceError, match="too long"):
        run(bench)


@pytest.mark.parametrize("path", [TIMELINE, LOOKUP])
def test_it_is_disconnected_where_x_forbids_it(x: X, bench: Bench, path: str) -> None:
    x.add(XTweet(HOURS_AGO, COUNTS))
    x.faults.append(Fault(403, problem(403, "about:blank", "Your account is suspended."), path=path))
    with pytest.raises(DisconnectedError, match="suspended"):
        run(bench)


def test_it_is_disconnected_when_x_does_not_show_the_account(x: X, bench: Bench) -> None:
    detail = {"type": f"{x_server.PROBLEMS}/resource-not-found", "detail": "Could not find user with id: [2244994945]."}
    x.faults.append(Fault(200, {"errors": [detail]}, path=TIMELINE))
    with pytest.raises(DisconnectedError, match="Could not find user"):
        run(bench)


def test_it_renews_a_refused_token_once(x: X, bench: Bench) -> None:
    x.add(XTweet(HOURS_AGO, COUNTS))
    x.oauth.grants[0].access_token = "another by now"
    run(bench)
    assert said(bench)[HOURS_AGO, False]["impressions"] == 100
    assert x.oauth.requests["/2/oauth2/token"] == 1


def test_it_is_disconnected_when_its_access_is_withdrawn(x: X, bench: Bench) -> None:
    x.oauth.withdraw()
    with pytest.raises(DisconnectedError, match="connect again"):
        run(bench)
    assert Source.objects.get().state == SourceState.DISCONNECTED


def test_it_is_disconnected_when_a_new_token_is_refused_too(x: X, bench: Bench) -> None:
    x.faults += [Fault(401), Fault(401)]
    with pytest.raises(DisconnectedError, match="Connect it again"):
        run(bench)
    assert x.oauth.requests["/2/oauth2/token"] == 1


def test_it_ends_the_access_when_the_source_is_removed(x: X, bench: Bench) -> None:
    XApi().forget(bench.source)
    assert x.oauth.grants == []


def test_it_counts_as_of_a_time_before_the_counting(x: X, bench: Bench) -> None:
    x.add(XTweet(HOURS_AGO, COUNTS))
    for ahead in (timedelta(minutes=-3), timedelta(minutes=3)):
        x.ahead = ahead
        bench.deliveries.clear()
        make_due(bench)
        began = datetime.now(UTC)
        run(bench)
        last = began + min(ahead, timedelta())
        found = [one.as_of for delivery in bench.deliveries for one in delivery.snapshots if one.promoted is False]
        assert found
        assert all(last - timedelta(seconds=5) <= as_of <= last + timedelta(seconds=5) for as_of in found)
    assert sum("clock" in note for note in notes(bench)) == 1


def test_it_lets_the_newer_of_two_pollers_go_on(x: X, bench: Bench) -> None:
    older = Ledger(bench.source.pk)
    newer = Ledger(bench.source.pk)
    with pytest.raises(SupersededError):
        older.spend(Endpoint.TWEETS, NOW)
    newer.spend(Endpoint.TWEETS, NOW)
    assert newer.allowance(Endpoint.TWEETS, NOW).remaining == 14


def test_it_makes_room_for_newer_tweets(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MOST_TWEETS", 3)
    Ledger(bench.source.pk).found((aged(timedelta(days=day)), None) for day in range(5))
    kept = PolledTweet.objects.order_by("-tweet_id").values_list("tweet_id", flat=True)
    assert list(kept) == [aged(timedelta(days=day)) for day in range(3)]


def test_it_tells_whose_connection_it_is(x: X, bench: Bench) -> None:
    assert "@northwind" in async_to_sync(XApi().test)(bench.source)
    bench.source.settings["user_id"] = "1"
    with pytest.raises(SourceError, match="another account"):
        async_to_sync(XApi().test)(bench.source)
