"""Bodies of the ingest door: how they are read, unzipped and taken apart, without trusting a byte of them."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus
from typing import Any, Final

import msgspec

MAX_BYTES: Final = 5_000_000
MAX_ITEMS: Final = 10_000
JSON = b"application/json"
NDJSON = b"application/x-ndjson"

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
_encode = msgspec.json.Encoder().encode


class RequestError(Exception):
    """The request as a whole is refused; nothing of it was taken."""

    def __init__(self, status: HTTPStatus, error: str, detail: str, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status, self.error, self.detail, self.retry_after = status, error, detail, retry_after


def too_large() -> RequestError:
    """The answer to a body past the bounds."""
    detail = f"Send at most {MAX_BYTES // 1_000_000} MB and {MAX_ITEMS:,} items a request, also after unzipping."
    return RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", detail)


def header(scope: Scope, name: bytes) -> bytes:
    """A request header's value; empty where it is absent."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The request's body, unzipped; raises RequestError as soon as it passes a bound."""
    encoding = header(scope, b"content-encoding").strip().lower()
    if encoding not in {b"", b"identity", b"gzip"}:
        detail = "Content-Encoding: only gzip (or none) is understood."
        raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", detail)
    body = await read_raw(scope, receive)
    return _unzipped(body) if encoding == b"gzip" else body


async def read_raw(scope: Scope, receive: Receive) -> bytes:
    """The request's body as it came; raises RequestError as soon as it passes a bound."""
    declared = header(scope, b"content-length").lstrip(b"0")
    # Counted before it is read as a number: Python refuses thousands of digits.
    if declared.isdigit() and (len(declared) > 9 or int(declared) > MAX_BYTES):
        raise too_large()
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestError(HTTPStatus.BAD_REQUEST, "incomplete", "The body ended early.")
        chunk, more = message.get("body", b""), message.get("more_body", False)
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BYTES:
            raise too_large()
    return b"".join(chunks)


def _unzipped(body: bytes) -> bytes:
    """Inflate at most MAX_BYTES: what a bomb holds beyond that is never made."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(body, MAX_BYTES + 1)
    except zlib.error as error:
        raise RequestError(HTTPStatus.BAD_REQUEST, "not_gzip", "The body is not valid gzip.") from error
    if len(plain) > MAX_BYTES:
        raise too_large()
    if not inflater.eof or inflater.unused_data:
        raise RequestError(
            HTTPStatus.BAD_REQUEST, "not_gzip", "The gzip body is incomplete or has bytes after its end."
        )
    return plain


async def answer(send: Send, status: HTTPStatus, content: Any, headers: Headers) -> None:
    """Send one JSON answer that nobody may keep."""
    payload = _encode(content)
    headers = [*headers, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(payload))]
    headers += [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": payload})


def media_type(scope: Scope) -> bytes:
    """The body's media type: JSON unless the request says NDJSON; raises RequestError for anything else."""
    declared = header(scope, b"content-type").partition(b";")[0].strip().lower() or JSON
    if declared not in {JSON, NDJSON}:
        detail = "Content-Type: send application/json or application/x-ndjson."
        raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_type", detail)
    return declared


def not_json(error: Exception) -> RequestError:
    """The answer to a body that does not parse."""
    return RequestError(HTTPStatus.BAD_REQUEST, "not_json", f"The body is not valid JSON: {error}.")


class Items:
    """Decodes the items of a body: all at once when all are well formed, else one by one.

    `kind` is a msgspec struct; `wrapper` is the key under which the items may be wrapped in an object.
    """

    def __init__(self, kind: type[msgspec.Struct], wrapper: str) -> None:
        self._item = msgspec.json.Decoder(kind)
        self._list = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]  # built once, at run time
        self._raw_list = msgspec.json.Decoder(list[msgspec.Raw])
        self._raw_wrapped = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._wrapper = wrapper

    def decode(self, body: bytes, declared: bytes) -> list[Any]:
        """Each item as a struct, or as (Raw, ValidationError) where it is not well formed; raises RequestError."""
        try:
            items = self._decode(body, declared)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise not_json(error) from error
        if len(items) > MAX_ITEMS:
            raise too_large()
        return items

    def _decode(self, body: bytes, declared: bytes) -> list[Any]:
        try:
            return self._list.decode_lines(body) if declared == NDJSON else self._list.decode(body)
        except msgspec.ValidationError:
            return list(map(self._one, self._raws(body, declared)))

    def _raws(self, body: bytes, declared: bytes) -> list[msgspec.Raw]:
        if declared == NDJSON:
            return msgspec.json.Decoder(msgspec.Raw).decode_lines(body)
        # Items that cannot be told apart are no items: JSON that is neither form is refused as a whole.
        try:
            return self._raw_list.decode(body)
        except msgspec.ValidationError:
            return self._raw_list.decode(self._wrapped(body))

    def _wrapped(self, body: bytes) -> bytes | msgspec.Raw:
        detail = f"The body must be an array of items or an object with the key “{self._wrapper}”."
        wrong = RequestError(HTTPStatus.BAD_REQUEST, "not_items", detail)
        try:
            items = self._raw_wrapped.decode(body).get(self._wrapper)
        except msgspec.ValidationError as error:
            raise wrong from error
        if items is None or not bytes(items).lstrip().startswith(b"["):
            raise wrong
        return items

    def _one(self, raw: msgspec.Raw) -> Any:
        try:
            return self._item.decode(raw)
        except msgspec.ValidationError as error:
            return raw, error


def refused(items: list[Any]) -> Iterator[tuple[int, msgspec.Raw, msgspec.ValidationError]]:
    """The items that are not well formed, with their places."""
    return ((index, *item) for index, item in enumerate(items) if isinstance(item, tuple))
