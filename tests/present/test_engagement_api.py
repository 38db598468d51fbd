"""The Engagement API, a line for each rule of the vendor's contract."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import LazySettings
from django.core.cache import cache
from django.test import Client

from accounts.credentials import issue_token
from accounts.models import ApiToken, Handle, Scope
from metrics.models import Tweet
from metrics.query import engagement
from metrics.query.engagement import Surface
from metrics.vocabulary.engagements import NAMES
from metrics.vocabulary.events import MAX_TWEET_ID, snowflake_at
from tests.ledger import Event, a_tweet, record
from tests.present.engagement_rules import ALL, FOUR, REFUSED, WINDOWS, body_for

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

    from accounts.models import User

pytestmark = pytest.mark.django_db
AT = datetime(2016, 2, 10, 17, 5, tzinfo=UTC)
WINDOW = {"start": "2016-02-10T17:10:00Z", "end": "2016-02-10T20:01:00Z"}


@pytest.fixture(autouse=True)
def fresh_minute() -> Iterator[None]:
    """Each test begins with its tokens' whole quota."""
    cache.clear()
    yield
    cache.clear()


def token_of(handle: Handle, person: User | None = None) -> str:
    return issue_token(handle.team, "reads", [Scope.READ], [handle], created_by=person)[1]


def ask(secret: str | None, surface: str, body: object, **headers: str) -> Response:
    if secret is not None:
        headers["Authorization"] = f"Bearer {secret}"
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Client().post(f"/insights/engagement/{surface}", text, "application/json", headers=headers)


# --- the window ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "given", "since", "until"), WINDOWS, ids=[row[0] for row in WINDOWS])
def test_it_cuts_the_window_at_hours(rule: str, given: dict[str, Any], since: str, until: str) -> None:
    now = datetime(2016, 2, 29, 21, 20, tzinfo=UTC)
    question = engagement.parse(Surface.HISTORICAL, body_for("20", **given), now)
    assert question.period is not None
    assert (f"{question.period.since:%dT%H}", f"{question.period.until:%dT%H}") == (since, until), rule
    assert {question.period.since.minute, question.period.until.minute} == {0}


@pytest.mark.parametrize(("minute", "buckets"), [(20, 29), (0, 28), (59, 29)])
def test_it_goes_back_28_hours(minute: int, buckets: int) -> None:
    now = datetime(2016, 2, 29, 21, minute, tzinfo=UTC)
    period = engagement.parse(Surface.RECENT, body_for("20"), now).period
    assert period is not None
    assert (period.since, period.length) == (datetime(2016, 2, 28, 17, tzinfo=UTC), timedelta(hours=buckets))


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "surfaces", "body", "error"), REFUSED, ids=[row[0] for row in REFUSED])
def test_it_refuses(read_token: str, rule: str, surfaces: tuple[str, ...], body: object, error: str) -> None:
    for surface in surfaces:
        response = ask(read_token, surface, body)
        assert response.status_code == 400, rule
        assert list(response.json()) == ["errors"]
        assert [each[: len(error)] for each in response.json()["errors"]] == [error]


# --- what is answered ---------------------------------------------------------------------------------------------

