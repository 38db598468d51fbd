"""The simulated handles: what holds at every instant, whatever the seed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest

from metrics.demo import events, people, plan
from metrics.demo.content import NORTHWIND, VOICES, write
from metrics.demo.events import Event
from metrics.demo.kernel import DAY, HOUR, WEEK
from metrics.demo.plan import Story
from metrics.demo.viewers import Viewers
from metrics.vocabulary.engagements import CODE, FUNNEL, TYPES, UNDO_OF
from metrics.vocabulary.events import tweet_created_ms

# A Thursday, 15:00 UTC.
NOW = datetime(2026, 3, 12, 15, tzinfo=UTC).timestamp()
SEED = 4


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    return plan.all_stories(VOICES, SEED, NOW - 20 * DAY, NOW + HOUR)


@pytest.fixture(scope="module")
def past(stories: list[Story]) -> list[Event]:
    published = [story for story in stories if story.created < NOW]
    return [event for batch, _ in events.history(published, SEED, NOW - 20 * DAY, NOW, 4_000) for event in batch]


@pytest.fixture(scope="module")
def present(stories: list[Story]) -> list[Event]:
    """Twenty minutes, in steps of a second; with an hour more for what was still to follow."""
    viewers = Viewers(SEED, session=1)
    found: list[Event] = []
    for second in range(20 * 60):
        found += viewers.events(stories, NOW + second, NOW + second + 1)
    return found + viewers.events([], NOW + 1200, NOW + 2 * HOUR)


@pytest.fixture(params=["past", "present"])
def all_events(request: pytest.FixtureRequest) -> list[Event]:
    found: list[Event] = request.getfixturevalue(request.param)
    return found


def running_totals(found: Iterable[Event]) -> Iterable[dict[tuple[str, bool], int]]:
    """Every Tweet's totals by type and promotion after each of its events, in order of time."""
    totals: defaultdict[str, Counter[tuple[str, bool]]] = defaultdict(Counter)
    for event in sorted(found, key=lambda one: one.occurred_at):
        tweet = totals[event.tweet_id]
        tweet[event.type, event.promoted] += event.count
        yield tweet


def test_it_never_lets_a_later_video_step_pass_an_earlier_one(all_events: list[Event]) -> None:
    for totals in running_totals(event for event in all_events if event.type in FUNNEL):
        steps = [totals[step, False] for step in FUNNEL]
        assert steps == sorted(steps, reverse=True)


def test_it_never_takes_back_more_than_was_given(all_events: list[Event]) -> None:
    for totals in running_totals(all_events):
        for gain, undo in UNDO_OF.items():
            for promoted in (False, True):
                assert totals[undo, promoted] <= totals[gain, promoted]


def test_it_shows_undone_engagements_and_promoted_ones(past: list[Event]) -> None:
    sums = Counter({event.type: 0 for event in past})
    for event in past:
        sums[event.type] += event.count
    assert set(sums) == {kind.name for kind in TYPES}
    assert any(event.promoted for event in past)


def test_it_promotes_only_what_can_be(all_events: list[Event]) -> None:
    assert {event.type for event in all_events if event.promoted} <= {kind.name for kind in TYPES if kind.promotable}


def test_it_keeps_events_between_their_tweet_and_now(past: list[Event], present: list[Event]) -> None:
    for event in past + present:
        at = event.occurred_at.timestamp()
        assert at * 1000 >= tweet_created_ms(int(event.tweet_id))
        assert event.count >= 1
    assert all(NOW - 20 * DAY <= event.occurred_at.timestamp() < NOW for event in past)


def test_it_gives_every_event_an_id_of_its_own(past: list[Event], present: list[Event]) -> None:
    ids = [event.id for event in past + present]
    assert len(ids) == len(set(ids))
    assert max(map(len, ids)) <= 64


