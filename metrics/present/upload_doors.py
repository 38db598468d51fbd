"""Where the Import page's script sends files: one request announces a file, the next ones bring its pieces.

    POST /h/NAME/import/files/             name, size, modified → {"id", "received", "piece", "size"}
    POST /h/NAME/import/ID/pieces/?offset= the bytes as the body → {"id", "received", "state"}

Both answer problems as {"detail", "received"}: one sentence, and where to go on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts.access import EDITORS, require_role, signed_in
from accounts.models import Handle, User
from metrics.ingest import uploads
from metrics.ingest.uploads import UploadError
from metrics.models import FileImport
from metrics.present import import_news

View = Callable[..., JsonResponse]


def _door(view: Callable[..., dict[str, Any]]) -> View:
    """Hand the view the handle and the person who may import into it; every refusal is a sentence in JSON."""

    @require_POST
    @never_cache
    @wraps(view)
    def answer(request: HttpRequest, username: str, **rest: int) -> JsonResponse:
        try:
            if not request.user.is_authenticated:
                raise UploadError("Signed out: sign in again, then choose the file again.", HTTPStatus.UNAUTHORIZED)
            user = signed_in(request)
            handle = Handle.objects.visible_or_404(user, username)
            require_role(user, handle.team, EDITORS)
            return JsonResponse(view(request, handle, user, **rest))
        except UploadError as refused:
            told = {"detail": refused.detail, "received": refused.received}
            return JsonResponse(told, status=refused.status)
        except Http404:
            return JsonResponse({"detail": "There is no such import."}, status=404)
        except PermissionDenied:
            return JsonResponse({"detail": "Editors and owners of the team import files."}, status=403)

    return answer


@_door
def announce_file(request: HttpRequest, handle: Handle, user: User) -> dict[str, Any]:
    """Begin an upload, or find the person's unfinished one of the same file."""
    file = uploads.begin(handle, user, uploads.announced(request.POST.dict()))
    import_news.announce(file)
    return {"id": file.pk, "received": file.received, "size": file.size, "piece": uploads.PIECE_BYTES}


@_door
def take_piece(request: HttpRequest, handle: Handle, user: User, pk: int) -> dict[str, Any]:
    """Take one piece; with the last one a worker begins to look at the file."""
    file = (
        FileImport.objects.select_related("handle", "created_by").filter(pk=min(pk, 2**63 - 1), handle=handle).first()
    )
    if file is None:
        raise Http404
    data = request.read(uploads.PIECE_BYTES + 1)
    if len(data) > uploads.PIECE_BYTES:
        told = f"A piece has at most {uploads.PIECE_BYTES:,} bytes."
        raise UploadError(told, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, file.received)
    had = file.received
    file = uploads.take(file, user, uploads.whole_number("offset", request.GET.get("offset", "")), data)
    if file.received > had:
        import_news.announce(file)
    return {"id": file.pk, "received": file.received, "state": file.state}
