"""Who a handle of Bluesky is: the DID behind it, asked from an AppView."""

from __future__ import annotations

import httpx
import msgspec
from django.conf import settings

from metrics.ingest.connectors import DisconnectedError, SourceError
from metrics.vocabulary import atproto

TIMEOUT_SECONDS = 10.0


class _Resolved(msgspec.Struct):
    did: str


async def resolve(account: str) -> str:
    """The DID of an account, given by handle or as a DID already; raises SourceError or DisconnectedError."""
    if atproto.is_did(account):
        return account
    try:
        async with httpx.AsyncClient(base_url=settings.BLUESKY_APPVIEW_URL, timeout=TIMEOUT_SECONDS) as client:
            answer = await client.get("/xrpc/com.atproto.identity.resolveHandle", params={"handle": account})
    except httpx.HTTPError as error:
        reason = f"Cannot look up @{account}: {settings.BLUESKY_APPVIEW_URL} does not answer."
        raise SourceError(reason) from error
    if answer.status_code == 400:
        raise DisconnectedError(f"There is no @{account} on Bluesky: check the name, then connect again.")
    try:
        did = msgspec.json.decode(answer.content, type=_Resolved).did if answer.status_code == 200 else ""
    except msgspec.DecodeError:
        did = ""
    if not atproto.is_did(did):
        host = settings.BLUESKY_APPVIEW_URL
        raise SourceError(f"Cannot look up @{account}: {host} answered {answer.status_code} and named no account.")
    return did
