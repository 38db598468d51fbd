from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice, pairwise
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Handle
from metrics.present import exports
from metrics.present.columns import COLUMNS, PEOPLE
from metrics.query.params import parse
from metrics.query.report import report, top_tweets
from metrics.vocabulary.engagements import METRICS, NAMES
from tests.crowds import crowd, happen, tweet_of
from tests.ledger import Event, a_tweet, added_up, record
from tests.query.strategies import EVENTS, NOW, TWEETS, ZONES
from tests.query.test_series import UndoError, on_random_events

if TYPE_CHECKING:
    from accounts.models import User

pytestmark = pytest.mark.django_db
KINDS = ("tweets", "series", "breakdown")
STRETCH = {"since": "2026-03-10", "until": "2026-04-09"}


@pytest.fixture
def browser(client: Client, alice: User, northwind: Handle) -> Client:
    """Alice's browser."""
    client.force_login(alice)
    return client


def download(browser: Client, path: str, **given: str) -> tuple[list[str], list[dict[str, str]]]:
    response = browser.get(f"/h/northwind/{path}", given)
    assert response.status_code == 200, response.content
    reader = csv.DictReader(io.StringIO(response.getvalue().decode(), newline=""))
    return list(reader.fieldnames or []), list(reader)


def summed(rows: list[dict[str, str]], name: str) -> int:
    return sum(int(row[name]) for row in rows)


@given(EVENTS, ZONES, st.sampled_from(["hour", "day"]), st.sampled_from(["activity", "tweets"]))
@on_random_events
def test_it_says_the_same_as_the_page_and_the_api(
    browser: Client, northwind: Handle, events: list[Event], zone: str, grain: str, reading: str
) -> None:
    with pytest.raises(UndoError), transaction.atomic():
        for place, tweet_id in enumerate(TWEETS):
            northwind.tweets.create(tweet_id=tweet_id, created_at=NOW - timedelta(days=9 * place))
        record(northwind, events)
        asked = {**STRETCH, "zone": zone, "grain": grain, "reading": reading}
        page = report(parse(asked, northwind, datetime.now(UTC)))
        answer = browser.get("/api/v1/handles/northwind/report", asked).json()
        _, by_bucket = download(browser, "series.csv", **asked)
        _, by_type = download(browser, "breakdown.csv", **asked)
        _, by_tweet = download(browser, "tweets.csv", **asked)
        column = "period" if reading == "activity" else "lifetime"
        for name in ("engagements", *NAMES):
            total = int(METRICS[name].of(page.totals).sum())
            assert answer["metrics"][name]["value"] == total
            assert sum(answer["series"]["metrics"][name]) == total
            assert summed(by_bucket, name) == total
            assert summed(by_tweet, f"{column}_{name}") == total
        assert [row["start"] for row in by_bucket] == [_offset(start) for start in answer["series"]["starts"]]
        assert by_type == [{name: str(row[name]) for name in row} for row in answer["types"]]
        assert summed(by_type, "promoted") == int(page.totals[1].sum()) - _undone(page.totals[1])
        raise UndoError


def _offset(instant: str) -> str:
    return instant.replace("Z", "+00:00")


def _undone(counts: Any) -> int:
    return int(sum(METRICS[name].of(counts) for name in NAMES if name.startswith("un")))


def test_it_documents_every_column(browser: Client, northwind: Handle) -> None:
    tweet = a_tweet(northwind, NOW)
    paths = {f"{kind}.csv": kind for kind in KINDS} | {f"t/{tweet.tweet_id}/series.csv": "tweet_series"}
    for path, kind in paths.items():
        header, _ = download(browser, path)
        assert header == list(COLUMNS[kind])
        assert all(COLUMNS[kind].values())


def test_it_gives_a_tweets_series_and_what_it_adds_up_to(browser: Client, northwind: Handle) -> None:
    tweet = a_tweet(northwind, NOW)
    events = [Event(tweet.tweet_id, NOW + timedelta(minutes=7 * place), "retweets", place + 1) for place in range(50)]
    record(northwind, events)
    _, rows = download(browser, f"t/{tweet.tweet_id}/series.csv", range="24h", grain="quarter")
    assert len(rows) == 97
    assert summed(rows, "retweets") == sum(event.count for event in events)
    running = 0
    for row in rows:
        running += int(row["retweets"])
        assert int(row["cumulative_retweets"]) == running
    _, rest = download(browser, f"t/{tweet.tweet_id}/series.csv", since="2026-04-08T15:00", until="2026-04-09")
    assert int(rest[-1]["cumulative_retweets"]) == running
    assert summed(rest, "retweets") < running