ONE, TWO = snowflake_at(AT - timedelta(hours=2), 1), snowflake_at(AT - timedelta(days=300), 2)
EVENTS = [
    Event(ONE, AT, "impressions", 551),
    Event(ONE, AT + timedelta(hours=1), "impressions", 418),
    Event(ONE, AT + timedelta(hours=1), "favorites", 3),
    Event(ONE, AT + timedelta(hours=1), "favorites", 2, promoted=True),
    Event(ONE, AT + timedelta(hours=2), "unfavorites", 1),
    Event(ONE, AT + timedelta(hours=2), "video_views", 9),
    Event(ONE, AT + timedelta(hours=2), "media_clicks", 4),
    Event(TWO, AT + timedelta(hours=3), "impressions", 280),
    Event(TWO, AT + timedelta(hours=9), "impressions", 1),  # on the next day
]
A, B = str(ONE), str(TWO)
DAY, NEXT = "2016-02-10", "2016-02-11"
BOTH = {"tweet_ids": [A, B], **WINDOW}
HOURS_1 = {"17": "551", "18": "418", "19": "0", "20": "0"}
HOURS_2 = {"17": "0", "18": "0", "19": "0", "20": "280"}
HOURS = {"17": "551", "18": "418", "19": "0", "20": "280"}
LIKES = {"17": "0", "18": "5", "19": "0", "20": "0"}
TWO_TYPES = ["impressions", "favorites"]
ANSWERED: list[tuple[str, dict[str, Any], list[str], object]] = [
    ("Tweet, type", BOTH, FOUR[:2], {A: {"impressions": "969"}, B: {"impressions": "280"}}),
    ("type, Tweet", BOTH, FOUR[1::-1], {"impressions": {A: "969", B: "280"}}),
    ("type alone", BOTH, FOUR[1:2], {"impressions": "1249"}),
    ("Tweet alone", BOTH, FOUR[:1], {A: "969", B: "280"}),
    ("Tweet alone adds types up", BOTH | {"engagement_types": TWO_TYPES}, FOUR[:1], {A: "974", B: "280"}),
    ("day alone", BOTH, FOUR[2:3], {DAY: "1249"}),
    ("hour alone stands below its date", BOTH, FOUR[3:], {DAY: HOURS}),
    ("Tweet, type, hour", BOTH, [*FOUR[:2], FOUR[3]],
     {A: {"impressions": {DAY: HOURS_1}}, B: {"impressions": {DAY: HOURS_2}}}),
    ("Tweet, type, day", BOTH, FOUR[:3], {A: {"impressions": {DAY: "969"}}, B: {"impressions": {DAY: "280"}}}),
    ("all four", BOTH, FOUR, {A: {"impressions": {DAY: HOURS_1}}, B: {"impressions": {DAY: HOURS_2}}}),
    ("all four, type first", BOTH, [FOUR[1], FOUR[0], *FOUR[2:]],
     {"impressions": {A: {DAY: HOURS_1}, B: {DAY: HOURS_2}}}),
    ("day, hour", BOTH, FOUR[2:], {DAY: HOURS}),
    ("hour, day", BOTH, FOUR[:1:-1], {hour: {DAY: count} for hour, count in HOURS.items()}),
    ("hour, Tweet", BOTH, [FOUR[3], FOUR[0]],
     {DAY: {hour: {A: HOURS_1[hour], B: HOURS_2[hour]} for hour in HOURS}}),
    ("day, type, hour", BOTH | {"engagement_types": TWO_TYPES}, [FOUR[2], FOUR[1], FOUR[3]],
     {DAY: {"impressions": HOURS, "favorites": LIKES}}),
    ("any case", BOTH | {"engagement_types": ["Impressions"]}, ["Tweet.id", "ENGAGEMENT.TYPE"],
     {A: {"impressions": "969"}, B: {"impressions": "280"}}),
    ("ids as numbers", BOTH | {"tweet_ids": [ONE]}, FOUR[:1], {A: "969"}),
    ("ids as lines of a file", BOTH | {"tweet_ids": [f"{ONE}\n"]}, FOUR[:1], {A: "969"}),
    ("an id twice", BOTH | {"tweet_ids": [A, ONE, A]}, FOUR[:1], {A: "969"}),
    ("a type twice", BOTH | {"engagement_types": ["impressions"] * 2}, FOUR[1:2], {"impressions": "1249"}),
    ("over midnight", BOTH | {"start": "2016-02-10T22:00", "end": "2016-02-11T03:00"}, FOUR[3:],
     {DAY: {"22": "0", "23": "0"}, NEXT: {"00": "0", "01": "0", "02": "1"}}),
    ("days over midnight", BOTH | {"start": DAY, "end": "2016-02-12"}, FOUR[2:3], {DAY: "1249", NEXT: "1"}),
    ("hour, day over midnight", BOTH | {"start": "2016-02-10T23:00", "end": "2016-02-11T01:00"}, FOUR[:1:-1],
     {"23": {DAY: "0"}, "00": {NEXT: "0"}}),
    ("an end is not counted", BOTH | {"end": "2016-02-10T18:00"}, FOUR[1:2], {"impressions": "551"}),
    ("organic and promoted together", BOTH | {"engagement_types": ["favorites"]}, FOUR[1:2], {"favorites": "5"}),
    ("engagements leave out views and undos", BOTH | {"engagement_types": ["engagements"]}, FOUR[1:2],
     {"engagements": "9"}),
    ("media by what we hold", BOTH | {"engagement_types": ["media_views", "media_engagements"]}, FOUR[1:2],
     {"media_views": "9", "media_engagements": "4"}),
    ("all 26 types", BOTH | {"engagement_types": list(NAMES)}, FOUR[1:2],
     {**dict.fromkeys(NAMES, "0"), "impressions": "1249", "favorites": "5", "unfavorites": "1", "video_views": "9",
      "media_clicks": "4"}),
]  # fmt: skip


