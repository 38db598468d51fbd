"""Gzip for whoever asks for it, however short the answer: some clients unzip everything, errors too."""

from __future__ import annotations

import gzip
import re

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

_GZIP = re.compile(r"(?:^|,)\s*(?:x-)?gzip\s*(?:;\s*q=(?P<weight>[\d.]+)\s*)?(?:,|$)", re.IGNORECASE)
# Counts are mostly zeros: a higher level takes three times as long for little.
_LEVEL = 1


def zipped(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """The response, compressed when the request accepts gzip."""
    patch_vary_headers(response, ("Accept-Encoding",))
    if accepts_gzip(request.headers.get("Accept-Encoding", "")):
        response.content = gzip.compress(response.content, _LEVEL, mtime=0)
        response["Content-Encoding"] = "gzip"
    response["Content-Length"] = str(len(response.content))
    return response


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header names gzip with a weight above zero."""
    found = _GZIP.search(header)
    return found is not None and (found["weight"] or "1").strip("0.") != ""
