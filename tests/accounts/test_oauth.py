"""Callers of the Engagement API: what an OAuth 1.0a signature or a bearer token opens, and what does not."""

from __future__ import annotations

import json
import time
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from oauthlib.oauth1 import SIGNATURE_HMAC_SHA256, SIGNATURE_PLAINTEXT, SIGNATURE_TYPE_QUERY, Client

from accounts.credentials import issue_token
from accounts.models import ApiToken, Handle, OAuthCredentials, Scope, Team
from accounts.oauth import AuthFailure, caller
from accounts.sealing import BrokenSealError, seal, unseal

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

pytestmark = pytest.mark.django_db
ADDRESS = "http://localhost:8000/insights/engagement/totals"
BODY = '{"tweet_ids": ["20"], "engagement_types": ["favorites"], "groupings": {}}'
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


class Signer:
    """A client that holds a token's OAuth credentials."""

    def __init__(self, handle: Handle, **changed: str) -> None:
        self.token, _ = issue_token(handle.team, "CRM", ["read"], [handle], oauth=True)
        self.keys = self.token.oauth.keys | changed

    def signs(self, address: str = ADDRESS, method: str = "POST", **options: Any) -> str:
        """The Authorization header for a request."""
        content, body = options.pop("content", JSON), options.pop("body", BODY)
        client = Client(
            self.keys["consumer_key"],
            self.keys["consumer_secret"],
            self.keys["access_token"],
            self.keys["access_token_secret"],
            **options,
        )
        signed_body = body if content == FORM else None
        headers = {"Content-Type": content} if signed_body else {}
        return str(client.sign(address, method, signed_body, headers)[1]["Authorization"])


@pytest.fixture
def signer(northwind: Handle) -> Signer:
    """A client of @northwind's."""
    return Signer(northwind)


def asked(header: str, address: str = ADDRESS, method: str = "POST", **more: Any) -> HttpRequest:
    """The request as Django sees it."""
    scheme, _, rest = address.partition("://")
    host, _, path = rest.partition("/")
    body, content = more.pop("body", BODY), more.pop("content", JSON)
    known = {"HTTP_HOST": host, "HTTP_AUTHORIZATION": header, "secure": scheme == "https"} | more
    return RequestFactory().generic(method, f"/{path}", body if method == "POST" else "", content, **known)


def reason(request: HttpRequest) -> str:
    """Why nobody is behind the request."""
    with pytest.raises(AuthFailure) as failure:
        caller(request)
    return failure.value.reason


@pytest.mark.parametrize(
    "address", [ADDRESS, "http://127.0.0.1:8765/a%20b/", "http://localhost/x", "https://localhost/x"]
)
def test_it_knows_a_signer_on_any_host_and_port(signer: Signer, northwind: Handle, address: str) -> None:
    credential = caller(asked(signer.signs(address), address))
    assert credential.token_id == signer.token.pk
    assert credential.team_id == northwind.team_id
    assert credential.handles == {"northwind": northwind.pk}
    signer.token.refresh_from_db()
    assert signer.token.last_used_at is not None


def test_it_reads_queries_and_forms_as_part_of_what_is_signed(signer: Signer) -> None:
    address = "http://localhost:8000/2/tweets/analytics?ids=1,2&start_time=2025-01-01T00%3A00%3A00Z&empty=&b=%C3%A6"
    assert caller(asked(signer.signs(address, "GET"), address, "GET"))
    header = signer.signs(content=FORM, body="a=1&b=2")
    assert reason(asked(header, content=FORM, body="a=1&b=3")) == "Invalid signature"
    assert caller(asked(header, content=FORM, body="a=1&b=2"))


def test_it_refuses_what_was_changed_on_the_way(signer: Signer) -> None:
    address = ADDRESS + "?ids=1"
    header = signer.signs(address)
    assert reason(asked(header, ADDRESS + "?ids=2")) == "Invalid signature"
    assert reason(asked(header, ADDRESS)) == "Invalid signature"
    assert reason(asked(header, address.replace("totals", "28hr"))) == "Invalid signature"
    assert reason(asked(header, address.replace("localhost", "127.0.0.1"))) == "Invalid signature"
    assert reason(asked(header, address.replace("8000", "8001"))) == "Invalid signature"
    assert reason(asked(header, address.replace("http:", "https:"))) == "Invalid signature"
    assert reason(asked(header, address, "GET")) == "Invalid signature"
    assert caller(asked(header, address))


def test_it_hears_a_request_once(signer: Signer) -> None:
    header = signer.signs()
    assert caller(asked(header))
    assert reason(asked(header)) == "Nonce already used"
    assert caller(asked(signer.signs()))


def test_it_keeps_nonces_of_different_signers_apart(signer: Signer, acme: Handle) -> None:
    now, other = str(int(time.time())), Signer(acme)
    assert caller(asked(signer.signs(nonce="same", timestamp=now)))
    assert caller(asked(other.signs(nonce="same", timestamp=now)))


@pytest.mark.parametrize(("seconds", "is_heard"), [(-660, False), (-540, True), (540, True), (660, False)])
def test_it_hears_what_was_signed_within_ten_minutes(signer: Signer, seconds: int, is_heard: bool) -> None:
    request = asked(signer.signs(timestamp=str(int(time.time()) + seconds)))
    if is_heard:
        assert caller(request)
    else:
        assert reason(request) == "Timestamp out of bounds"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"access_token": "a" * 40}, "Access token not found"),
        ({"access_token": "a\x00b"}, "The OAuth parameters are incomplete or unknown"),
        ({"consumer_key": "a" * 25}, "Consumer key not found"),
        ({"consumer_secret": "wrong"}, "Invalid signature"),
        ({"access_token_secret": "wrong"}, "Invalid signature"),
        ({"access_token_secret": ""}, "Invalid signature"),
    ],
)
def test_it_needs_all_four_values(northwind: Handle, changed: dict[str, str], why: str) -> None:
    signer = Signer(northwind, **changed)
    assert reason(asked(signer.signs())) == why
    signer.token.refresh_from_db()
    assert signer.token.last_used_at is None


