"""An X and an InsightsTrack stream on this machine, and @northwind's connections to them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from metrics.ingest import x_account
from metrics.ingest.connectors.x_polling import client
from metrics.ingest.x_account import Account, Tokens
from metrics.models import Source
from tests import x_oauth, x_server
from tests.ingest.bench import Bench
from tests.ingest.connectors.upstream import Upstream
from tests.x_oauth import Grant
from tests.x_server import X

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

    from accounts.models import Handle, User


@pytest.fixture
def x(settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch) -> Iterator[X]:
    """An X that the settings name; second tries come at once."""
    monkeypatch.setattr(client, "SECOND_TRY_SECONDS", 0.0)
    with x_server.running() as x:
        settings.X_API_URL = x.url
        settings.X_CLIENT_ID, settings.X_CLIENT_SECRET = x_oauth.CLIENT_ID, x_oauth.CLIENT_SECRET
        yield x


@pytest.fixture
def bench(x: X, alice: User, northwind: Handle) -> Bench:
    """A shift for @northwind's connection."""
    grant = Grant(x.oauth.user, "tweet.read users.read offline.access")
    x.oauth.grants.append(grant)
    told = grant.renew()
    tokens = Tokens(
        told["access_token"], told["refresh_token"], int(datetime.now(UTC).timestamp()) + told["expires_in"]
    )
    return Bench(x_account.connect(northwind, Account(x_server.USER_ID, x_server.USERNAME), tokens, alice))


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A server that speaks the stream's protocol."""
    with Upstream() as server:
        yield server


@pytest.fixture
def streamed(northwind: Handle, upstream: Upstream) -> Source:
    """A stream of all Tweets of @northwind."""
    made = Source(handle=northwind, kind="insightstrack", name="upstream")
    made.settings = {"url": upstream.url, "tweets": "all"}
    made.secrets = {"token": "a-secret-token"}
    made.save()
    return made