def test_it_cuts_a_long_series_into_pieces_without_a_seam(
    browser: Client, northwind: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [Event(TWEETS[0], NOW - timedelta(hours=place), count=place + 1) for place in range(200)]
    record(northwind, events)
    monkeypatch.setattr(exports, "BUCKETS_A_PIECE", 7)
    _, rows = download(browser, "series.csv", grain="hour", **STRETCH)
    assert len({row["start"] for row in rows}) == len(rows) == 30 * 24 - 1  # one day has 23 hours
    assert all(before["until"] == after["start"] for before, after in pairwise(rows))
    assert summed(rows, "favorites") == sum(event.count for event in events)


def test_it_lists_every_tweet_once_in_pieces(
    browser: Client, northwind: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [a_tweet(northwind, NOW - timedelta(hours=place), number=place).tweet_id for place in range(9)]
    record(northwind, [Event(number, NOW) for number in numbers[:8]])
    monkeypatch.setattr(exports, "TWEETS_A_PIECE", 3)
    _, rows = download(browser, "tweets.csv", **STRETCH)
    assert [int(row["tweet_id"]) for row in rows] == numbers[:8]
    _, created = download(browser, "tweets.csv", reading="tweets", **STRETCH)
    assert [int(row["tweet_id"]) for row in created] == numbers
    ranked = top_tweets(parse(STRETCH, northwind, datetime.now(UTC)), "created_at")
    assert [row.tweet.tweet_id for row in ranked] == numbers[:8]


def test_it_tells_how_many_people_each_tweet_reached(browser: Client, northwind: Handle) -> None:
    happen(northwind, *crowd(0, range(1, 5), liked=[1, 2], unnamed=16), *crowd(1, [], unnamed=5))
    for number in range(2):
        tweet_of(northwind, number)
    _, (unknown, known) = download(browser, "tweets.csv", range="7d", reading="tweets")
    reached, engaged = [known[name] for name in PEOPLE][:4], [known[name] for name in PEOPLE][4:8]
    assert (reached, engaged) == (["4", "4", "4", "exact"], ["2", "2", "2", "exact"])
    assert (known["frequency"], known["coverage"]) == ("1.0", "0.2")
    assert [unknown[name] for name in PEOPLE] == ["", "", "", "unreported", "0", "0", "0", "exact", "", "0.0"]


def test_it_keeps_formulas_from_running(browser: Client, northwind: Handle) -> None:
    texts = ["=1+1", "+1", "-1", "@sum", "\tx", "\rx", "\nx", "fine = fine", 'say "hi", all', "line\nline", "日本 🎉"]
    for place, text in enumerate(texts):
        a_tweet(northwind, NOW - timedelta(minutes=place), text, place)
    _, rows = download(browser, "tweets.csv", reading="tweets", **STRETCH)
    assert [row["text"] for row in rows] == [f"'{text}" for text in texts[:7]] + texts[7:]


@pytest.mark.parametrize("cell", [-5, 0, 3.25, None, "plain", "5-3"])
def test_it_leaves_numbers_and_plain_text_alone(cell: object) -> None:
    assert exports.safe(cell) == cell  # type: ignore[arg-type]  # every kind of cell in turn


def test_it_writes_negative_net_counts_as_numbers(browser: Client, northwind: Handle) -> None:
    record(northwind, [Event(TWEETS[0], NOW, "unfavorites", 4)])
    _, rows = download(browser, "breakdown.csv", **STRETCH)
    likes = next(row for row in rows if row["type"] == "favorites")
    assert (likes["gained"], likes["lost"], likes["net"]) == ("0", "4", "-4")


def test_it_begins_with_a_byte_order_mark_on_request(browser: Client) -> None:
    with_mark = browser.get("/h/northwind/series.csv", {"bom": "1"}).getvalue()
    assert with_mark.startswith(b"\xef\xbb\xbfstart,")
    assert browser.get("/h/northwind/series.csv").getvalue().startswith(b"start,")


def test_it_names_the_file_after_handle_and_period(browser: Client, northwind: Handle) -> None:
    tweet = a_tweet(northwind, NOW)
    for path, name in (
        ("tweets.csv", "northwind_tweets_20260310_20260408.csv"),
        ("series.csv", "northwind_series_20260310_20260408.csv"),
        ("breakdown.csv", "northwind_breakdown_20260310_20260408.csv"),
        (f"t/{tweet.tweet_id}/series.csv", f"northwind_tweet_{tweet.tweet_id}_20260310_20260408.csv"),
    ):
        response = browser.get(f"/h/northwind/{path}", STRETCH)
        assert response["Content-Disposition"] == f'attachment; filename="{name}"'
        assert response["Content-Type"] == "text/csv; charset=utf-8"


def test_it_marks_the_running_bucket_as_unfinished(browser: Client) -> None:
    _, rows = download(browser, "series.csv", range="7d")
    assert [row["unfinished"] for row in rows] == ["0"] * 167 + ["1"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("given", "field"), [({"range": "9d"}, "range"), ({"since": "soon"}, "since"), ({"zone": "Mars"}, "zone")]
)
def test_it_names_the_field_at_fault(browser: Client, kind: str, given: dict[str, str], field: str) -> None:
    response = browser.get(f"/h/northwind/{kind}.csv", given)
    assert response.status_code == 400
    assert response.content.decode().startswith(f"{field}: ")


def test_it_is_for_the_handles_team_only(
    client: Client, alice: User, bob: User, charlie: User, northwind: Handle
) -> None:
    tweet = a_tweet(northwind, NOW)
    paths = [f"/h/northwind/{kind}.csv" for kind in KINDS] + [f"/h/northwind/t/{tweet.tweet_id}/series.csv"]
    for path in paths:
        assert client.get(path)["Location"].startswith("/accounts/login/")
    for person in (alice, bob):
        client.force_login(person)
        assert all(client.get(path).status_code == 200 for path in paths)
    client.force_login(charlie)
    for path in paths:
        foreign, unknown = client.get(path), client.get(path.replace("northwind", "nobody"))
        assert (foreign.status_code, unknown.status_code) == (404, 404)


def test_it_answers_404_for_a_tweet_of_another_handle(browser: Client, acme: Handle) -> None:
    other = a_tweet(acme, NOW)
    for number in (other.tweet_id, 2**63, 2**70, 0):
        assert browser.get(f"/h/northwind/t/{number}/series.csv").status_code == 404


def test_it_only_reads(browser: Client) -> None:
    assert browser.post("/h/northwind/series.csv").status_code == 405


def test_it_holds_no_more_than_a_chunk() -> None:
    made = 0

    def rows() -> Iterator[list[str]]:
        nonlocal made
        for number in count(1):
            made = number
            yield ["x" * 99]

    chunks = list(islice(exports.encoded(["text"], rows(), bom=False), 20))
    assert all(len(chunk) < exports.CHARACTERS_A_CHUNK + 200 for chunk in chunks)
    assert made < 20 * (exports.CHARACTERS_A_CHUNK // 100 + 2)


def test_it_asks_the_database_piece_by_piece(northwind: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "TWEETS_A_PIECE", 3)
    for place in range(9):
        a_tweet(northwind, NOW - timedelta(hours=place), number=place)
    rows = exports.tweet_rows(parse({**STRETCH, "reading": "tweets"}, northwind, datetime.now(UTC)))
    with CaptureQueriesContext(connection) as first:
        assert len(list(islice(rows, 3))) == 3
    with CaptureQueriesContext(connection) as later:
        assert len(list(rows)) == 6
    assert len(later) >= 2 * len(first) > 0


def test_it_streams_from_an_asynchronous_server(alice: User, northwind: Handle) -> None:
    events = [Event(TWEETS[0], NOW - timedelta(hours=place), count=2) for place in range(100)]
    record(northwind, events)

    async def fetch() -> bytes:
        client = AsyncClient()
        await client.aforce_login(alice)
        response = await client.get("/h/northwind/series.csv", {**STRETCH, "grain": "hour"})
        assert response.is_async
        return b"".join([chunk async for chunk in response])

    rows = list(csv.DictReader(io.StringIO(async_to_sync(fetch)().decode())))
    period = parse(STRETCH, northwind, datetime.now(UTC)).period
    assert summed(rows, "favorites") == int(added_up(events, period).sum())
