"""Facts in Django admin: everything shown, nothing edited, two actions; and the Operations page."""

from __future__ import annotations

import os
import re
import socket
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Handle, User
from metrics import stream, telemetry
from metrics.ingest import sources
from metrics.ingest.sources import Taken
from metrics.models import (
    AccountDay,
    DroppedDay,
    EngagementEvent,
    FileImport,
    HandleFeed,
    ImportProblem,
    Outage,
    PersonEpoch,
    Rejection,
    ReportedReach,
    SetAsideEntry,
    Source,
    SourceState,
    StreamCursor,
    Tweet,
)
from metrics.vocabulary.engagements import CODE
from metrics.vocabulary.events import PACKED, snowflake_at
from tests.ledger import Event, a_tweet, record

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

pytestmark = pytest.mark.django_db
ENTRY = "1700000000000-7"
MODELS = [
    "tweet",
    "rejection",
    "setasideentry",
    "streamcursor",
    "handlefeed",
    "droppedday",
    "source",
    "fileimport",
    "importproblem",
    "accountday",
    "personepoch",
    "reportedreach",
]


@pytest.fixture(autouse=True)
def plain_pages(settings: SettingsWrapper) -> None:
    """Nothing was collected, so static files keep their plain names."""
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }


@pytest.fixture(autouse=True)
def empty_redis() -> None:
    """Streams and telemetry outlive a test's transaction."""
    stream.client().flushdb()


@pytest.fixture
def root(db: None) -> Client:
    """A browser of a superuser."""
    return signed_in(User.objects.create_superuser("root@example.com", "a phrase for the admin"))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def packed(handle: Handle, occurred_at: datetime, type: str = "favorites", count: int = 3) -> bytes:
    tweet_id = snowflake_at(occurred_at - timedelta(hours=1))
    occurred_us = int(occurred_at.timestamp() * 1e6)
    return PACKED.pack(handle.pk, tweet_id, occurred_us, b"sixteen bytes 01", 0, count, CODE[type], 0)


def a_rejection(handle: Handle, type: str) -> Rejection:
    now = timezone.now()
    sent = {
        "id": "one",
        "tweet_id": str(snowflake_at(now - timedelta(hours=1))),
        "type": type,
        "occurred_at": now.isoformat(),
    }
    return Rejection.objects.create(
        handle=handle, index=0, field="type", reason="unknown_type", detail="type: unknown.", event=sent
    )


def act(client: Client, model: str, action: str, pk: int) -> str:
    form = {"action": action, "_selected_action": [pk]}
    return str(client.post(reverse(f"admin:metrics_{model}_changelist"), form, follow=True).content.decode())


@pytest.fixture
def facts(northwind: Handle) -> Handle:
    """A row of everything."""
    at = datetime.now(UTC) - timedelta(hours=2)
    tweet = a_tweet(northwind, at, "Fresh beans from Huila.")
    likes = [Event(tweet.tweet_id, at, "favorites", 1234), Event(tweet.tweet_id, at, "favorites", 56, promoted=True)]
    record(northwind, likes)
    a_rejection(northwind, "likes")
    SetAsideEntry.objects.create(shard=0, entry=ENTRY, payload=b"broken", error="ValueError: no events")
    StreamCursor.objects.create(shard=0, applied_events=7, applied_at=timezone.now())
    HandleFeed.objects.create(handle=northwind, sequence=3)
    DroppedDay.objects.create(day=at.date())
    source = sources.known(northwind, "jetstream", "Bluesky")
    sources.enter(source, SourceState.FAILING, "no route to the network.")
    sources.heard(source, Taken(events=1_234))
    file = FileImport.objects.create(handle=northwind, filename="export.csv", size=2_048, refused=1)
    ImportProblem.objects.create(file=file, line=7, field="likes", reason="bad_number", detail="likes: no number.")
    AccountDay.objects.create(handle=northwind, day=at.date(), counts={"impressions": 5}, exported_at=at)
    PersonEpoch.objects.create(number=0, fingerprint="0123456789abcdef")
    ReportedReach.objects.create(handle=northwind, tweet_id=20, audience=0, source_id=1, people=5, as_of=at)
    return northwind


