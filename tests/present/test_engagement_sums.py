"""What the Engagement API answers adds up, and is what the pages and the CSV files say."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from django.db import transaction
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Handle
from metrics.present.engagement_api import RefusedError, respond
from metrics.query import params, report
from metrics.query.engagement import MAPPED, TYPES_OF, Dimension, Surface
from metrics.vocabulary import periods
from metrics.vocabulary.engagements import METRICS, NAMES
from metrics.vocabulary.periods import Period
from tests.ledger import Event, record
from tests.query.strategies import EVENTS, NOW, TWEETS
from tests.query.test_series import UndoError, on_random_events

if TYPE_CHECKING:
    from accounts.models import User

pytestmark = pytest.mark.django_db
# Hours around the night of 29 March 2026, when Copenhagen's clock is put forward.
HOURS = st.integers(-24 * 26, 24 * 9).map(lambda hours: periods.floor(NOW, periods.HOUR) + timedelta(hours=hours - 200))
WINDOWS = st.builds(lambda since, hours: Period(since, since + timedelta(hours=hours)), HOURS, st.integers(1, 28 * 24))
TYPES = st.lists(st.sampled_from(TYPES_OF[Surface.HISTORICAL]), min_size=1, max_size=6, unique=True)
GROUPINGS = st.lists(st.sampled_from(Dimension), min_size=1, max_size=3, unique=True) | st.permutations(
    [Dimension.TWEET, Dimension.TYPE]
).map(lambda first: [*first, Dimension.DAY, Dimension.HOUR])
# Lifetimes that are told however old the Tweet is.
AGELESS = ["favorites", "retweets", "quote_tweets", "replies"]
BY_TYPE = {"g": {"group_by": [Dimension.TYPE]}}


@pytest.fixture
def browser(alice: User, northwind: Handle) -> Client:
    """Alice's browser."""
    client = Client()
    client.force_login(alice)
    for place, tweet_id in enumerate(TWEETS):
        northwind.tweets.create(tweet_id=tweet_id, created_at=NOW - timedelta(days=9 * place))
    return client


def ask(handle: Handle, surface: Surface, **body: Any) -> dict[str, Any]:
    ids = {"tweet_ids": [str(number) for number in TWEETS]}
    status, answer = respond(surface, json.dumps(ids | body).encode(), handle.team_id, [handle.pk])
    assert status == 200
    told: dict[str, Any] = json.loads(msgspec.json.encode(answer))
    return told


