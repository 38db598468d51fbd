"""`GET /2/tweets/analytics` in X API v2's shape."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache import cache
from django.test import Client

from accounts.credentials import issue_token
from accounts.models import Handle, Scope
from metrics.query.analytics import SOURCES
from tests.ledger import Event, a_tweet, record

if TYPE_CHECKING:
    from django.conf import LazySettings
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

    from accounts.models import User

pytestmark = pytest.mark.django_db
AT = datetime(2025, 3, 17, 6, 5, tzinfo=UTC)
WINDOW = {"start_time": "2025-03-17T06:10:00Z", "end_time": "2025-03-17T08:01:00Z", "granularity": "hourly"}


@pytest.fixture(autouse=True)
def fresh_minute() -> Iterator[None]:
    """Each test begins with its tokens' whole quota."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def tweet_id(northwind: Handle) -> int:
    """A Tweet with impressions and likes over two weeks."""
    number = a_tweet(northwind, AT - timedelta(hours=1)).tweet_id
    events = [Event(number, AT + timedelta(hours=step), "impressions", 5 + step) for step in (0, 1, 2, 40, 24 * 9)]
    events += [Event(number, AT, "favorites", 2), Event(number, AT, "favorites", 1, promoted=True)]
    events += [
        Event(number, AT, "unfavorites", 4),
        Event(number, AT, "video_views", 6),
        Event(number, AT, "user_follows"),
    ]
    record(northwind, events)
    return number


def ask(secret: str, ids: object, headers: dict[str, str] | None = None, **given: str) -> Response:
    asked = {**WINDOW, **given} | ({"ids": str(ids)} if ids is not None else {})
    return Client().get("/2/tweets/analytics", asked, headers={"Authorization": f"Bearer {secret}", **(headers or {})})


def buckets(answer: Response, metric: str = "impressions") -> list[tuple[str, int]]:
    (told,) = answer.json()["data"]
    return [(each["timestamp"], each["metrics"][metric]) for each in told["timestamped_metrics"]]


ANSWERED: list[tuple[str, dict[str, str], list[tuple[str, int]]]] = [
    ("whole hours", {}, [("2025-03-17T06:00:00Z", 5), ("2025-03-17T07:00:00Z", 6), ("2025-03-17T08:00:00Z", 7)]),
    ("days, the outer ones clipped", {"granularity": "daily", "end_time": "2025-03-19T00:00:00Z"},
     [("2025-03-17T06:00:00Z", 18), ("2025-03-18T00:00:00Z", 45)]),
    ("weeks from the start", {"granularity": "weekly", "end_time": "2025-03-30"},
     [("2025-03-17T06:00:00Z", 63), ("2025-03-24T06:00:00Z", 221)]),
    ("in all", {"granularity": "total", "end_time": "2025-03-30"}, [("2025-03-17T06:00:00Z", 284)]),
    ("the end is not counted", {"end_time": "2025-03-17T07:00:00Z"}, [("2025-03-17T06:00:00Z", 5)]),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "given", "expected"), ANSWERED, ids=[row[0] for row in ANSWERED])
def test_it_counts_by_bucket(
    read_token: str, tweet_id: int, rule: str, given: dict[str, str], expected: list[tuple[str, int]]
) -> None:
    assert buckets(ask(read_token, tweet_id, **given)) == expected, rule


def test_it_answers_in_xs_shape(read_token: str, tweet_id: int) -> None:
    response = ask(
        read_token, tweet_id, granularity="total", **{"analytics.fields": "impressions,likes,shares,timestamp"}
    )
    assert response.json() == {
        "data": [
            {
                "id": str(tweet_id),
                "timestamped_metrics": [
                    {"timestamp": "2025-03-17T06:00:00Z", "metrics": {"impressions": 18, "likes": 3, "shares": None}}
                ],
            }
        ],
        "errors": [],
    }
    everything = ask(read_token, tweet_id, granularity="total").json()["data"][0]["timestamped_metrics"][0]["metrics"]
    assert list(everything) == list(SOURCES)
    assert {name: everything[name] for name in ("engagements", "follows", "media_views", "unfollows")} == {
        "engagements": 4,
        "follows": 1,
        "media_views": 6,
        "unfollows": None,
    }
    ours = ask(read_token, tweet_id, granularity="total", **{"analytics.fields": "unfavorites"})
    assert buckets(ours, "unfavorites") == [("2025-03-17T06:00:00Z", 4)]