def test_it_tells_the_same_story_from_the_same_seed(stories: list[Story]) -> None:
    again = plan.all_stories(VOICES, SEED, NOW - 20 * DAY, NOW + HOUR)
    assert [story.tweet_id for story in again] == [story.tweet_id for story in stories]
    assert all((a.shared_at == b.shared_at).all() for a, b in zip(again, stories, strict=True))
    other = plan.all_stories(VOICES, SEED + 1, NOW - 20 * DAY, NOW + HOUR)
    assert {story.tweet_id for story in other}.isdisjoint(story.tweet_id for story in stories)


def test_it_tells_the_same_story_when_started_again_later(stories: list[Story]) -> None:
    """A restarted feed plans from another day on; what has happened must not change."""
    later = plan.all_stories(VOICES, SEED, NOW - 10 * DAY, NOW + DAY)
    known = {story.tweet_id: story for story in stories}
    for story in later:
        if story.created >= NOW or story.created < NOW - 10 * DAY + plan.SPARKED_FOR:
            continue
        before = known[story.tweet_id]
        assert story.post == before.post
        happened = before.shared_at[before.shared_at < NOW]
        assert story.shared_at[: len(happened)] == pytest.approx(happened)


def test_it_sends_the_same_events_for_the_same_span(stories: list[Story], past: list[Event]) -> None:
    published = [story for story in stories if story.created < NOW]
    again = [e for batch, _ in events.history(published, SEED, NOW - 20 * DAY, NOW, 999) for e in batch]
    assert {event.id: event for event in again} == {event.id: event for event in past}


