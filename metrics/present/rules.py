"""The rules of a stream: which handles it follows, one rule a handle.

`GET|POST /rules/insightstrack/accounts/{team}/publishers/twitter/{label}.json`, and `POST …?_method=delete`. A rule's
value is a handle's name (`northwind`, `@northwind` or `from:northwind`). Shapes and statuses are those of the vendor's
rules API.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from accounts.credentials import Credential, bearer, load_credential
from accounts.models import Handle, Team
from metrics.models import StreamRule
from metrics.present import quota

log = structlog.get_logger(__name__)

LABEL = r"[A-Za-z0-9_.-]{1,60}"
ADDRESS = rf"insightstrack/accounts/(?P<team>[A-Za-z0-9_-]+)/publishers/twitter/(?P<label>{LABEL})\.json"
"""What the addresses of a stream and of its rules end in, as a regular expression; `address` writes one."""
MAX_BYTES = 5_000_000
MAX_RULES = 5_000
MAX_TAG = 255
ALREADY = "A rule with this value already exists"
NOT_COVERED = "The token covers no handle of this name"
Answer = tuple[HTTPStatus, dict[str, Any]]


class RefusedError(Exception):
    """The batch as a whole is refused."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Value(msgspec.Struct):
    """A rule as a client sends it."""

    value: str
    tag: str | None = None


class Batch(msgspec.Struct):
    """A request's body: rules, or (to delete) their ids."""

    rules: list[Value] | None = None
    rule_ids: list[int | str] | None = None


_decode = msgspec.json.Decoder(Batch).decode


@csrf_exempt
@require_http_methods(["GET", "POST"])
def rules(request: HttpRequest, team: str, label: str) -> HttpResponse:
    """List, add or remove the rules of a stream that the token may read."""
    try:
        credential = _credential(request, team)
        status, body = _act(request, credential, label)
    except RefusedError as refusal:
        status, body = refusal.status, {"error": {"message": refusal.message}}
    except quota.OUTAGES as outage:
        log.warning("rules_unavailable", reason=repr(outage))
        status, body = HTTPStatus.SERVICE_UNAVAILABLE, {"error": {"message": "The rules are away for a moment"}}
    body["sent"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    response = HttpResponse(msgspec.json.encode(body), status=status, content_type="application/json")
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = str(quota.RETRY_SECONDS)
    return response


def address(team: str, label: str) -> str:
    """What the addresses of a stream and of its rules end in."""
    return f"insightstrack/accounts/{team}/publishers/twitter/{label}.json"


def followed(team_id: int, label: str, handle_ids: Iterable[int]) -> list[StreamRule]:
    """The rules of a stream about these handles, the oldest first."""
    found = StreamRule.objects.filter(team_id=team_id, label=label, handle__in=list(handle_ids), handle__team=team_id)
    return list(found.select_related("handle").order_by("created_at", "pk"))


def follow(team_id: int, label: str, handle: Handle, tag: str = "") -> tuple[StreamRule, bool]:
    """The rule about the handle, and whether it is new."""
    return StreamRule.objects.get_or_create(team_id=team_id, label=label, handle=handle, defaults={"tag": tag})


def unfollow(rule: StreamRule) -> None:
    """Follow the handle no longer."""
    rule.delete()


def _credential(request: HttpRequest, team: str) -> Credential:
    secret = bearer(request.headers.get("Authorization"))
    credential = load_credential(secret) if secret else None
    if credential is None:
        raise RefusedError(HTTPStatus.UNAUTHORIZED, "The token is missing, unknown, expired or revoked")
    if "read" not in credential.scopes:
        raise RefusedError(HTTPStatus.FORBIDDEN, "The token lacks the scope “read”")
    if not Team.objects.filter(pk=credential.team_id, slug=team).exists():
        raise Http404("There is no such stream.")
    return credential


def _act(request: HttpRequest, credential: Credential, label: str) -> Answer:
    if request.method == "GET":
        found = followed(credential.team_id, label, credential.handles.values())
        return HTTPStatus.OK, {"rules": [_told(rule) for rule in found]}
    batch = _batch(request)
    if request.GET.get("_method", "").lower() == "delete":
        return _remove(batch, credential, label)
    return _add(batch, credential, label)


def _batch(request: HttpRequest) -> Batch:
    text = request.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is larger than 5 MB")
    try:
        batch = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        shape = 'The body must be JSON like {"rules": [{"value": "…", "tag": "…"}]}'
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{shape}: {error}") from error
    if len(batch.rules or batch.rule_ids or ()) > MAX_RULES:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, f"rules: at most {MAX_RULES:,} in one request")
    return batch


def _add(batch: Batch, credential: Credential, label: str) -> Answer:
    if not batch.rules:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "rules: give at least one")
    handles = Handle.objects.in_bulk(set(credential.handles.values()))
    detail = [_added(value, credential, label, handles) for value in batch.rules]
    created = sum(item["created"] for item in detail)
    body = {"summary": {"created": created, "not_created": len(detail) - created}, "detail": detail}
    is_fine = created or all(item["message"] == ALREADY for item in detail)
    return (HTTPStatus.CREATED if is_fine else HTTPStatus.UNPROCESSABLE_ENTITY), body


def _added(value: Value, credential: Credential, label: str, handles: dict[int, Handle]) -> dict[str, Any]:
    sent = {"value": value.value, "tag": value.tag}
    handle = handles.get(credential.handles.get(_name(value.value), 0))
    if handle is None:
        return {"rule": sent, "created": False, "message": NOT_COVERED}
    if value.tag and (len(value.tag) > MAX_TAG or "\x00" in value.tag):
        return {"rule": sent, "created": False, "message": f"tag: at most {MAX_TAG} characters, without NUL"}
    rule, is_new = follow(credential.team_id, label, handle, value.tag or "")
    return {"rule": sent | {"id": rule.pk}, "created": is_new} | ({} if is_new else {"message": ALREADY})


def _remove(batch: Batch, credential: Credential, label: str) -> Answer:
    found = followed(credential.team_id, label, credential.handles.values())
    if batch.rules:
        by_name = {rule.handle.username.lower(): rule for rule in found}
        detail = [
            _removed({"value": each.value, "tag": each.tag}, by_name.pop(_name(each.value), None))
            for each in batch.rules
        ]
    elif batch.rule_ids:
        by_id = {str(rule.pk): rule for rule in found}
        detail = [_removed({"id": number}, by_id.pop(str(number), None)) for number in batch.rule_ids]
    else:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "rules or rule_ids: give at least one")
    deleted = sum(item["deleted"] for item in detail)
    return HTTPStatus.OK, {"summary": {"deleted": deleted, "not_deleted": len(detail) - deleted}, "detail": detail}


def _removed(sent: dict[str, Any], rule: StreamRule | None) -> dict[str, Any]:
    if rule is None:
        return {"rule": sent, "deleted": False, "message": "No such rule"}
    told = _told(rule)
    unfollow(rule)
    return {"rule": told, "deleted": True}


def _told(rule: StreamRule) -> dict[str, Any]:
    return {"value": rule.handle.username, "tag": rule.tag or None, "id": rule.pk}


def _name(value: str) -> str:
    return value.strip().lower().removeprefix("from:").removeprefix("@")