@pytest.mark.parametrize("model", MODELS)
def test_it_shows_facts_and_lets_nobody_edit_them(model: str, root: Client, facts: Handle) -> None:
    assert root.get(reverse(f"admin:metrics_{model}_changelist")).status_code == 200
    registered = next(m for m in admin.site._registry if m._meta.label_lower == f"metrics.{model}")
    row = registered._default_manager.first()
    assert row is not None
    page = reverse(f"admin:metrics_{model}_change", args=[row.pk])
    assert root.get(page).status_code == 200
    assert root.post(page, {}).status_code == 403
    assert root.get(reverse(f"admin:metrics_{model}_add")).status_code == 403
    assert root.post(reverse(f"admin:metrics_{model}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403


def test_it_shows_how_far_each_consumer_has_come(root: Client, facts: Handle) -> None:
    list_page = reverse("admin:metrics_streamcursor_changelist")
    assert "never heard" in root.get(list_page).content.decode()
    telemetry.note_beat()
    assert stream.lease(0).acquire(token=stream.lease_token())
    stream.client().xadd(stream.stream_key(0), {"e": b""}, id=f"{int(time.time() - 90) * 1000}-0")
    page = root.get(list_page).content.decode()
    assert "Select consumer to view" in page
    assert f'<td class="field-writer">{socket.gethostname()}:{os.getpid()}</td>' in page
    assert re.search(r'<td class="field-lag">9\d\.\d</td>', page)
    assert "never heard" not in page
    assert ">Consumers</a>" in root.get(reverse("admin:index")).content.decode()


def test_it_deletes_facts_along_with_their_handle(root: Client, facts: Handle) -> None:
    page = reverse("admin:accounts_handle_delete", args=[facts.pk])
    assert root.post(page, {"post": "yes"}).status_code == 302
    assert not Tweet.objects.exists()


def test_it_finds_tweets_by_id_and_by_text(root: Client, facts: Handle) -> None:
    other = a_tweet(facts, datetime.now(UTC) - timedelta(days=1), "Closed on Monday.", 5)
    url = reverse("admin:metrics_tweet_changelist")
    for words, found, missed in (
        (str(other.tweet_id), "Closed on Monday.", "Huila"),
        ("HUILA", "Huila", "Closed on Monday."),
    ):
        page = root.get(url, {"q": words}).content.decode()
        assert found in page
        assert missed not in page


def test_it_shows_a_tweets_lifetime_by_type(root: Client, facts: Handle) -> None:
    assert "1,290" in root.get(reverse("admin:metrics_tweet_changelist")).content.decode()
    page = root.get(reverse("admin:metrics_tweet_change", args=[Tweet.objects.get().pk])).content.decode()
    assert '<th scope="row">Likes</th><td>1,234</td><td>56</td><td>1,290</td>' in page


def test_it_replays_what_is_good_by_now(root: Client, northwind: Handle) -> None:
    rejection = a_rejection(northwind, "favorites")
    assert "1 sent again" in act(root, "rejection", "replay", rejection.pk)
    assert stream.backlog(stream.shard_of(northwind.pk)) == 1
    rejection.refresh_from_db()
    assert rejection.replayed_at is not None


def test_it_says_why_an_event_is_refused_again(root: Client, northwind: Handle) -> None:
    rejection = a_rejection(northwind, "likes")
    page = act(root, "rejection", "replay", rejection.pk)
    assert "is not one of the 26 engagement types" in page
    rejection.refresh_from_db()
    assert rejection.replayed_at is None


def test_it_offers_no_action_to_staff_who_may_only_look(facts: Handle) -> None:
    from django.contrib.auth.models import Permission

    viewer = User.objects.create_user("look@example.com", "a phrase for the admin", is_staff=True)
    viewer.user_permissions.add(*Permission.objects.filter(codename__startswith="view_"))
    client = signed_in(viewer)
    act(client, "setasideentry", "apply_again", SetAsideEntry.objects.get().pk)
    act(client, "rejection", "replay", Rejection.objects.get().pk)
    assert SetAsideEntry.objects.get().error == "ValueError: no events"
    assert 'value="replay"' not in client.get(reverse("admin:metrics_rejection_changelist")).content.decode()


@pytest.mark.django_db(transaction=True)
def test_it_applies_a_set_aside_entry_once_with_its_own_arrival(root: Client, northwind: Handle) -> None:
    payload = packed(northwind, datetime(2023, 11, 14, 22, 0, tzinfo=UTC))
    aside = SetAsideEntry.objects.create(shard=0, entry=ENTRY, payload=payload, error="DataError: once")
    assert "1 fresh events" in act(root, "setasideentry", "apply_again", aside.pk)
    act(root, "setasideentry", "apply_again", aside.pk)
    event = EngagementEvent.objects.get()
    assert event.received_at == datetime.fromtimestamp(stream.arrived_us(ENTRY) / 1e6, UTC)
    assert HandleFeed.objects.get().sequence == 1
    aside.refresh_from_db()
    assert aside.applied_at is not None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("broken", ["length", "time"])
def test_it_keeps_a_poison_with_its_error(broken: str, root: Client, northwind: Handle) -> None:
    far = PACKED.pack(northwind.pk, 20, 2**62, b"sixteen bytes 01", 0, 1, CODE["favorites"], 0)
    payload = {"length": b"broken", "time": far}[broken]
    aside = SetAsideEntry.objects.create(shard=0, entry=ENTRY, payload=payload, error="?")
    assert "stays set aside" in act(root, "setasideentry", "apply_again", aside.pk)
    aside.refresh_from_db()
    assert aside.applied_at is None
    assert "Error: " in aside.error


class TestOperations:
    url = "/admin/operations/"

    def test_it_shows_how_everything_is_doing(self, root: Client, facts: Handle) -> None:
        stream.open_groups(0)
        stream.append(0, packed(facts, timezone.now()))
        telemetry.observe_announcement([0, 0, 0], 40_000)
        telemetry.note_beat()
        lease = stream.lease(0)
        assert lease.acquire(token=stream.lease_token())
        page = root.get(self.url).content.decode()
        assert "Free where VAR_DIR lies" in page
        assert "at most 50 ms" in page
        assert f"held by {socket.gethostname()}:{os.getpid()}, " in page
        assert "nobody holds it" in page  # shard 1
        assert "Rollups by minute" in page
        assert f'hx-get="{self.url}"' in page
        assert "<script>" not in page

    def test_it_answers_htmx_with_the_figures_alone(self, root: Client) -> None:
        page = root.get(self.url, headers={"HX-Request": "true"}).content.decode()
        assert "Consumers" in page
        assert "<html" not in page

    def test_it_is_linked_from_the_index(self, root: Client) -> None:
        assert f'href="{self.url}"' in root.get(reverse("admin:index")).content.decode()

    def test_it_is_for_staff(self, alice: User) -> None:
        staff = User.objects.create_user("staff@example.com", "a phrase for the admin", is_staff=True)
        assert signed_in(staff).get(self.url).status_code == 200
        for client in (signed_in(alice), Client()):
            answer = client.get(self.url)
            assert answer.status_code in {302, 403}
            assert b"Consumers" not in answer.content

    def test_it_tells_events_a_second_from_the_beats_samples(self) -> None:
        assert telemetry.throughput() is None
        key = stream._done_key(0)
        now_ms = int(timezone.now().timestamp() * 1000)
        stream.client().rpush(telemetry.APPLIED_KEY, f"{now_ms - 10_000}:100", f"{now_ms - 100_000}:0")
        stream.client().set(key, 1100)
        assert telemetry.throughput() == pytest.approx(100, rel=0.05)

    def test_it_reads_percentiles_from_the_histogram(self) -> None:
        telemetry.observe_announcement([0] * 99, 20_000)
        telemetry.observe_announcement([0], 900_000_000)
        seen = telemetry.latencies()
        assert [seen.percentile(share) for share in (0.5, 0.99, 1.0)] == [25, 25, 60_000]


def test_it_lists_every_source_and_keeps_its_secrets(root: Client, facts: Handle) -> None:
    source = Source.objects.get()
    source.secrets = {"token": "hush"}
    source.save()
    listed = root.get(reverse("admin:metrics_source_changelist")).content.decode()
    assert "no route to the network." in listed
    assert "1,234" in listed
    page = root.get(reverse("admin:metrics_source_change", args=[source.pk])).content.decode()
    assert "failing: no route to the network." in page
    assert "hush" not in page
    assert source.sealed not in page


def test_it_pauses_and_starts_sources(root: Client, facts: Handle) -> None:
    source = Source.objects.get()
    assert "1 now paused." in act(root, "source", "pause", source.pk)
    assert Source.objects.get().state == SourceState.PAUSED
    assert "1 now starting." in act(root, "source", "start", source.pk)
    assert Source.objects.get().state == SourceState.STARTING
    assert Outage.objects.get().until is not None


def test_it_leads_from_a_file_to_its_refused_rows(root: Client, facts: Handle) -> None:
    file = FileImport.objects.get()
    other = FileImport.objects.create(handle=facts, filename="other.csv", size=1)
    ImportProblem.objects.create(file=other, line=9, reason="not_json", detail="Of the other file.")
    page = root.get(reverse("admin:metrics_fileimport_change", args=[file.pk])).content.decode()
    address = f"{reverse('admin:metrics_importproblem_changelist')}?file__id__exact={file.pk}"
    assert f'href="{address}"' in page
    listed = root.get(address).content.decode()
    assert "likes: no number." in listed
    assert "Of the other file." not in listed
    assert "2.0\xa0KB" in root.get(reverse("admin:metrics_fileimport_changelist")).content.decode()