def test_it_is_finest_where_it_is_newest(past: list[Event]) -> None:
    """The last hour is made of minutes and comes first."""
    assert all(NOW - event.occurred_at.timestamp() <= events.MINUTES_FOR + 900 for event in past[:500])
    minutes = {event.occurred_at.timestamp() // 60 for event in past if event.type == "impressions"}
    assert {NOW // 60 - back for back in range(1, 61)} <= minutes


def test_it_covers_a_span_with_parts_that_touch() -> None:
    parts = events.parts(NOW - 90 * DAY, NOW)
    assert parts[0][1] == NOW
    assert parts[-1][0] == NOW - 90 * DAY
    assert all(newer[0] == older[1] for newer, older in pairwise(parts))


def test_it_loads_months_with_few_events() -> None:
    stories = plan.all_stories(VOICES, 1, NOW - 90 * DAY, NOW)
    batches = [batch for batch, _ in events.history(stories, 1, NOW - 90 * DAY, NOW, 4_000)]
    assert sum(map(len, batches)) < 500_000
    assert max(map(len, batches)) <= 4_000
    assert all(sum(story.voice is voice for story in stories) > 150 for voice in VOICES)


def test_it_sleeps_at_night_where_the_handle_lives() -> None:
    for voice in VOICES:
        day = datetime(2026, 3, 11, tzinfo=voice.zone).timestamp() + HOUR * np.arange(25)
        levels = plan.rhythm(voice, day)
        assert levels[3] < 0.3
        assert levels[20] > 1.5
        assert levels.mean() == pytest.approx(1, abs=0.05)


def test_it_is_a_lively_present(present: list[Event]) -> None:
    a_second = sum(event.occurred_at.timestamp() < NOW + 1200 for event in present) / 1200
    assert 2 < a_second < 80
    viewers = Counter(event.user_id for event in present if event.type == "impressions")
    assert max(viewers.values()) > 3
    assert sum(number == 1 for number in viewers.values()) > len(viewers) / 2


def test_it_names_as_many_people_as_its_sources_do(past: list[Event], present: list[Event]) -> None:
    shown, named = Counter[str](), Counter[str]()
    for event in present:
        if event.type == "impressions":
            shown[event.handle] += event.count
            named[event.handle] += event.count if event.user_id else 0
    assert named["northwind"] / shown["northwind"] == pytest.approx(NORTHWIND.coverage, abs=0.03)
    assert named["halfmoonfc"] == shown["halfmoonfc"] > 0
    for event in past:
        if event.type in events.NAMED and event.handle == "monsoonrail":
            assert event.user_id
        if event.user_id and event.handle == "northwind":
            assert NOW - event.occurred_at.timestamp() <= NORTHWIND.named_for
    assert not any(event.user_id for event in past if event.handle == "halfmoonfc")


def test_it_shows_a_tweet_about_twice_to_those_who_see_it(past: list[Event]) -> None:
    views: defaultdict[str, Counter[str | None]] = defaultdict(Counter)
    for event in past:
        if event.type == "impressions" and event.handle == "monsoonrail":
            views[event.tweet_id][event.user_id] += event.count
    frequencies = [seen.total() / len(seen) for seen in views.values() if seen.total() > 300]
    assert 1.3 < np.median(frequencies) < 2.5
    first, second, *_ = sorted(views.values(), key=len, reverse=True)
    assert len(second) / 5 < len(first.keys() & second.keys()) < len(second)


def test_it_draws_the_same_crowd_one_by_one_and_at_once() -> None:
    rng = np.random.default_rng(3)
    many, unnamed = people.crowd(NORTHWIND, rng, 20_000)
    singles = Counter(people.somebody(NORTHWIND, rng) for _ in range(20_000))
    assert singles.pop(None) == pytest.approx(unnamed, rel=0.1)
    assert len(many) == pytest.approx(len(singles), rel=0.05)
    assert sum(often for _, often in many) + unnamed == 20_000
    kinds = [Counter(who.rsplit("-", 1)[0] for who in named) for named in (dict(many), singles)]
    for kind in ("northwind-fan", "northwind-follower", "passer-by"):
        assert kinds[0][kind] == pytest.approx(kinds[1][kind], rel=0.1)


def test_it_tags_campaigns_of_several_handles() -> None:
    stories = plan.all_stories(VOICES, SEED, NOW - 60 * DAY, NOW)
    tagged = Counter((tag, story.voice.username) for story in stories for tag in story.post.tags)
    for tag, names in (("rainydays", ("northwind", "monsoonrail")), ("earlybirds", ("northwind",))):
        assert all(tagged[tag, name] >= 5 for name in names)


def test_it_lets_tweets_take_off_every_few_minutes() -> None:
    """Sparks of the three handles together: about one in five minutes by day."""
    begin = NOW - 4 * HOUR
    stories = plan.all_stories(VOICES, SEED, begin - plan.LOOKBACK, NOW)
    large = [
        at
        for story in stories
        for at, shown in zip(story.exposed_at[1:], story.exposures[1:], strict=True)
        if begin <= at < NOW and shown > 6 * story.voice.reach
    ]
    assert 6 < len(large) / 4 < 60


def test_it_ends_a_story_after_a_week(stories: list[Story]) -> None:
    for story in stories:
        assert (story.shared_at < story.created + WEEK).all()
        assert (np.diff(story.shared_at) >= 0).all()
        assert not story.alive(story.created + WEEK, story.created + 2 * WEEK)


def test_it_writes_in_each_voice() -> None:
    rng = np.random.default_rng(2)
    for voice in VOICES:
        posts = [write(voice, rng) for _ in range(200)]
        assert len({post.text for post in posts}) > 60
        assert all("{" not in post.text and len(post.text) <= 1_000 for post in posts)
        assert {post.media for post in posts} == {"none", "photo", "gif", "video"}
        assert all((post.link in post.text) and post.link.startswith(("https://", "")) for post in posts)
        assert any(post.tags for post in posts)
        assert all(not tag.startswith("#") for post in posts for tag in post.tags)


def test_it_knows_every_type_it_names() -> None:
    named = {*events.REACTIONS, *events.UNDONE, *events.FUNNEL, *events.GIF_FUNNEL, *events.PROMOTED}
    assert named <= set(CODE)
    assert list(events.FUNNEL) == list(FUNNEL)
