"""What is kept encrypted, and the change of its key: old seals open, `reseal` renews them, and says what it did."""

from __future__ import annotations

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from accounts.credentials import issue_token
from accounts.models import Handle, OAuthCredentials
from accounts.sealing import BrokenSealError, seal, unseal
from metrics.models import Source

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

FIRST, SECOND = "first key, " + "1" * 32, "second key, " + "2" * 32
# Sealed by the release before there was a SEALING_KEY, under the tests' SECRET_KEY.
FORMER = "gAAAAABrB1_WlalswtIwkBC7usYoho00CJ-ruHOoIMVK7fmxQteBRC8muTZTpOgIUitMvrh9PgTI7MEH1m3l3IOBfD5lDtXhMA=="


def reseals() -> str:
    """What the command says."""
    out = StringIO()
    call_command("reseal", stdout=out)
    return out.getvalue()


@pytest.fixture
def source(northwind: Handle) -> Source:
    """A source with secrets, sealed under SECRET_KEY."""
    source = Source(handle=northwind, kind="x_api", name="northwind")
    source.secrets = {"access_token": "a", "refresh_token": "r"}
    source.save()
    return source


@given(st.text())
def test_it_opens_what_it_sealed(text: str) -> None:
    assert unseal(seal(text)) == text


def test_it_opens_what_was_sealed_before_there_was_a_key(settings: SettingsWrapper) -> None:
    assert unseal(FORMER) == "sealed before"
    settings.SEALING_KEY = FIRST
    assert unseal(FORMER) == "sealed before"


@pytest.mark.django_db
def test_it_opens_old_seals_under_a_new_key(source: Source, settings: SettingsWrapper) -> None:
    settings.SEALING_KEY = FIRST
    assert source.secrets["access_token"] == "a"
    sealed = seal("under the first")
    settings.SEALING_KEY, settings.SEALING_KEY_FALLBACKS = SECOND, [FIRST]
    assert unseal(sealed) == "under the first"
    settings.SEALING_KEY_FALLBACKS = []
    with pytest.raises(BrokenSealError):
        unseal(sealed)


@pytest.mark.django_db
def test_it_seals_everything_anew_once(source: Source, northwind: Handle, settings: SettingsWrapper) -> None:
    token, _ = issue_token(northwind.team, "CRM", ["read"], [northwind], oauth=True)
    keys = dict(token.oauth.keys)
    Source.objects.create(handle=northwind, kind="api", name="without secrets")
    settings.SEALING_KEY = FIRST
    assert reseals() == "3 encrypted anew, 0 under the newest key already.\n"
    assert reseals() == "0 encrypted anew, 3 under the newest key already.\n"
    # The former key is no longer needed.
    settings.SECRET_KEY = "another secret key"
    assert Source.objects.get(pk=source.pk).secrets == {"access_token": "a", "refresh_token": "r"}
    assert OAuthCredentials.objects.get().keys == keys
    settings.SEALING_KEY, settings.SEALING_KEY_FALLBACKS = SECOND, [FIRST]
    assert reseals() == "3 encrypted anew, 0 under the newest key already.\n"
    settings.SEALING_KEY_FALLBACKS = []
    assert OAuthCredentials.objects.get().keys == keys


@pytest.mark.django_db
def test_it_renews_more_rows_than_it_holds_at_once(northwind: Handle, settings: SettingsWrapper) -> None:
    sealed = seal('{"token": "t"}')
    Source.objects.bulk_create(
        Source(handle=northwind, kind="x_api", name=str(number), sealed=sealed) for number in range(450)
    )
    settings.SEALING_KEY = FIRST
    assert reseals().startswith("450 encrypted anew")


@pytest.mark.django_db
def test_it_names_what_no_key_opens_and_renews_the_rest(
    source: Source, northwind: Handle, settings: SettingsWrapper
) -> None:
    lost = Source.objects.create(handle=northwind, kind="x_api", name="lost", sealed="not a seal")
    settings.SEALING_KEY = FIRST
    with pytest.raises(CommandError, match=f"1 cannot be opened .* metrics.Source {lost.pk} sealed"):
        reseals()
    settings.SECRET_KEY = "another secret key"
    assert Source.objects.get(pk=source.pk).secrets["access_token"] == "a"


@pytest.mark.parametrize("name", ["SEALING_KEY", "SEALING_KEY_FALLBACKS"])
def test_it_refuses_a_key_that_can_be_guessed(name: str) -> None:
    root = Path(__file__).resolve().parents[2]
    told = subprocess.run(
        [sys.executable, "-c", "import insightstrack_site.settings"],
        cwd=root, env={**os.environ, name: "short"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode != 0
    assert "at least 32 random characters" in told.stderr
