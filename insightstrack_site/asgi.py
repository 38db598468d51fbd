"""The server's one door: ingest and open streams ahead of Django, pages and API through it, live sockets beside it."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "insightstrack_site.settings")

from django.core.asgi import get_asgi_application

# Django must be set up before anything that imports models.
django_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import path

from metrics.ingest.endpoints import Door
from metrics.ingest.webhooks import WebhookDoor
from metrics.present.insightstrack import StreamDoor
from metrics.present.live import LiveSocket

# For each POST, Daphne's HTTP library reads the Content-Type with the email package, which takes a quarter of the time
# of a small post; the few that occur are remembered.
if twisted_http := sys.modules.get("twisted.web.http"):
    remembered: Any = twisted_http
    remembered._parseContentType = lru_cache(maxsize=32)(remembered._parseContentType)

doors: tuple[Door | StreamDoor | WebhookDoor, ...] = (Door(), StreamDoor(), WebhookDoor())


async def http(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Route one request: the hot path must not pay for Django's middleware."""
    application: Any = next((door for door in doors if door.serves(scope["path"])), django_application)
    await application(scope, receive, _without_body(send) if scope["method"] == "HEAD" else send)


def _without_body(send: Any) -> Any:
    """Headers only: of a long answer to HEAD, Daphne holds back no more than the first piece of the body.

    The rest would be read as the next answer on the same connection.
    """

    async def send_headers(message: dict[str, Any]) -> None:
        await send(message | {"body": b""} if message["type"] == "http.response.body" else message)

    return send_headers


sockets = URLRouter([path("ws/live/", LiveSocket.as_asgi())])
application = ProtocolTypeRouter({"http": http, "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(sockets))})
