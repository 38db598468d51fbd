"""`manage.py create_demo`: once made, always the same."""

from __future__ import annotations

import socket
import stat
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from accounts.credentials import load_credential
from accounts.models import ApiToken, Handle, Membership, User
from metrics.ingest.connectors import registry
from metrics.models import Source

NAMES = {"northwind", "monsoonrail", "halfmoonfc", "northwind.social.example"}


@pytest.fixture
def create_demo(db: None, settings: Settings, tmp_path: Path) -> Callable[[], list[str]]:
    settings.VAR_DIR = tmp_path

    def run() -> list[str]:
        out = StringIO()
        call_command("create_demo", stdout=out)
        return out.getvalue().splitlines()

    return run


def test_it_prints_a_login_that_opens_its_handles(create_demo: Callable[[], list[str]]) -> None:
    login, password = create_demo()
    assert login == "login: demo@insightstrack.example"
    user = User.objects.get(email=login.removeprefix("login: "))
    assert user.check_password(password.removeprefix("password: "))
    handles = Handle.objects.visible_to(user)
    assert {handle.username for handle in handles} == NAMES
    for handle in handles:
        handle.full_clean()
    viewer = User.objects.get(email="viewer@insightstrack.example")
    assert not Membership.objects.get(user=viewer).can_edit


def test_it_changes_nothing_the_second_time(create_demo: Callable[[], list[str]], tmp_path: Path) -> None:
    first, token = create_demo(), (tmp_path / "demo_token").read_text()
    assert create_demo() == first
    assert (tmp_path / "demo_token").read_text() == token
    assert (User.objects.count(), Handle.objects.count(), ApiToken.objects.count()) == (2, 4, 1)


def test_it_keeps_its_secrets_to_the_owner_of_the_files(create_demo: Callable[[], list[str]], tmp_path: Path) -> None:
    create_demo()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"demo_password", "demo_viewer_password", "demo_token", "demo_jetstream"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tmp_path.iterdir())


def test_it_makes_a_new_token_when_the_old_one_is_lost(create_demo: Callable[[], list[str]], tmp_path: Path) -> None:
    create_demo()
    (tmp_path / "demo_token").unlink()
    create_demo()
    credential = load_credential((tmp_path / "demo_token").read_text().strip())
    assert credential is not None
    assert credential.scopes == {"ingest", "read"}
    assert set(credential.handles) == NAMES


def test_it_connects_one_handle_to_the_demos_jetstream(create_demo: Callable[[], list[str]], tmp_path: Path) -> None:
    create_demo()
    source = Source.objects.get()
    port = int((tmp_path / "demo_jetstream").read_text())
    assert (source.kind, source.handle.platform) == ("jetstream", "bluesky")
    assert source.settings == registry()["jetstream"].checked(source, source.settings)
    assert source.settings["url"] == f"ws://127.0.0.1:{port}/subscribe"
    assert source.cursor["time_us"] > 0


def test_it_takes_another_port_when_somebody_has_the_old_one(
    create_demo: Callable[[], list[str]], tmp_path: Path
) -> None:
    create_demo()
    before = Source.objects.get()
    with socket.create_server(("127.0.0.1", int((tmp_path / "demo_jetstream").read_text()))):
        create_demo()
    after = Source.objects.get()
    assert after.settings["url"] != before.settings["url"]
    assert after.cursor == before.cursor


def test_it_gives_an_older_demos_token_the_handles_that_came_since(
    create_demo: Callable[[], list[str]], tmp_path: Path
) -> None:
    create_demo()
    Handle.objects.get(username="northwind.social.example").delete()
    create_demo()
    credential = load_credential((tmp_path / "demo_token").read_text().strip())
    assert credential is not None
    assert set(credential.handles) == NAMES
    assert ApiToken.objects.count() == 1


def test_it_touches_no_handle_of_another_team(northwind: Handle, create_demo: Callable[[], list[str]]) -> None:
    with pytest.raises(CommandError, match="@northwind belongs to another team"):
        create_demo()
    assert Handle.objects.count() == 1