def leaves(tree: object, levels: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    """Each count with the keys above it."""
    if isinstance(tree, dict):
        for key, below in tree.items():
            yield from leaves(below, (*levels, key))
    else:
        assert isinstance(tree, str)
        yield levels, int(tree)


def stretch(window: Period) -> dict[str, str]:
    return {"start": window.since.isoformat(), "end": window.until.isoformat()}


@given(EVENTS, WINDOWS, TYPES, GROUPINGS)
@on_random_events
def test_it_counts_what_happened_in_the_window(
    browser: Client, northwind: Handle, events: list[Event], window: Period, types: list[str], group_by: list[str]
) -> None:
    with pytest.raises(UndoError), transaction.atomic():
        record(northwind, events)
        answer = ask(
            northwind,
            Surface.HISTORICAL,
            **stretch(window),
            engagement_types=types,
            groupings={"g": {"group_by": group_by}},
        )
        found = {keys: count for keys, count in leaves(answer["g"]) if count}
        assert found == _regrouped(events, window, types, group_by)
        raise UndoError


def _regrouped(
    events: list[Event], window: Period, types: list[str], group_by: list[str]
) -> dict[tuple[str, ...], int]:
    """The same from the events themselves, one by one."""
    sums: Counter[tuple[str, ...]] = Counter()
    for event in (each for each in events if each.occurred_at in window):
        for name in types:
            metric = METRICS[MAPPED.get(name, name)]
            if event.type in metric.plus:
                sums[tuple(_keys(event, name, group_by))] += event.count
    return dict(sums)


def _keys(event: Event, name: str, group_by: list[str]) -> Iterator[str]:
    for level in group_by:
        if level == Dimension.HOUR and Dimension.DAY not in group_by:
            yield f"{event.occurred_at:%Y-%m-%d}"
        yield {
            Dimension.TWEET: str(event.tweet_id),
            Dimension.TYPE: name,
            Dimension.DAY: f"{event.occurred_at:%Y-%m-%d}",
            Dimension.HOUR: f"{event.occurred_at:%H}",
        }[Dimension(level)]


@given(EVENTS, st.sampled_from(["UTC", "Europe/Copenhagen", "Australia/Lord_Howe", "America/St_Johns"]))
@on_random_events
def test_it_adds_up_to_totals_and_to_every_csv(
    browser: Client, northwind: Handle, events: list[Event], zone: str
) -> None:
    with pytest.raises(UndoError), transaction.atomic():
        record(northwind, events)
        types = list(NAMES)
        by_tweet = {"g": {"group_by": [Dimension.TWEET, Dimension.TYPE]}}
        historical: Counter[tuple[str, ...]] = Counter()
        since = datetime(2026, 3, 1, tzinfo=UTC)
        for days in (0, 14, 28):  # three windows that touch, over the whole life of all events
            window = Period(since + timedelta(days=days), since + timedelta(days=days + 14))
            answer = ask(northwind, Surface.HISTORICAL, **stretch(window), engagement_types=types, groupings=by_tweet)
            historical.update(dict(leaves(answer["g"])))
        totals = ask(northwind, Surface.TOTALS, engagement_types=AGELESS, groupings=by_tweet)
        for keys, count in leaves(totals["g"]):
            assert historical[keys] == count
        for tweet_id in TWEETS:
            asked = {"since": "2026-03-01T00:00Z", "until": "2026-04-12T00:00Z", "grain": "day", "zone": zone}
            rows = download(browser, f"/h/northwind/t/{tweet_id}/series.csv", asked)
            for name in types:
                assert sum(int(row[name]) for row in rows) == historical[str(tweet_id), name]
        raise UndoError


def download(browser: Client, path: str, given: dict[str, str]) -> list[dict[str, str]]:
    response = browser.get(path, given)
    assert response.status_code == 200, response.content
    return list(csv.DictReader(io.StringIO(response.getvalue().decode(), newline="")))


@given(EVENTS, WINDOWS)
@on_random_events
def test_it_agrees_with_the_dashboards_readings(
    browser: Client, northwind: Handle, events: list[Event], window: Period
) -> None:
    with pytest.raises(UndoError), transaction.atomic():
        record(northwind, events)
        asked = {"since": window.since.isoformat(), "until": window.until.isoformat(), "grain": "hour", "zone": "UTC"}
        names = ["engagements", *NAMES]

        activity = report.report(params.parse(asked, northwind, datetime.now(UTC)))
        answer = ask(northwind, Surface.HISTORICAL, **stretch(window), engagement_types=names, groupings=BY_TYPE)
        assert answer["g"] == {name: str(int(METRICS[name].of(activity.totals).sum())) for name in names}

        whole = {"since": "2025-01-01", "until": "2026-04-12", "grain": "day", "reading": "tweets", "zone": "UTC"}
        lifetime = report.report(params.parse(whole, northwind, datetime.now(UTC)))
        totals = ask(northwind, Surface.TOTALS, engagement_types=AGELESS, groupings=BY_TYPE)
        assert totals["g"] == {name: str(int(METRICS[name].of(lifetime.totals).sum())) for name in AGELESS}
        raise UndoError


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Copenhagen", "2026-03-29", 23),
        ("Europe/Copenhagen", "2025-10-26", 25),
        ("America/New_York", "2026-03-08", 23),
    ],
)
def test_it_counts_a_local_day_on_which_the_clock_changes(
    browser: Client, northwind: Handle, zone: str, day: str, hours: int
) -> None:
    since = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    # A different count in each quarter-hour before, during and after the day.
    record(
        northwind,
        [Event(TWEETS[0], since + step * periods.QUARTER, "impressions", 20 + step) for step in range(-8, 110)],
    )
    asked = {"since": day, "until": day + "T23:59", "zone": zone, "grain": "day"}
    (row,) = download(browser, "/h/northwind/series.csv", asked)
    window = Period(since, datetime.fromisoformat(row["until"]))
    assert window.length == timedelta(hours=hours)
    answer = ask(northwind, Surface.HISTORICAL, **stretch(window), engagement_types=["impressions"], groupings=BY_TYPE)
    assert answer["g"]["impressions"] == row["impressions"]


KEYS = st.sampled_from(["tweet_ids", "engagement_types", "groupings", "start", "end", "group_by", "g", ""]) | st.text(
    max_size=5
)
INSTANTS = ["2026-03-01", "2026-03-29T02:30:00+02:00", "9999-12-31", "0001-01-01"]
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9)
    | st.sampled_from([*Dimension, *NAMES, *INSTANTS, str(TWEETS[0])])
)
JSON = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
NEARLY = st.fixed_dictionaries(
    {
        "tweet_ids": JSON | st.lists(st.sampled_from(TWEETS) | st.integers(), max_size=4),
        "engagement_types": JSON | TYPES,
        "groupings": JSON | st.dictionaries(KEYS, st.fixed_dictionaries({"group_by": JSON | GROUPINGS}), max_size=4),
    },
    optional={"start": VALUES, "end": VALUES},
)


BODIES = st.binary(max_size=60) | (JSON | NEARLY).map(json.dumps).map(str.encode)


@given(st.sampled_from(Surface), BODIES)
@on_random_events
def test_it_never_breaks_on_a_body(browser: Client, northwind: Handle, surface: Surface, body: bytes) -> None:
    try:
        status, _ = respond(surface, body, northwind.team_id, [northwind.pk])
    except RefusedError as refusal:
        status = refusal.status
        assert all(isinstance(each, str) for each in refusal.errors)
    assert status in {200, 400, 403}
