"""Requests made up from the OpenAPI schema, good and bad: none fails, each is answered in a documented form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

if TYPE_CHECKING:
    from schemathesis import Case
    from schemathesis.specs.openapi.schemas import OpenApiSchema

    from tests.stack import Stack

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
HANDLE = "fuzzed"
TEAM = "fuzz"
OPERATIONS = [
    ("GET", "/api/v1/handles"),
    ("GET", "/api/v1/handles/{username}/report"),
    ("GET", "/api/v1/handles/{username}/tweets"),
    ("GET", "/api/v1/tweets/{tweet_id}/series"),
    ("GET", "/api/v1/reach"),
    ("GET", "/api/v1/overlap"),
    ("GET", "/api/v1/growth"),
    ("GET", "/api/v1/handles/{username}/weeks"),
    ("POST", "/api/v1/events"),
    ("POST", "/api/v1/snapshots"),
    ("GET", "/api/v1/receipts/{receipt}"),
    ("PUT", "/api/v1/tweets"),
    ("GET", "/webhooks/x/{connection}"),
    ("POST", "/webhooks/x/{connection}"),
    ("GET", "/stream/insightstrack/accounts/{team}/publishers/twitter/{label}.json"),
    ("GET", "/rules/insightstrack/accounts/{team}/publishers/twitter/{label}.json"),
    ("POST", "/rules/insightstrack/accounts/{team}/publishers/twitter/{label}.json"),
    ("POST", "/insights/engagement/totals"),
    ("POST", "/insights/engagement/28hr"),
    ("POST", "/insights/engagement/historical"),
    ("GET", "/2/tweets/analytics"),
]
# The list of handles takes nothing that could be wrong.
ATTEMPTS = [
    (method, path, mode)
    for method, path in OPERATIONS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or path != "/api/v1/handles"
]
receipts: list[str] = []


@pytest.fixture(scope="module")
def fuzz_token(live_stack: Stack) -> str:
    live_stack.add_handle(HANDLE, team="Fuzz", email="fuzz@example.com")
    return live_stack.token(HANDLE)


@pytest.fixture(scope="module")
def schema(live_stack: Stack) -> OpenApiSchema:
    return schemathesis.openapi.from_url(f"{live_stack.url}/api/openapi.json")


def test_it_documents_what_is_tried_here(schema: OpenApiSchema) -> None:
    documented = {(found.ok().method.upper(), found.ok().path) for found in schema.get_all_operations()}
    assert documented == set(OPERATIONS)


@pytest.mark.parametrize(("method", "path", "mode"), ATTEMPTS)
def test_it_answers_made_up_requests_as_documented(
    live_stack: Stack, schema: OpenApiSchema, fuzz_token: str, method: str, path: str, mode: GenerationMode
) -> None:
    live_stack.wait_until_ready()
    operation = schema[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def tried(case: Case) -> None:
        if "username" in case.path_parameters:
            _try(case, fuzz_token)
            case.path_parameters["username"] = HANDLE
        # A stream that is open would never end; rules of the token's own team can be tried.
        if path.startswith("/rules/"):
            _try(case, fuzz_token)
            case.path_parameters["team"] = TEAM
        answer = _try(case, fuzz_token)
        if answer.status_code == 202:
            receipts.append(answer.json()["receipt"])

    tried()


def _try(case: Case, secret: str) -> schemathesis.Response:
    answer = case.call(headers={"Authorization": f"Bearer {secret}"})
    case.validate_response(answer, checks=CHECKS)
    return answer


def test_it_has_counted_what_it_took(live_stack: Stack, fuzz_token: str) -> None:
    headers = {"Authorization": f"Bearer {fuzz_token}"}
    with httpx.Client(base_url=live_stack.url, headers=headers) as client:
        for receipt in receipts:
            live_stack.eventually(
                lambda path=f"/api/v1/receipts/{receipt}": client.get(path).json()["status"] == "applied",
                60,
                "what was taken is applied",
            )
    with live_stack.database() as connection:
        assert connection.execute("SELECT count(*) FROM metrics_setasideentry").fetchone() == (0,)