@pytest.fixture
def counted(northwind: Handle) -> Handle:
    for tweet_id in (ONE, TWO):
        Tweet.objects.create(handle=northwind, tweet_id=tweet_id, created_at=AT - timedelta(days=300))
    record(northwind, EVENTS)
    return northwind


@pytest.mark.parametrize(("rule", "given", "group_by", "expected"), ANSWERED, ids=[row[0] for row in ANSWERED])
def test_it_nests_counts_as_text(
    read_token: str, counted: Handle, rule: str, given: dict[str, Any], group_by: list[str], expected: object
) -> None:
    body = {"engagement_types": ["impressions"], "groupings": {"my %s name": {"group_by": group_by}}, **given}
    response = ask(read_token, "historical", body)
    assert response.status_code == 200, response.content
    answer = response.json()
    assert list(answer) == ["start", "end", "my %s name"]
    assert json.dumps(answer["my %s name"]) == json.dumps(expected), rule  # the order counts too


def test_it_tells_the_window_that_it_used(read_token: str, counted: Handle) -> None:
    answer = ask(read_token, "historical", body_for(A, **WINDOW)).json()
    assert (answer["start"], answer["end"]) == ("2016-02-10T17:00:00Z", "2016-02-10T21:00:00Z")
    recent = ask(read_token, "28hr", body_for(A, **WINDOW)).json()
    length = datetime.fromisoformat(recent["end"]) - datetime.fromisoformat(recent["start"])
    assert length in {timedelta(hours=28), timedelta(hours=29)}
    assert recent["g"] == {A: {"impressions": "0"}}
    assert list(ask(read_token, "totals", body_for(A, engagement_types=["favorites"])).json()) == ["g"]


def test_it_answers_three_groupings_at_once(read_token: str, counted: Handle) -> None:
    groupings = {"ü": {"group_by": FOUR}, "day": {"group_by": FOUR[2:3]}, "": {"group_by": FOUR[1:2]}}
    answer = ask(read_token, "historical", body_for(A, **WINDOW, groupings=groupings)).json()
    assert answer["ü"] == {A: {"impressions": {DAY: HOURS_1}}}
    assert (answer["day"], answer[""]) == ({DAY: "969"}, {"impressions": "969"})


def test_it_takes_as_many_tweets_as_documented(read_token: str, northwind: Handle) -> None:
    for surface, most in (("totals", 250), ("28hr", 25), ("historical", 25)):
        answer = ask(read_token, surface, body_for(*range(1, most + 1))).json()
        assert answer["errors"] == [f"{most} Tweet ID(s) are unavailable"]


# --- lifetimes ----------------------------------------------------------------------------------------------------

LIFETIME = ["impressions", "engagements", "favorites", "retweets", "quote_tweets", "replies", "video_views"]


