"""Safe by default: headers, cookies, and no secret where it does not belong."""

from __future__ import annotations

import io
import json
import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from asgiref.testing import ApplicationCommunicator
from django.test import Client
from pytest_django import Settings

from insightstrack_site.asgi import application
from insightstrack_site.settings import redis_database

SHOW = """
import json, django
django.setup()
from django.conf import settings
names = ("DEBUG", "SECRET_KEY", "ALLOWED_HOSTS", "SECURE_HSTS_SECONDS", "SECURE_PROXY_SSL_HEADER",
         "SESSION_COOKIE_SECURE", "SESSION_COOKIE_HTTPONLY", "CSRF_COOKIE_SECURE")
print(json.dumps({name: getattr(settings, name) for name in names}))
"""


def settings_with(**variables: str) -> dict[str, object]:
    """The settings of a fresh process with these variables; an empty one is unset."""
    environment = {**os.environ, **variables}
    told = subprocess.run(
        [sys.executable, "-c", SHOW],
        env={name: value for name, value in environment.items() if value},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, object] = json.loads(told.stdout)
    return found


@pytest.mark.django_db
def test_it_allows_no_inline_script(client: Client) -> None:
    policy = client.get("/accounts/login/").headers["Content-Security-Policy"]
    directives = {part.split()[0]: part.split()[1:] for part in policy.split(";") if part.strip()}
    assert directives["script-src"] == ["'self'"]
    assert directives["object-src"] == ["'none'"]
    assert directives["frame-ancestors"] == ["'none'"]
    assert "'unsafe-eval'" not in policy


@pytest.mark.django_db
def test_it_sends_no_page_into_frames_and_no_referrer_abroad(client: Client) -> None:
    headers = client.get("/accounts/login/").headers
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


async def test_it_answers_head_with_headers_only() -> None:
    # Daphne would send all but the first piece of a body, which a client takes for the beginning of the next answer.
    answers = {}
    for method in ("GET", "HEAD"):
        scope = {"type": "http", "http_version": "1.1", "method": method, "path": "/healthz", "query_string": b""}
        asked = ApplicationCommunicator(application, scope | {"headers": [(b"host", b"localhost")]})
        await asked.send_input({"type": "http.request", "body": b""})
        start, content = await asked.receive_output(10), await asked.receive_output(10)
        await asked.wait(10)
        answers[method] = (start["status"], dict(start["headers"])[b"Content-Length"], content["body"])
    assert answers["GET"] == (200, b"15", b'{"alive": true}')
    assert answers["HEAD"] == (200, b"15", b"")


@pytest.mark.django_db
@pytest.mark.parametrize("link", ["/settings/invitations/{}/", "/accounts/password/reset/key/{}/"])
def test_it_logs_no_link_that_opens_a_door(link: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (console,) = (handler for handler in logging.getLogger().handlers if type(handler) is logging.StreamHandler)
    monkeypatch.setattr(console, "stream", log := io.StringIO())
    # Refused for want of a forgery token, while the link itself may be as good as new.
    answer = Client(enforce_csrf_checks=True).post(link.format("1-s3cr3t-s3cr3t"))
    assert answer.status_code == 403
    assert "Forbidden" in log.getvalue()
    assert link.partition("{")[0] in log.getvalue()
    assert "s3cr3t" not in log.getvalue()


def test_it_is_safe_without_any_setting() -> None:
    found = settings_with(TRUSTED_PROXY="", ALLOWED_HOSTS="")
    assert found["DEBUG"] is False
    assert found["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert found["SESSION_COOKIE_HTTPONLY"] is True
    # Without HTTPS, a secure cookie would lock everybody out of http://localhost.
    assert found["SESSION_COOKIE_SECURE"] is False
    assert found["SECURE_PROXY_SSL_HEADER"] is None


def test_it_secures_cookies_behind_a_trusted_proxy() -> None:
    found = settings_with(TRUSTED_PROXY="1", PUBLIC_URL="https://stats.example")
    assert found["SESSION_COOKIE_SECURE"] is True
    assert found["CSRF_COOKIE_SECURE"] is True
    assert isinstance(found["SECURE_HSTS_SECONDS"], int)
    assert found["SECURE_HSTS_SECONDS"] > 0


@pytest.mark.parametrize(
    ("url", "number"),
    [
        ("redis://127.0.0.1:1", "0"),
        ("redis://:word@127.0.0.1:1/7", "7"),
        ("unix:///run/redis.sock?db=12", "12"),
        ("unix:///run/redis.sock", "0"),
    ],
)
def test_it_knows_the_database_of_its_redis(url: str, number: str) -> None:
    assert redis_database(url) == number


def test_it_hears_nothing_of_another_database_of_its_redis(settings: Settings) -> None:
    number = redis_database(settings.REDIS_URL)
    assert settings.CHANNEL_LAYERS["default"]["CONFIG"]["prefix"] == f"asgi{number}"


def test_it_makes_one_secret_key_for_its_owner_only(tmp_path: Path) -> None:
    first = settings_with(SECRET_KEY="", VAR_DIR=str(tmp_path))["SECRET_KEY"]
    again = settings_with(SECRET_KEY="", VAR_DIR=str(tmp_path))["SECRET_KEY"]
    assert first == again
    assert len(str(first)) >= 50
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600