def test_it_tells_data_and_errors_together(read_token: str, tweet_id: int, northwind: Handle) -> None:
    tea = Handle.objects.create(team=northwind.team, username="tea", display_name="Tea")
    other = a_tweet(tea, AT).tweet_id
    answer = ask(read_token, f"{tweet_id},20,{other}").json()
    assert [each["id"] for each in answer["data"]] == [str(tweet_id)]
    kinds = [(each["resource_id"], each["title"], each["type"].rpartition("/")[2]) for each in answer["errors"]]
    assert kinds == [
        ("20", "Not Found Error", "resource-not-found"),
        (str(other), "Authorization Error", "not-authorized-for-resource"),
    ]
    assert all({"detail", "parameter", "resource_type", "value"} <= set(each) for each in answer["errors"])


def test_it_tells_a_stranger_what_it_tells_of_no_tweet(
    bob: User, charlie: User, northwind: Handle, acme: Handle, tweet_id: int
) -> None:
    mine, foreign = (
        issue_token(handle.team, "reads", [Scope.READ], [handle], created_by=person)[1]
        for handle, person in ((northwind, bob), (acme, charlie))
    )
    assert buckets(ask(mine, tweet_id))
    known, unknown = ask(foreign, tweet_id), ask(foreign, tweet_id + 1)
    assert known.json()["data"] == []
    assert known.content.replace(str(tweet_id).encode(), str(tweet_id + 1).encode()) == unknown.content


REFUSED: list[tuple[str, object, dict[str, Any], str]] = [
    ("no ids", None, {}, "ids"),
    ("an id that is none", "20,x", {}, "ids"),
    ("101 ids", ",".join(map(str, range(1, 102))), {}, "ids"),
    ("an unknown granularity", 20, {"granularity": "yearly"}, "granularity"),
    ("too many buckets", 20, {"end_time": "2025-05-01"}, "granularity"),
    ("no such time", 20, {"start_time": "soon"}, "start_time"),
    ("backwards", 20, {"end_time": "2025-03-17T06:00:00Z"}, "start_time"),
    ("the future", 20, {"end_time": "2999-01-01", "granularity": "total"}, "end_time"),
    ("an unknown field", 20, {"analytics.fields": "impressions,karma"}, "analytics.fields"),
]


@pytest.mark.parametrize(("rule", "ids", "given", "field"), REFUSED, ids=[row[0] for row in REFUSED])
def test_it_names_the_parameter_at_fault(
    read_token: str, rule: str, ids: object, given: dict[str, Any], field: str
) -> None:
    response = ask(read_token, ids, **given)
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json"), rule
    problem = response.json()
    assert {"title", "detail", "type", "status"} <= set(problem)
    assert [list(each["parameters"]) for each in problem["errors"]] == [[field]]
    assert problem["detail"].startswith(f"{field}: ")


def test_it_wants_its_window(read_token: str) -> None:
    for name in ("start_time", "end_time"):
        asked = {"ids": "20"} | {key: value for key, value in WINDOW.items() if key != name}
        response = Client().get("/2/tweets/analytics", asked, headers={"Authorization": f"Bearer {read_token}"})
        assert response.json()["detail"].startswith(f"{name}: ")


def test_it_answers_other_problems_alike(ingest_token: str, read_token: str, settings: LazySettings) -> None:
    assert ask("none", 20).status_code == ask(ingest_token, 20).status_code == 401
    posted = Client().post("/2/tweets/analytics", headers={"Authorization": f"Bearer {read_token}"})
    assert (posted.status_code, posted["Allow"]) == (405, "GET")
    settings.ENGAGEMENT_REQUESTS_PER_MINUTE = 0
    refused = ask(read_token, 20)
    assert (refused.status_code, refused["x-rate-limit-remaining"]) == (429, "0")
    assert 0 < int(refused["x-rate-limit-reset"]) - datetime.now(UTC).timestamp() <= 60
    for response in (posted, refused, ask("none", 20)):
        assert response["Content-Type"] == "application/problem+json"
        assert response.json()["status"] == response.status_code
    zipped = ask("none", 20, {"Accept-Encoding": "gzip"})
    assert gzip.decompress(zipped.content) == ask("none", 20).content
