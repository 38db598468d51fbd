"""The people of every test: alice owns @northwind, bob is her team-mate and only looks, charlie owns @acme.

Fixtures, found in any test through `tests/conftest.py`. All three sign in with `PASSWORD`.
"""

from __future__ import annotations

from functools import cache

import pytest
from django.contrib.auth.hashers import make_password

from accounts.credentials import issue_token
from accounts.models import Handle, Membership, Role, Scope, Team, User

PASSWORD = "a long and private phrase"


@cache
def _password_hash() -> str:
    """Hashed once: it takes a third of a second by design."""
    return make_password(PASSWORD)


def _person(email: str, first_name: str, team: str, role: Role) -> User:
    user: User = User.objects.create(email=email, first_name=first_name, password=_password_hash())
    joined, _ = Team.objects.get_or_create(slug=team.lower(), defaults={"name": team})
    Membership.objects.create(user=user, team=joined, role=role)
    return user


@pytest.fixture
def alice(db: None) -> User:
    """The owner of team Northwind."""
    return _person("alice@northwind.example", "Alice", "Northwind", Role.OWNER)


@pytest.fixture
def bob(alice: User) -> User:
    """A viewer in alice's team."""
    return _person("bob@northwind.example", "Bob", "Northwind", Role.VIEWER)


@pytest.fixture
def charlie(db: None) -> User:
    """The owner of another team, who must see nothing of alice's."""
    return _person("charlie@acme.example", "Charlie", "Acme", Role.OWNER)


@pytest.fixture
def northwind(alice: User) -> Handle:
    """Alice's handle, in Copenhagen's time zone."""
    return Handle.objects.create(
        team=alice.teams.get(),
        username="northwind",
        display_name="Northwind Coffee",
        time_zone="Europe/Copenhagen",
    )


@pytest.fixture
def acme(charlie: User) -> Handle:
    """Charlie's handle."""
    return Handle.objects.create(team=charlie.teams.get(), username="acme", display_name="Acme")


def _secret(handle: Handle, *scopes: Scope) -> str:
    return issue_token(handle.team, " and ".join(scopes), scopes, [handle])[1]


@pytest.fixture
def ingest_token(northwind: Handle) -> str:
    """The secret of a token that may send @northwind's events."""
    return _secret(northwind, Scope.INGEST)


@pytest.fixture
def read_token(northwind: Handle) -> str:
    """The secret of a token that may read @northwind's figures."""
    return _secret(northwind, Scope.READ)


@pytest.fixture
def token(northwind: Handle) -> str:
    """The secret of a token that may do both for @northwind."""
    return _secret(northwind, Scope.INGEST, Scope.READ)
