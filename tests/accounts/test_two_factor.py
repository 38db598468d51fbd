"""Two-factor sign-in: turned on with an app, asked for, and recovered from a lost phone."""

from __future__ import annotations

import time

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.test import Client

from accounts.models import User
from tests.accounts.conftest import browser
from tests.cast import PASSWORD

pytestmark = pytest.mark.django_db


def _code(secret: str) -> str:
    counter = next(iter(yield_hotp_counters_from_time()))
    return format_hotp_value(hotp_value(secret, counter))


def _signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def _first_step(user: User) -> Client:
    client = browser()
    answer = client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
    assert answer["Location"].startswith("/accounts/2fa/authenticate/")
    return client


@pytest.fixture
def protected(alice: User) -> str:
    """Turns two-factor on as alice would; gives the app's secret."""
    client = browser(alice)
    activate = "/accounts/2fa/totp/activate/"
    assert client.get(activate)["Location"].startswith("/accounts/reauthenticate/")
    confirmed = client.post(f"/accounts/reauthenticate/?next={activate}", {"password": PASSWORD})
    assert confirmed["Location"] == activate
    page = client.get(activate)
    assert b"data:image/svg+xml;base64," in page.content
    secret = str(page.context["form"].secret)
    assert client.post(activate, {"code": "000000"}).status_code == 200
    assert client.post(activate, {"code": _code(secret)})["Location"] == "/accounts/2fa/recovery-codes/"
    assert client.get("/accounts/2fa/recovery-codes/").status_code == 200
    for page_of_codes in ("", "recovery-codes/generate/", "totp/deactivate/"):
        assert client.get(f"/accounts/2fa/{page_of_codes}").status_code == 200
    # The app's code just used must not open the door a second time, so each test begins with a later one.
    from django.core.cache import cache

    cache.clear()
    return secret


def test_it_asks_for_the_code_after_the_password(alice: User, protected: str) -> None:
    client = _first_step(alice)
    assert not _signed_in(client)
    assert client.get("/accounts/2fa/authenticate/").status_code == 200
    assert client.post("/accounts/2fa/authenticate/", {"code": "123"}).status_code == 200
    assert not _signed_in(client)
    assert client.post("/accounts/2fa/authenticate/", {"code": _code(protected)})["Location"] == "/"
    assert _signed_in(client)


def test_it_takes_a_code_once(alice: User, protected: str) -> None:
    code = _code(protected)
    assert _first_step(alice).post("/accounts/2fa/authenticate/", {"code": code}).status_code == 302
    second = _first_step(alice)
    assert second.post("/accounts/2fa/authenticate/", {"code": code}).status_code == 200
    assert not _signed_in(second)


def test_it_takes_a_recovery_code_once(alice: User, protected: str) -> None:
    stored = Authenticator.objects.get(user=alice, type=Authenticator.Type.RECOVERY_CODES)
    code = stored.wrap().get_unused_codes()[0]
    for expected in (True, False):
        client = _first_step(alice)
        client.post("/accounts/2fa/authenticate/", {"code": code})
        assert _signed_in(client) is expected


def test_it_stops_guessing_codes(alice: User, protected: str) -> None:
    client = _first_step(alice)
    for _ in range(6):
        client.post("/accounts/2fa/authenticate/", {"code": "000000"})
    answer = client.post("/accounts/2fa/authenticate/", {"code": _code(protected)})
    assert answer.status_code == 200
    assert "Too many" in answer.content.decode()
    assert not _signed_in(client)


def test_it_asks_again_before_turning_two_factor_off(alice: User, protected: str) -> None:
    client = browser(alice)
    answer = client.post("/accounts/2fa/totp/deactivate/")
    assert "reauthenticate" in answer["Location"]
    assert Authenticator.objects.filter(user=alice).exists()


def test_it_reads_the_clock_of_the_machine() -> None:
    """The helper above follows allauth's internals; this keeps it honest against RFC 6238's steps."""
    counters = list(yield_hotp_counters_from_time())
    assert abs(counters[0] - time.time() // 30) <= 1
