"""Tokens: what opens, what does not, and how soon a revoked one stops."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts.credentials import MISSING, CredentialCache, bearer, issue_token, load_credential
from accounts.models import ApiToken, Handle, Scope, User

pytestmark = pytest.mark.django_db


def test_it_opens_the_covered_handles_with_the_granted_scopes(northwind: Handle, ingest_token: str) -> None:
    credential = load_credential(ingest_token)
    assert credential is not None
    assert credential.scopes == {"ingest"}
    assert credential.handles == {"northwind": northwind.pk}
    assert credential.team_id == northwind.team_id


def test_it_names_handles_in_lower_case(northwind: Handle) -> None:
    northwind.username = "NorthWind"
    northwind.save()
    credential = load_credential(issue_token(northwind.team, "t", ["read"], [northwind])[1])
    assert credential is not None
    assert credential.handles == {"northwind": northwind.pk}


def test_it_keeps_no_secret_anywhere_in_the_row(token: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT t::text FROM accounts_apitoken t")
        rows = " ".join(row[0] for row in cursor.fetchall())
    assert token not in rows
    assert token[12:] not in rows
    assert token[:11] in rows


def test_it_shows_no_secret_in_representations(token: str) -> None:
    stored = ApiToken.objects.get()
    cache = CredentialCache()
    cache.put(token, load_credential(token))
    shown = f"{stored!r} {stored} {load_credential(token)!r} {cache!r} {vars(cache)!r}"
    assert token[12:] not in shown
    assert stored.digest not in shown


def test_it_makes_secrets_of_the_documented_shape(token: str) -> None:
    prefix, rest = token[:11], token[11:]
    assert prefix.startswith("it_")
    assert rest[0] == "_"
    assert len(rest) == 44
    assert ApiToken.objects.get().prefix == prefix


@pytest.mark.parametrize("secret", ["", "it_", "it_00000000_" + "a" * 43, "\0", "☕" * 55, "it_0000000g_" + "a" * 43])
def test_it_refuses_unknown_secrets(secret: str, token: str) -> None:
    assert load_credential(secret) is None


def test_it_refuses_an_expired_token(northwind: Handle) -> None:
    past = timezone.now() - timedelta(seconds=1)
    assert load_credential(issue_token(northwind.team, "t", ["read"], [northwind], past)[1]) is None


def test_it_refuses_a_revoked_token(token: str) -> None:
    ApiToken.objects.update(revoked_at=timezone.now())
    assert load_credential(token) is None


def test_it_leaves_out_a_handle_that_moved_to_another_team(northwind: Handle, token: str, charlie: User) -> None:
    northwind.team = charlie.teams.get()
    northwind.save()
    credential = load_credential(token)
    assert credential is not None
    assert credential.handles == {}


def test_it_takes_two_queries_and_notes_use_once_a_minute(token: str, django_assert_num_queries) -> None:
    with django_assert_num_queries(3):
        load_credential(token)
    first_use = ApiToken.objects.get().last_used_at
    assert first_use is not None
    with django_assert_num_queries(2):
        load_credential(token)
    assert ApiToken.objects.get().last_used_at == first_use
    ApiToken.objects.update(last_used_at=first_use - timedelta(minutes=1))
    load_credential(token)
    assert ApiToken.objects.get().last_used_at > first_use


@pytest.mark.parametrize("scopes", [[], ["admin"], ["read", "admin"]])
def test_it_refuses_to_issue_without_known_scopes(northwind: Handle, scopes: list[str]) -> None:
    with pytest.raises(ValueError, match="scopes"):
        issue_token(northwind.team, "t", scopes, [northwind])


def test_it_refuses_to_issue_for_no_handle_or_a_strangers(northwind: Handle, acme: Handle) -> None:
    for handles in ([], [acme], [northwind, acme]):
        with pytest.raises(ValueError, match="handles"):
            issue_token(northwind.team, "t", [Scope.READ], handles)
    assert not ApiToken.objects.exists()


class TestCache:
    """`CredentialCache`, with a clock of its own."""

    now = 1000.0

    def clock(self) -> float:
        return self.now

    def test_it_forgets_after_its_time_so_that_revocation_works(self, token: str) -> None:
        cache = CredentialCache(ttl=5.0, clock=self.clock)
        assert cache.get(token) is MISSING
        credential = load_credential(token)
        cache.put(token, credential)
        ApiToken.objects.update(revoked_at=timezone.now())
        self.now += 4.99
        assert cache.get(token) == credential
        self.now += 0.01
        assert cache.get(token) is MISSING
        cache.put(token, load_credential(token))
        assert cache.get(token) is None

    def test_it_drops_within_five_seconds_by_default(self, token: str) -> None:
        cache = CredentialCache(clock=self.clock)
        cache.put(token, load_credential(token))
        self.now += 4.5
        assert cache.get(token) is MISSING

    def test_it_makes_room_by_dropping_the_oldest(self) -> None:
        cache = CredentialCache(size=2, clock=self.clock)
        for secret in ("a", "b", "a", "c"):
            cache.put(secret, None)
        assert cache.get("b") is MISSING
        assert cache.get("a") is None
        assert cache.get("c") is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Bearer abc", "abc"),
        (b"bearer  abc ", "abc"),
        ("BEARER a.b-c_d~e", "a.b-c_d~e"),
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic abc", None),
        ("Bearer a b", None),
        ("Bearer a\nb", None),
        (b"Bearer \xff\xfe", None),
        ("Bearer " + "a" * 201, None),
    ],
)
def test_it_reads_authorization_headers(header: str | bytes | None, expected: str | None) -> None:
    assert bearer(header) == expected


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_it_survives_any_header(header: str | bytes) -> None:
    assert bearer(header) is None or str(bearer(header)).isascii()
