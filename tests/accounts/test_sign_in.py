"""Signing in and out: lock-out, where one lands, and what strangers can learn."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts.models import User
from tests.accounts.conftest import browser
from tests.cast import PASSWORD

pytestmark = pytest.mark.django_db
LOGIN = "/accounts/login/"


def _sign_in(client: Client, email: str, password: str = PASSWORD, **more: str):
    return client.post(LOGIN, {"login": email, "password": password, **more})


def test_it_signs_in_whatever_the_case_of_the_address(alice: User) -> None:
    client = browser()
    answer = _sign_in(client, "Alice@Northwind.Example")
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert client.session["_auth_user_id"] == str(alice.pk)


def test_it_gives_a_fresh_session_on_sign_in(alice: User) -> None:
    client = browser()
    client.get("/settings/")
    client.session.save()
    planted = client.session.session_key
    client.cookies["sessionid"] = planted
    _sign_in(client, alice.email)
    assert client.session.session_key != planted


@pytest.mark.parametrize(
    ("wanted", "landed"),
    [
        ("/settings/tokens/", "/settings/tokens/"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_it_returns_only_to_pages_of_this_site(alice: User, wanted: str, landed: str) -> None:
    assert _sign_in(browser(), alice.email, next=wanted)["Location"] == landed


def test_it_answers_unknown_people_as_it_does_wrong_passwords(alice: User) -> None:
    pages = []
    for email in (alice.email, "nobody@northwind.example"):
        page = _sign_in(browser(), email, "wrong").content.decode().replace(email, "")
        pages.append(re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", page))
    assert pages[0] == pages[1]
    assert "not correct" in pages[0]


def test_it_refuses_the_right_password_after_eight_wrong_ones(alice: User, bob: User) -> None:
    for attempt in range(8):
        answer = _sign_in(browser(), alice.email, "wrong")
        assert answer.status_code == (200 if attempt < 7 else 429)
    client = browser()
    answer = _sign_in(client, "ALICE@northwind.example ")
    assert answer.status_code == 429
    assert "Too many wrong passwords" in answer.content.decode()
    assert "15 minutes" in answer.content.decode()
    assert "_auth_user_id" not in client.session
    assert _sign_in(browser(), bob.email).status_code == 302, "others are not locked out"


def test_it_lets_the_person_in_again_after_a_quarter_of_an_hour(alice: User) -> None:
    for _ in range(9):
        _sign_in(browser(), alice.email, "wrong")
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=16))
    assert _sign_in(browser(), alice.email).status_code == 302


def test_it_locks_out_for_unknown_people_alike(db: None) -> None:
    answers = [_sign_in(browser(), "nobody@northwind.example", "wrong").status_code for _ in range(9)]
    assert answers == [200] * 7 + [429] * 2


def test_it_forgets_wrong_passwords_after_a_right_one(alice: User) -> None:
    for _ in range(2):
        for _ in range(7):
            assert _sign_in(browser(), alice.email, "wrong").status_code == 200
        assert _sign_in(browser(), alice.email).status_code == 302


def test_it_keeps_no_password_of_a_failed_attempt(alice: User) -> None:
    _sign_in(browser(), alice.email, "a secret slip")
    attempt = AccessAttempt.objects.get()
    assert attempt.username == alice.email
    assert "a secret slip" not in str(vars(attempt))


def test_it_does_not_believe_forwarded_addresses_without_a_trusted_proxy(alice: User, settings) -> None:
    def wrong_password() -> str:
        AccessAttempt.objects.all().delete()
        form = {"login": alice.email, "password": "wrong"}
        browser().post(LOGIN, form, headers={"x-forwarded-for": "203.0.113.9, 198.51.100.7"})
        return str(AccessAttempt.objects.get().ip_address)

    assert wrong_password() == "127.0.0.1"
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    assert wrong_password() == "198.51.100.7"


def test_it_refuses_closed_accounts(alice: User) -> None:
    User.objects.update(is_active=False)
    client = browser()
    assert _sign_in(client, alice.email)["Location"] == "/accounts/inactive/"
    assert "_auth_user_id" not in client.session
    assert "closed" in client.get("/accounts/inactive/").content.decode()


def test_it_signs_out_by_post_only(alice: User) -> None:
    client = browser(alice)
    assert client.get("/accounts/logout/").status_code == 200
    assert "_auth_user_id" in client.session
    assert client.post("/accounts/logout/").status_code == 302
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("page", [LOGIN, "/accounts/logout/", "/accounts/password/change/"])
def test_it_refuses_forged_posts(page: str, alice: User) -> None:
    client = browser(alice)
    client.handler.enforce_csrf_checks = True
    assert client.post(page, {}).status_code == 403


def test_it_offers_no_sign_up(alice: User) -> None:
    assert "signup" not in browser().get(LOGIN).content.decode()
    form = {"email": "eve@example.com", "password1": PASSWORD, "password2": PASSWORD}
    for answer in (browser().get("/accounts/signup/"), browser().post("/accounts/signup/", form)):
        assert "by invitation" in answer.content.decode()
    assert User.objects.get() == alice


def test_it_changes_the_password_and_ends_other_sessions(alice: User) -> None:
    here, elsewhere = browser(alice), browser(alice)
    form = {
        "oldpassword": PASSWORD,
        "password1": "quite another phrase",
        "password2": "quite another phrase",
    }
    assert here.post("/accounts/password/change/", form)["Location"] == "/settings/"
    assert here.get("/settings/").status_code == 200
    assert elsewhere.get("/settings/").status_code == 302
    assert _sign_in(browser(), alice.email, "quite another phrase").status_code == 302


def test_it_lists_sessions_and_ends_the_others(alice: User) -> None:
    here, elsewhere = browser(), browser()
    _sign_in(here, alice.email)
    _sign_in(elsewhere, alice.email)
    assert "This one" in here.get("/accounts/sessions/").content.decode()
    assert here.post("/accounts/sessions/").status_code == 302
    assert here.get("/settings/").status_code == 200
    assert elsewhere.get("/settings/").status_code == 302


def test_it_hides_password_reset_where_nothing_can_be_mailed(alice: User, settings) -> None:
    assert settings.CAN_MAIL is False
    assert "password/reset" not in browser().get(LOGIN).content.decode()
    assert browser().get("/accounts/password/reset/").status_code == 404
    assert browser().post("/accounts/password/reset/", {"email": alice.email}).status_code == 404


@pytest.mark.parametrize("page", ["/accounts/password/change/", "/accounts/reauthenticate/"])
def test_it_leads_nobody_to_a_reset_that_is_not_there(page: str, alice: User) -> None:
    shown = browser(alice).get(page).content.decode()
    assert "/accounts/password/reset/" not in shown
    assert "Forgotten?" in shown


def test_it_mails_a_link_that_sets_a_password_once(alice: User, settings) -> None:
    settings.CAN_MAIL = True
    client = browser()
    assert "password/reset" in client.get(LOGIN).content.decode()
    answer = client.post("/accounts/password/reset/", {"email": alice.email})
    assert answer["Location"] == "/accounts/password/reset/done/"
    link = re.search(r"http://testserver(/accounts/password/reset/key/\S+)", str(mail.outbox[0].body))
    assert link
    form_page = client.get(link[1])["Location"]
    assert client.get(form_page).status_code == 200
    form = {"password1": "quite another phrase", "password2": "quite another phrase"}
    assert client.post(form_page, form).status_code == 302
    assert _sign_in(browser(), alice.email, "quite another phrase").status_code == 302
    again = browser()
    assert "no longer works" in again.get(link[1], follow=True).content.decode()


def test_it_tells_nobody_on_screen_who_has_an_account(alice: User, settings) -> None:
    settings.CAN_MAIL = True
    answers = [
        browser().post("/accounts/password/reset/", {"email": email})
        for email in (alice.email, "nobody@northwind.example")
    ]
    assert answers[0]["Location"] == answers[1]["Location"]
    assert len(mail.outbox) == 2, "both take as long as a mail"


def test_it_signs_admins_in_through_the_one_page(alice: User) -> None:
    answer = browser().get("/admin/login/")
    assert answer["Location"].startswith(LOGIN)
    assert browser(alice).get("/admin/", follow=True).status_code == 403