def test_it_mixes_no_two_tokens(signer: Signer, acme: Handle) -> None:
    other = Signer(acme)
    signer.keys |= {key: other.keys[key] for key in ("consumer_key", "consumer_secret")}
    assert reason(asked(signer.signs())) == "Consumer key not found"


@pytest.mark.parametrize("method", [SIGNATURE_PLAINTEXT, SIGNATURE_HMAC_SHA256])
def test_it_takes_one_method_of_signing(signer: Signer, method: str) -> None:
    why = "The OAuth parameters are incomplete or unknown"
    assert reason(asked(signer.signs(signature_method=method))) == why


def test_it_takes_signatures_in_the_header_only(signer: Signer) -> None:
    client = Client(*signer.keys.values(), signature_type=SIGNATURE_TYPE_QUERY)
    address, _, _ = client.sign(ADDRESS, "POST")
    assert "Authorization header" in reason(asked("", address))
    assert reason(asked(signer.signs(), address)) == "The OAuth parameters are incomplete or unknown"


def test_it_ends_with_its_token(signer: Signer) -> None:
    ApiToken.objects.update(expires_at=timezone.now())
    assert reason(asked(signer.signs())) == "Access token not found"
    ApiToken.objects.update(expires_at=None)
    assert caller(asked(signer.signs()))
    ApiToken.objects.update(revoked_at=timezone.now())
    assert reason(asked(signer.signs())) == "Access token not found"


def test_it_reaches_what_its_token_reaches(signer: Signer, northwind: Handle, acme: Handle) -> None:
    assert caller(asked(signer.signs())).handles == {"northwind": northwind.pk}
    assert caller(asked(Signer(acme).signs())).handles == {"acme": acme.pk}
    northwind.team = Team.objects.create(name="Elsewhere", slug="elsewhere")
    northwind.save()
    assert caller(asked(signer.signs())).handles == {}


def test_it_takes_bearer_tokens_that_may_read(northwind: Handle, read_token: str, ingest_token: str) -> None:
    assert caller(asked(f"Bearer {read_token}")).handles == {"northwind": northwind.pk}
    assert reason(asked(f"Bearer {ingest_token}")) == "The token lacks the scope “read”"
    assert reason(asked("Bearer it_0")) == "Access token not found"
    assert "Authorization header" in reason(asked("Basic YTpi"))
    ApiToken.objects.update(revoked_at=timezone.now())
    assert reason(asked(f"Bearer {read_token}")) == "Access token not found"


def test_it_knows_signers_behind_an_https_proxy(signer: Signer, settings: SettingsWrapper) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.TRUSTED_PROXY = True
    settings.PUBLIC_URL = "https://insights.example:8443"
    settings.ALLOWED_HOSTS = ["insights.example"]
    forwarded = {"HTTP_X_FORWARDED_PROTO": "https"}
    through = "http://insights.example/insights/engagement/totals"
    for public in ("https://insights.example/", "https://insights.example:8443/"):
        header = signer.signs(f"{public}insights/engagement/totals")
        assert caller(asked(header, through, **forwarded))
    assert reason(asked(signer.signs(through), through, **forwarded)) == "Invalid signature"
    settings.TRUSTED_PROXY = False
    header = signer.signs("https://insights.example:8443/insights/engagement/totals")
    assert reason(asked(header, through, **forwarded)) == "Invalid signature"


@given(st.text(max_size=200), st.text(st.characters(codec="ascii"), max_size=60))
def test_it_survives_any_header_and_query(header: str, query: str) -> None:
    quoted = query.replace("\r", "").replace("\n", "")
    request = asked("OAuth " + header.encode("utf-8", "replace").decode("latin-1"), ADDRESS)
    request.META["QUERY_STRING"] = quoted
    assert reason(request)


def test_it_keeps_no_secret_in_the_open(signer: Signer, settings: SettingsWrapper) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM accounts_oauthcredentials")
        stored = str(cursor.fetchall())
    assert signer.keys["access_token"] in stored
    assert signer.keys["consumer_secret"] not in stored
    assert signer.keys["access_token_secret"] not in stored
    assert seal("a") != seal("a")
    assert unseal(seal("æ")) == "æ"
    settings.SECRET_KEY = "another"
    with pytest.raises(BrokenSealError):
        assert OAuthCredentials.objects.get().keys
    assert reason(asked(signer.signs())) == "Access token not found"


def printed(*arguments: str) -> str:
    """What create_token says."""
    out = StringIO()
    call_command("create_token", *arguments, stdout=out)
    return out.getvalue()


def test_it_is_made_on_the_command_line(northwind: Handle) -> None:
    told = json.loads(printed("--handle", "northwind", "--scope", "read", "--oauth"))
    assert list(told) == ["token", "consumer_key", "consumer_secret", "access_token", "access_token_secret"]
    assert caller(asked(f"Bearer {told.pop('token')}"))
    header = Client(*told.values()).sign(ADDRESS, "POST")[1]["Authorization"]
    assert caller(asked(str(header))).handles == {"northwind": northwind.pk}


def test_it_is_made_for_readers_only(northwind: Handle) -> None:
    with pytest.raises(CommandError, match="--scope read"):
        printed("--handle", "northwind", "--scope", "ingest", "--oauth")
    with pytest.raises(ValueError, match="scopes"):
        issue_token(northwind.team, "x", [Scope.INGEST], [northwind], oauth=True)
    assert not ApiToken.objects.exists()
