"""Signed-in browsers for the cast, and cheap pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.test import Client

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

    from accounts.models import User


@pytest.fixture(autouse=True)
def plain_pages(settings: SettingsWrapper) -> None:
    """Nothing was collected, so static files keep their plain names; and passwords are hashed quickly."""
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.MD5PasswordHasher",
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    ]


@pytest.fixture(autouse=True)
def fresh_limits() -> None:
    """Rate limits are counted in the cache, which outlives a test."""
    from django.core.cache import cache

    cache.clear()


def browser(user: User | None = None) -> Client:
    """A browser that checks nothing for forgery, signed in as this person."""
    client = Client()
    if user is not None:
        client.force_login(user)
    return client
