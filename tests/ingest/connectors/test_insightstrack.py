"""A stream in the vendor's shape: what it says is taken once, whatever breaks, and people are told what does."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from metrics import stream
from metrics.ingest.connectors import insightstrack
from metrics.models import Audience, Outage, ReportedReach, Source, SourceState, Tweet
from metrics.query.audience import Basis, Member, Reach, reached, span
from metrics.vocabulary.snapshots import Part
from tests.ingest.connectors.taking import becomes, ignores, taken, takes
from tests.ingest.connectors.upstream import NOW, TWEET, Upstream, a_revoke, a_summary, a_tweet, in_parts
from tests.ingest.scripted import Worked
from tests.stack import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quiet_redis() -> Iterator[None]:
    stream.client().flushdb()
    yield
    stream.client().flushdb()


@pytest.fixture
def source(streamed: Source) -> Source:
    """A stream of all Tweets of @northwind."""
    return streamed


def test_it_takes_a_vendors_summary_as_both_parts_together(source: Source, upstream: Upstream) -> None:
    with Worked(source):
        upstream.is_read()
        upstream.say(a_summary(favorites=9, unfavorites=2, detail_clicks=4, video_viewed_25=None, new_type=1))
        [one] = takes(source, 1)
        becomes(source, SourceState.LIVE)
    as_of = one.pop("as_of")
    assert NOW <= as_of < NOW + timedelta(seconds=1)
    said = {"impressions": 10, "favorites": 7, "unfavorites": 2, "detail_expands": 4}
    assert one == {"tweet": TWEET, "part": Part.BOTH, **said}
    assert upstream.requests[0].headers["authorization"] == "Bearer a-secret-token"


def test_it_takes_both_parts_where_they_are_told_apart(source: Source, upstream: Upstream) -> None:
    with Worked(source):
        upstream.is_read()
        upstream.say(a_summary(favorites=in_parts(7, 3), unfavorites=in_parts(2, 1), url_clicks=5, replies=8))
        organic, promoted, both = takes(source, 3)
    said = {"impressions": 10, "favorites": 5, "unfavorites": 2, "url_clicks": 5}
    assert (organic["part"], {name: organic[name] for name in said}) == (Part.ORGANIC, said)
    assert (promoted["part"], promoted["favorites"], promoted["unfavorites"]) == (Part.PROMOTED, 2, 1)
    assert (both["part"], both["replies"]) == (Part.BOTH, 8)
    assert "url_clicks" not in promoted | both


def test_it_tells_the_sum_alone_where_a_part_had_more_taken_back_than_given(source: Source, upstream: Upstream) -> None:
    with Worked(source):
        upstream.is_read()
        upstream.say(a_summary(retweets=in_parts(1, 5), unretweets=3, favorites=in_parts(4, 2)))
        organic, promoted, both = takes(source, 3)
    assert (organic["favorites"], promoted["favorites"]) == (4, 2)
    assert (both["part"], both["retweets"], both["unretweets"]) == (Part.BOTH, 3, 3)
    assert not {"retweets", "unretweets"} & {*organic, *promoted}


def with_people(summary: dict[str, Any], seen: object, engaged: object = None) -> dict[str, Any]:
    metrics = summary["summary_event"]["metrics"]
    metrics["impressions"]["unique"] = {"count": seen}
    metrics["engagements"]["overall"] = {"total": {"count": 9}} | ({"unique": {"count": engaged}} if engaged else {})
    return summary


def reports(source: Source) -> dict[tuple[int, Audience], int]:
    rows = ReportedReach.objects.filter(source_id=source.pk, handle=source.handle)
    return {(row.tweet_id, Audience(row.audience)): row.people for row in rows}


def test_it_keeps_how_many_people_are_reported(source: Source, upstream: Upstream) -> None:
    with Worked(source):
        upstream.is_read()
        upstream.say(with_people(a_summary(favorites=9), 7, 2))
        eventually(lambda: reports(source) == {(TWEET, Audience.SEEN): 7, (TWEET, Audience.ENGAGED): 2}, 10, "kept")
        # People are known later than counts: the same counts again, and what is older.
        upstream.say(with_people(a_summary(favorites=9), 8))
        upstream.say(with_people(a_summary(NOW - timedelta(minutes=1), favorites=4), 5))
        eventually(lambda: reports(source) == {(TWEET, Audience.SEEN): 8, (TWEET, Audience.ENGAGED): 2}, 10, "renewed")
        upstream.say(with_people(a_summary(NOW + timedelta(days=400), favorites=9), 99), a_summary(tweet_id=2**63))
        upstream.say(with_people(a_summary(NOW + timedelta(seconds=1), favorites=9), "many", True))
        upstream.say(with_people(a_summary(NOW + timedelta(seconds=2), favorites=9), 6, 3))
        eventually(lambda: reports(source) == {(TWEET, Audience.SEEN): 6, (TWEET, Audience.ENGAGED): 3}, 10, "less")
    found = reached([[Member(source.handle_id, TWEET)]], span(None, timezone.now()))[0]
    assert (found.seen, found.engaged) == (Reach(Basis.REPORTED, 6, 6, 6), Reach(Basis.REPORTED, 3, 3, 3))


def test_it_keeps_reports_of_its_own_tweets_alone(source: Source, upstream: Upstream) -> None:
    source.settings["tweets"] = "own"
    source.save()
    with Worked(source):
        upstream.is_read()
        upstream.say(with_people(a_summary(), 7), with_people(a_summary(tweet_id=TWEET + 1), 8))
        ignores(source, summary_of_an_unknown_Tweet=2)
        assert reports(source) == {}
        upstream.say(a_tweet("northwind"), a_tweet("acme", TWEET + 1))
        eventually(lambda: reports(source) == {(TWEET, Audience.SEEN): 7}, 10, "the Tweet's people are kept")


def test_it_reads_lines_that_are_split_anywhere(source: Source, upstream: Upstream) -> None:
    other = TWEET + 1
    lines = b"".join(json.dumps(a_summary(tweet_id=number)).encode() + b"\r\n\r\n" for number in (TWEET, other))
    with Worked(source):
        upstream.is_read()
        for place in range(len(lines)):
            upstream.write(lines[place : place + 1])
        assert {one["tweet"] for one in takes(source, 2)} == {TWEET, other}


def test_it_takes_half_a_line_only_when_it_comes_whole(source: Source, upstream: Upstream) -> None:
    line = json.dumps(a_summary(favorites=4)).encode() + b"\r\n"
    with Worked(source):
        upstream.is_read()
        upstream.write(line[:-30])
        upstream.cut()
        upstream.is_read(2)
        upstream.write(line)
        assert takes(source, 1)[0]["favorites"] == 4
    assert source.days.get().ignored == {}


def test_it_asks_again_for_what_it_missed(source: Source, upstream: Upstream) -> None:
    with Worked(source):
        upstream.is_read()
        becomes(source, SourceState.LIVE)
        upstream.cut()
        upstream.is_read(2)
        becomes(source, SourceState.LIVE)
        upstream.end()
        upstream.is_read(3)
    assert [request.query["backfillMinutes"] for request in upstream.requests] == [["5"], ["2"], ["2"]]
    reasons = list(Outage.objects.filter(source=source).order_by("since").values_list("reason", flat=True))
    assert reasons == ["The connection to 127.0.0.1 broke.", "The other side ended the stream."]


@pytest.mark.parametrize(("minutes", "asked"), [(1.5, "3"), (3, "5"), (40, "5")])
def test_it_asks_for_as_many_minutes_as_it_was_away(
    source: Source, upstream: Upstream, minutes: float, asked: str
) -> None:
    Source.objects.update(last_heard_at=datetime.now(UTC) - timedelta(minutes=minutes))
    with Worked(source):
        upstream.is_read()
        becomes(source, SourceState.LIVE)
    assert upstream.requests[0].query["backfillMinutes"] == [asked]
    assert source.notes.filter(text__contains="tells again only five").exists() == (minutes > 5)


def test_it_takes_a_repeat_once(source: Source, upstream: Upstream) -> None:
    minute_ago = a_summary(NOW - timedelta(minutes=1), impressions=6, favorites=1)
    with Worked(source):
        upstream.is_read()
        upstream.say(a_summary(favorites=2))
        takes(source, 1)
        upstream.cut()
        upstream.is_read(2)
        upstream.say(minute_ago, a_summary(favorites=2))
        upstream.say(a_summary(NOW + timedelta(seconds=2), favorites=3))
        assert [one["favorites"] for one in takes(source, 2)] == [2, 3]


def test_it_takes_what_grew_within_a_second_as_later(source: Source, upstream: Upstream) -> None:
    with Worked(source):
        upstream.is_read()
        upstream.say(a_summary(favorites=2))
        takes(source, 1)
        upstream.say(a_summary(favorites=5))
        takes(source, 2)
        upstream.say(a_summary(favorites=4))  # as it stood earlier in that second
        upstream.say(a_summary(NOW + timedelta(seconds=1), favorites=5))
        first, second, third = takes(source, 3)
    assert [first["favorites"], second["favorites"], third["favorites"]] == [2, 5, 5]
    assert first["as_of"] < second["as_of"] < NOW + timedelta(seconds=1) <= third["as_of"]


def test_it_takes_again_what_a_broken_shift_did_not_store(source: Source, upstream: Upstream, settings: Any) -> None:
    settings.BACKLOG_LIMIT = -1
    with Worked(source):
        upstream.is_read()
        upstream.say(a_summary(favorites=2))
    assert taken(source) == []
    settings.BACKLOG_LIMIT = 10
    with Worked(source):
        upstream.is_read(2)
        upstream.say(a_summary(favorites=2))
        assert takes(source, 1)[0]["favorites"] == 2


def test_it_connects_again_after_a_silence(source: Source, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insightstrack, "SILENCE_SECONDS", 1.0)
    with Worked(source):
        upstream.is_read(2)
    assert Outage.objects.filter(source=source).earliest("since").reason == "Nothing was heard for 1 seconds."


def test_it_stays_while_keep_alives_come(source: Source, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insightstrack, "SILENCE_SECONDS", 1.0)
    said: list[None] = []

    def three_seconds() -> bool:
        upstream.write(b"\r\n")
        said.append(None)
        return len(said) > 30

    with Worked(source):
        upstream.is_read()
        eventually(three_seconds, 10, "thirty keep-alives are sent")
    assert len(upstream.requests) == 1
    assert not Outage.objects.filter(source=source).exists()


def test_it_passes_over_what_it_does_not_know(source: Source, upstream: Upstream) -> None:
    with Worked(source):
        upstream.is_read()
        upstream.say({"delete": {"status": {"id": 1}}}, {"delete": {}}, {"warning": "slow"}, {}, {"user_event": {}})
        upstream.write(b"<html>\r\n[1]\r\n\xff\xfe\r\n" + b"[" * 5_000 + b"\r\n")
        upstream.say({"summary_event": {"target": {"id_str": "x"}}}, a_summary())
        takes(source, 1)
        kinds = {"no_JSON_object": 4, "delete": 2, "warning": 1, "empty": 1}
        eventually(lambda: source.days.get().ignored.get("summary_event") == 1, 5, "all is heard")
    counted = source.days.get().ignored
    assert counted == {name.replace("_", " "): n for name, n in kinds.items()} | {"user_event": 1, "summary_event": 1}


def test_it_keeps_a_tweet_of_its_handle(source: Source, upstream: Upstream) -> None:
    entities = {
        "hashtags": [{"text": "coffee"}],
        "urls": [{"expanded_url": "https://northwind.example/beans"}],
        "media": [{"type": "photo"}],
    }
    extended = {"media": [{"type": "animated_gif"}]}
    with Worked(source):
        upstream.is_read()
        upstream.say(a_tweet("NorthWind", entities=entities, extended_entities=extended))
        upstream.say(a_tweet("acme", TWEET + 1))
        ignores(source, tweet_of_another_handle=1)
    kept = Tweet.objects.get()
    assert (kept.tweet_id, kept.text, kept.media, kept.tags) == (TWEET, "Fresh beans.", "gif", ["coffee"])
    assert kept.link == "https://northwind.example/beans"
    assert not kept.is_stub


def test_it_keeps_what_it_knows_of_a_tweet_that_is_told_without_text(source: Source, upstream: Upstream) -> None:
    Tweet.objects.create(handle=source.handle, tweet_id=TWEET, created_at=NOW, text="Fresh beans.")
    with Worked(source):
        upstream.is_read()
        upstream.say(a_tweet() | {"text": ""}, a_summary())
        takes(source, 1)
    assert Tweet.objects.get().text == "Fresh beans."


def test_it_keeps_the_whole_text_of_a_long_tweet(source: Source, upstream: Upstream) -> None:
    with Worked(source):
        upstream.is_read()
        upstream.say(a_tweet(extended_tweet={"full_text": "All of it.", "entities": {"hashtags": [{"text": "all"}]}}))
        eventually(Tweet.objects.exists, 5, "the Tweet is kept")
    kept = Tweet.objects.get()
    assert (kept.text, kept.tags) == ("All of it.", ["all"])


def test_it_is_disconnected_when_access_is_revoked(source: Source, upstream: Upstream) -> None:
    with Worked(source) as worked:
        upstream.is_read()
        upstream.say(a_summary(favorites=4), a_revoke("77"))
        eventually(lambda: worked.is_over, 10, "the shift ends by itself")
    source.refresh_from_db()
    assert source.state == SourceState.DISCONNECTED
    assert source.reason == "@northwind has revoked access (2018-05-24T09:48:12+00:00)."
    assert taken(source)[0]["favorites"] == 4


@pytest.mark.parametrize(("status", "says"), [(401, "does not accept the token"), (403, "may not read this stream")])
def test_it_is_disconnected_when_its_token_is_refused(
    source: Source, upstream: Upstream, status: int, says: str
) -> None:
    upstream.refusals.append((status, {}))
    with Worked(source) as worked:
        eventually(lambda: worked.is_over, 10, "the shift ends by itself")
    source.refresh_from_db()
    assert source.state == SourceState.DISCONNECTED
    assert says in source.reason
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("status", "headers", "says"),
    [
        (404, {}, "There is no stream at this address (404)."),
        (301, {"Location": "https://elsewhere.example/"}, "The stream has moved (301); give its new address."),
        (400, {}, "The server answered 400."),
        (503, {"Retry-After": "2"}, "The server answered 503."),
    ],
)
def test_it_tries_again_when_the_server_fails(
    source: Source, upstream: Upstream, status: int, headers: dict[str, str], says: str
) -> None:
    upstream.refusals.append((status, headers))
    with Worked(source):
        upstream.is_read(2)
        becomes(source, SourceState.LIVE)
    assert Outage.objects.get(source=source).reason == says


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("120", 120), ("", 60), ("soon", 60), ("0", 1), ("99999999999", 900), ("Wed, 25 Nov 2015 20:00:00 GMT", 1)],
)
def test_it_waits_as_long_as_the_server_asks(source: Source, upstream: Upstream, told: str, seconds: int) -> None:
    upstream.refusals.append((429, {"Retry-After": told} if told else {}))
    with Worked(source) as worked:
        eventually(lambda: worked.is_over, 10, "the shift ends by itself")
    source.refresh_from_db()
    assert source.state == SourceState.LIMITED
    assert source.due_at is not None
    assert abs((source.due_at - datetime.now(UTC)).total_seconds() - seconds) < 3


def test_it_says_so_when_nobody_answers(source: Source, upstream: Upstream) -> None:
    with Upstream() as gone:
        source.settings["url"] = gone.url
        source.save()
    with Worked(source):
        becomes(source, SourceState.FAILING)
    source.refresh_from_db()
    assert source.reason.startswith("127.0.0.1 cannot be reached: ")