def test_it_leaves_out_lifetimes_of_old_tweets(read_token: str, northwind: Handle) -> None:
    now = datetime.now(UTC)
    ages = {"new": 89, "old": 91, "ancient": 1801}
    ids = {name: a_tweet(northwind, now - timedelta(days=days)).tweet_id for name, days in ages.items()}
    record(northwind, [Event(tweet_id, now, name) for tweet_id in ids.values() for name in LIFETIME if name in NAMES])
    groupings = {"g": {"group_by": FOUR[:2]}, "types": {"group_by": FOUR[1:2]}}
    body = body_for(*ids.values(), engagement_types=LIFETIME, groupings=groupings)
    answer = ask(read_token, "totals", body).json()
    old, ancient = str(ids["old"]), str(ids["ancient"])
    assert answer["unsupported_for_impressions_engagements_tweet_ids"] == [old, ancient]
    assert answer["unsupported_for_video_views_tweet_ids"] == [ancient]
    assert list(answer["g"][str(ids["new"])]) == LIFETIME
    assert answer["g"][str(ids["new"])]["engagements"] == "4"
    assert list(answer["g"][old]) == LIFETIME[2:]
    assert list(answer["g"][ancient]) == LIFETIME[2:-1]
    assert [answer["types"][name] for name in ("impressions", "video_views", "favorites")] == ["1", "2", "3"]
    few = ask(read_token, "totals", body | {"engagement_types": ["favorites"]}).json()
    assert list(few) == ["g", "types"]
    none = ask(read_token, "totals", body_for(ids["old"])).json()
    assert none == {"unsupported_for_impressions_engagements_tweet_ids": [old], "g": {}}


# --- who may be told ----------------------------------------------------------------------------------------------


def test_it_tells_a_stranger_what_it_tells_of_no_tweet_at_all(
    alice: User, bob: User, charlie: User, counted: Handle, acme: Handle
) -> None:
    for surface in ALL:
        asked = body_for(A, engagement_types=["favorites"])
        known = [ask(token_of(counted, person), surface, asked) for person in (alice, bob)]
        assert [list(each.json()["g"]) for each in known] == [[A], [A]]
        foreign = ask(token_of(acme, charlie), surface, asked)
        assert foreign.status_code == 200
        assert foreign.json()["errors"] == ["1 Tweet ID(s) are unavailable"]
        assert foreign.json()["unavailable_tweet_ids"] == [A]
        assert foreign.json()["g"] == {}
        nowhere = ask(token_of(acme, charlie), surface, body_for(str(ONE + 1), engagement_types=["favorites"]))
        assert nowhere.content == foreign.content.replace(A.encode(), str(ONE + 1).encode())
        assert list(nowhere.json()) == list(foreign.json())


def test_it_answers_in_part(read_token: str, counted: Handle) -> None:
    tea = Handle.objects.create(team=counted.team, username="tea", display_name="Tea")
    first, second = (a_tweet(tea, AT, number=number).tweet_id for number in (5, 6))
    types = body_for(A, "20", first, MAX_TWEET_ID + 1, second, engagement_types=["favorites"])
    answer = ask(read_token, "totals", types).json()
    forbidden = f"Forbidden to access tweets for author id {tea.pk}: {first}, {second}"
    assert answer == {
        "errors": ["2 Tweet ID(s) are unavailable", forbidden],
        "unavailable_tweet_ids": ["20", str(MAX_TWEET_ID + 1)],
        "g": {A: {"favorites": "5"}},
    }
    only = ask(read_token, "totals", body_for(first, second))
    assert (only.status_code, only.json()) == (403, {"errors": [forbidden]})


def test_it_counts_a_tweet_that_two_handles_hold_for_the_one_that_knows_it(read_token: str, counted: Handle) -> None:
    tea = Handle.objects.create(team=counted.team, username="tea", display_name="Tea")
    ApiToken.objects.get().handles.add(tea)
    Tweet.objects.filter(tweet_id=ONE).update(is_stub=True)
    Tweet.objects.create(handle=tea, tweet_id=ONE, created_at=AT, text="Tea.")
    record(tea, [Event(ONE, AT, "favorites", 70)])
    assert ask(read_token, "totals", body_for(A, engagement_types=["favorites"])).json()["g"] == {
        A: {"favorites": "70"}
    }


@pytest.mark.parametrize("header", [None, "Bearer it_00000000_x", "Basic abc", "Bearer \x80", "OAuth oauth_token=x"])
def test_it_answers_no_stranger(northwind: Handle, header: str | None) -> None:
    headers = {"Authorization": header} if header else {}
    for surface in ALL:
        response = ask(None, surface, body_for("20"), **headers)
        assert response.status_code == 401
        assert list(response.json()) == ["errors"]
        assert response.json()["errors"][0].startswith("Your account could not be authenticated. Reason: ")
        assert response["WWW-Authenticate"]


