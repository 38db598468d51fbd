"""Polling X when something is wrong: limits, refusals, failures, clocks, and what is missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import async_to_sync

from accounts.models import Handle
from metrics.ingest.connectors import DisconnectedError, LimitedError, SourceError
from metrics.ingest.connectors.x_api import XApi
from metrics.ingest.connectors.x_polling import client, ledger
from metrics.ingest.connectors.x_polling.ledger import Ledger
from metrics.models import PolledTweet, Source, SourceState, Tweet
from tests import x_server
from tests.ingest.bench import Bench
from tests.ingest.connectors.polled import (
    ANALYTICS,
    COUNTS,
    HOURS_AGO,
    LOOKUP,
    NOW,
    TIMELINE,
    aged,
    make_due,
    notes,
    run,
    said,
)
from tests.x_server import Fault, X, XTweet, problem

pytestmark = pytest.mark.django_db


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
    assert due_at is not None and due_at < datetime.now(UTC) + timedelta(minutes=16)
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


def test_it_vouches_for_its_handle_only_while_it_can_be_read(x: X, bench: Bench) -> None:
    assert Handle.objects.get().authenticated_at is not None
    x.faults.append(Fault(403, problem(403, "about:blank", "Your account is suspended."), path=TIMELINE))
    with pytest.raises(DisconnectedError):
        run(bench)
    assert Handle.objects.get().authenticated_at is None


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


def test_it_does_not_believe_a_date_that_is_days_off(x: X, bench: Bench) -> None:
    x.add(XTweet(HOURS_AGO, COUNTS))
    x.ahead = timedelta(days=-20)
    began = datetime.now(UTC)
    run(bench)
    instants = [one.as_of for delivery in bench.deliveries for one in delivery.snapshots]
    assert instants and all(began <= instant for instant in instants)


def test_it_asks_for_analytics_up_to_an_hour_that_is_over_for_x_too(x: X, bench: Bench) -> None:
    x.add(XTweet(HOURS_AGO, COUNTS, analytics={"follows": 2}))
    x.ahead = timedelta(hours=-1)
    run(bench)
    assert said(bench)[HOURS_AGO, None]["user_follows"] == 2


def test_it_asks_again_in_an_hour_where_one_question_was_wrong(x: X, bench: Bench) -> None:
    x.add(XTweet(HOURS_AGO, COUNTS))
    x.faults.append(Fault(400, problem(400, "invalid-request", "One of the ids is too old."), path=ANALYTICS))
    run(bench)
    assert any("in an hour" in note and "too old" in note for note in notes(bench))


def test_it_is_not_held_up_by_a_clock_that_was_set_back(x: X, bench: Bench) -> None:
    x.add(XTweet(HOURS_AGO, COUNTS))
    run(bench)
    PolledTweet.objects.update(counted_at=NOW + timedelta(days=400))
    due_at = run(bench)
    assert due_at is not None and due_at < datetime.now(UTC) + timedelta(minutes=10)


def test_it_passes_over_what_is_no_tweet(x: X, bench: Bench) -> None:
    odd = [{"id": "x"}, {"id": str(2**63)}, {"id": None}, 5, {}, {"id": str(HOURS_AGO), "text": None, "entities": []}]
    x.faults.append(Fault(200, {"data": odd, "includes": [], "meta": []}, path=TIMELINE))
    run(bench)
    assert [tweet.tweet_id for tweet in Tweet.objects.all()] == [HOURS_AGO]


def test_it_notes_what_our_own_border_refuses(x: X, bench: Bench) -> None:
    tweet = {"id": str(HOURS_AGO), "created_at": "2999-01-01T00:00:00.000Z"}
    x.faults.append(Fault(200, {"data": [tweet]}, path=TIMELINE))
    run(bench)
    assert any("in the future" in note for note in notes(bench))