def test_it_wants_a_token_that_reads(ingest_token: str, read_token: str, counted: Handle) -> None:
    assert ask(ingest_token, "totals", body_for(A)).status_code == 401
    ApiToken.objects.update(revoked_at=datetime.now(UTC))
    refused = ask(read_token, "totals", body_for(A))
    reason = "Your account could not be authenticated. Reason: Access token not found"
    assert (refused.status_code, refused.json()) == (401, {"errors": [reason]})


# --- the envelope -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_it_takes_only_posts(read_token: str, method: str) -> None:
    response = Client().generic(
        method, "/insights/engagement/totals", headers={"Authorization": f"Bearer {read_token}"}
    )
    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert response.json() == {"errors": ["Use POST."]}


def test_it_knows_three_endpoints(read_token: str) -> None:
    for name in ("total", "29hr", "totals/x", "Totals"):
        response = ask(read_token, name, body_for("20"))
        assert (response.status_code, list(response.json())) == (404, ["errors"])
    assert ask(read_token, "totals/", body_for("20")).status_code == 200


def test_it_zips_every_answer_that_is_asked_for(read_token: str, counted: Handle) -> None:
    for secret, surface, body, status in (
        (read_token, "totals", body_for(A, engagement_types=["favorites"]), 200),
        (read_token, "totals", b"{", 400),
        (None, "totals", body_for(A), 401),
        (read_token, "none", body_for(A), 404),
    ):
        plain = ask(secret, surface, body)
        zipped = ask(secret, surface, body, **{"Accept-Encoding": "deflate, GZIP;q=0.5"})
        assert plain.status_code == zipped.status_code == status
        assert "Content-Encoding" not in plain
        assert zipped["Content-Encoding"] == "gzip"
        assert gzip.decompress(zipped.content) == plain.content
        for response in (plain, zipped):
            assert response["Vary"] == "Accept-Encoding"
            assert response["Content-Type"] == "application/json"
            assert int(response["Content-Length"]) == len(response.content)
    assert "Content-Encoding" not in ask(read_token, "totals", b"{", **{"Accept-Encoding": "gzip;q=0, br"})


def test_it_limits_a_token_by_the_minute(read_token: str, counted: Handle, settings: LazySettings) -> None:
    settings.ENGAGEMENT_REQUESTS_PER_MINUTE = 3
    other = token_of(counted)
    left = []
    # The clock may begin a new minute while this runs: then once more.
    for _ in range(2):
        cache.clear()
        answers = [ask(read_token, "totals", body) for body in (body_for(A), b"{", body_for(A), body_for(A))]
        left = [(each.status_code, each["x-per-minute-limit"], each["x-per-minute-remaining"]) for each in answers]
        if left[-1][0] == 429:
            break
    assert left == [(200, "3", "2"), (400, "3", "1"), (200, "3", "0"), (429, "3", "0")]
    assert answers[-1].json() == {"errors": ["More than 3 requests in this minute."]}
    assert ask(other, "totals", body_for(A)).status_code == 200
    assert ask(None, "totals", body_for(A))["x-per-minute-limit"] == "3"
    assert ask(read_token, "none", body_for(A))["x-per-minute-remaining"] == "3"


def test_it_takes_no_endless_body(read_token: str) -> None:
    response = ask(read_token, "totals", b" " * 3_000_000)
    assert (response.status_code, response.json()) == (413, {"errors": ["The body is too large."]})


def test_it_needs_no_csrf_token(read_token: str, counted: Handle) -> None:
    client = Client(enforce_csrf_checks=True)
    headers = {"Authorization": f"Bearer {read_token}"}
    response = client.post("/insights/engagement/totals", json.dumps(body_for(A)), "text/plain", headers=headers)
    assert response.status_code == 200


def test_it_says_when_redis_is_away(read_token: str, counted: Handle, settings: LazySettings) -> None:
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1"}}
    response = ask(read_token, "totals", body_for(A))
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response.json() == {"errors": ["The counts are away for a moment; ask again."]}
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": settings.REDIS_URL}}
