"""What a careless or hostile sender may post, each with the answer that it must get.

A case is one request of a token that covers @northwind only. `NOT_JSON`, `NOT_ITEMS` and the like name the refusal of a
whole request; `BAD_EVENTS` name the field and the reason of one refused event, alone and beside a good one.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from metrics.vocabulary.events import snowflake_at

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime.now(UTC)
TWEET = str(snowflake_at(NOW - timedelta(hours=1), 7))
GZIP = (b"content-encoding", b"gzip")
NDJSON = (b"content-type", b"application/x-ndjson")


@dataclass(frozen=True)
class Case:
    """A request and its answer."""

    name: str
    body: bytes
    status: int
    error: str = ""
    accepted: int = 0
    rejected: tuple[tuple[int, str, str], ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()


def good(**changes: Any) -> dict[str, Any]:
    """A good event, changed."""
    return {
        "id": "one",
        "tweet_id": TWEET,
        "type": "favorites",
        "occurred_at": (NOW - timedelta(minutes=10)).isoformat(),
    } | changes


def dumped(value: Any) -> bytes:
    """As JSON, with NaN and such where they are."""
    return json.dumps(value).encode()


def short(value: Any) -> str:
    """The value as a case's name shows it."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:20]}… of {len(text):,} characters"


GOOD = dumped(good())
WHOLE = dumped([good()])
DEEP = 100_000


def raw(field: str, value: bytes) -> bytes:
    """A good event in which a field has these bytes for a value."""
    kept = {name: held for name, held in good().items() if name != field}
    return dumped(kept)[:-1] + b', "' + field.encode() + b'": ' + value + b"}"


NOT_JSON: dict[str, bytes] = {
    "nothing": b"",
    "a space": b" ",
    "a word": b"nul",
    "NaN": b"NaN",
    "NaN in an array": b"[NaN]",
    "Infinity": b"[Infinity]",
    "minus infinity": b"[-Infinity]",
    "NaN as a count": dumped([good(count=float("nan"))]),
    "Infinity as a count": dumped([good(count=float("inf"))]),
    "NaN as an id": dumped([good(id=float("nan"))]),
    "single quotes": b"[{'id': 1}]",
    "a trailing comma": b"[1,]",
    "a leading comma": b"[,1]",
    "a trailing comma in an object": b'[{"id": "a",}]',
    "a leading zero": b"[01]",
    "a plus sign": b"[+1]",
    "a bare fraction": b"[.5]",
    "a fraction without digits": b"[1.]",
    "an exponent without digits": b"[1e]",
    "a hexadecimal number": b"[0x10]",
    "a comment": b"/* hello */ []",
    "a byte order mark": b"\xef\xbb\xbf" + WHOLE,
    "UTF-16": WHOLE.decode().encode("utf-16"),
    "UTF-32": WHOLE.decode().encode("utf-32-le"),
    "a NUL": b"\x00",
    "NULs after": WHOLE + b"\x00\x00",
    "random bytes": bytes(range(128, 256)),
    "text after": WHOLE + b"garbage",
    "two arrays": WHOLE + WHOLE,
    "NDJSON under the name of JSON": GOOD + b"\n" + GOOD,
    "XML": b"<events/>",
    "a form": b"id=1&tweet_id=2",
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00]\x94.",
    "gzip without saying so": gzip.compress(WHOLE),
    "a string without its end": b'["abc',
    "an unknown escape": b'["\\x"]',
    "a short escape": b'["\\u12"]',
    "a key without a value": b'[{"id"}]',
    "a key that is no string": b"[{1: 2}]",
    "a raw line feed in an id": dumped([good(id="@")]).replace(b"@", b"\n"),
    "arrays without end": b"[" * DEEP,
    "deep arrays": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep wrapped arrays": b'{"events":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "a deep id": b"[" + raw("id", b"[" * DEEP + b"]" * DEEP) + b"]",
    "a deep unknown field": b"[" + raw("more", b'{"a":' * DEEP + b"1" + b"}" * DEEP) + b"]",
    "invalid UTF-8 in an id": b"[" + raw("id", b'"\xff"') + b"]",
    "an overlong slash in an id": b"[" + raw("id", b'"\xc0\xaf"') + b"]",
    "half a character in an id": b"[" + raw("id", b'"\xe2\x82"') + b"]",
    "a surrogate in UTF-8 in an id": b"[" + raw("id", b'"\xed\xa0\x80"') + b"]",
    "beyond Unicode in an id": b"[" + raw("id", b'"\xf7\xbf\xbf\xbf"') + b"]",
    "invalid UTF-8 in a type": b"[" + raw("type", b'"\xfe"') + b"]",
    "a lone high surrogate": b"[" + raw("id", b'"\\ud800"') + b"]",
    "a lone high surrogate with text": b"[" + raw("id", b'"\\ud800abcdefgh"') + b"]",
    "a lone low surrogate": b"[" + raw("id", b'"\\udc00 and more"') + b"]",
    "two high surrogates": b"[" + raw("user_id", b'"\\ud83d\\ud83d"') + b"]",
    "surrogates the wrong way round": b"[" + raw("type", b'"\\ude00\\ud83d"') + b"]",
    "a lone surrogate beside a bad id": b"[" + raw("id", b'"", "more": "\\ud800 x"') + b"]",
    "a lone surrogate in a handle": b"[" + raw("handle", b'"\\ud800\\u0041"') + b"]",
    **{f"cut at {part} of 20": WHOLE[: len(WHOLE) * part // 20] for part in range(1, 20)},
}

NOT_ITEMS: dict[str, bytes] = {
    "an empty object": b"{}",
    "one event": GOOD,
    "another key": b'{"event": []}',
    "events in an object": b'{"events": {}}',
    "no events": b'{"events": null}',
    "events in a string": b'{"events": "[]"}',
    "events as a number": b'{"events": 5}',
    "a string": b'"events"',
    "a number": b"1",
    "a fraction": b"1.5",
    "a huge number": b"1" * 400,
    "null": b"null",
    "true": b"true",
}


class _Instant(str):
    """A time near now, shown by its distance: a case has the same name in every test process."""

    distance: dict[str, float]

    def __repr__(self) -> str:
        return "now " + " ".join(f"{number:+g} {unit}" for unit, number in self.distance.items())


def _at(**distance: float) -> str:
    instant = _Instant((NOW + timedelta(**distance)).isoformat())
    instant.distance = distance
    return instant


_ODD_VALUES: dict[str, dict[str, list[Any]]] = {
    "id": {"wrong_type": [None, 1, 1.5, True, [], {}, ["one"]], "bad_length": ["", "x" * 65, "x" * 100_000, "é" * 65]},
    "tweet_id": {
        "wrong_type": [None, True, 1.5, [], {}, -1e300],
        "bad_tweet_id": [
            *(
                "",
                "abc",
                "-5",
                " 12",
                "12 ",
                "1e3",
                "0x1f",
                "0",
                "１２３",
                "१२३",
                "1_000",
                "+5",
                "1.0",
                "\x00",
                "9" * 30,
            ),
            *(0, -5, 2**63, 2**64, 10**30, -(10**30), str(2**63), str(2**64)),
        ],
    },
    "type": {
        "wrong_type": [None, 5, 1.5, True, [], {}],
        "unknown_type": ["", "likes", "FAVORITES", "favorites ", "favorites\x00", "x" * 100_000, "🦜", "engagements"],
    },
    "occurred_at": {
        "wrong_type": [None, True, [], {}],
        "bad_time": [
            *("", "now", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z"),
            *("2026-01-01T25:00:00Z", "2026-01-01T00:61:00Z", "2026-01-01T00:00:00+99:99", "20260101T000000Z"),
            *("2026-01-01T00:00:00 Europe/Paris", "-2026-01-01T00:00:00Z", "12026-01-01T00:00:00Z", "1767225600"),
        ],
        "too_early": [
            "0001-01-01T00:00:00Z",
            "0001-01-01T00:00:00+14:00",
            "1969-12-31T23:59:59Z",
            "2006-03-20T00:00:00Z",
        ],
        "in_the_future": ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00", _at(minutes=30), _at(days=1)],
        "before_the_tweet": [_at(hours=-1, minutes=-6), "2006-03-21T12:00:00Z"],
    },
    "promoted": {"wrong_type": [None, 1, 0, "true", "", [], {}]},
    "user_id": {"wrong_type": [5, 1.5, True, [], {}], "bad_length": ["x" * 257, "x" * 1_000_000]},
    "count": {
        "wrong_type": [None, True, 1.5, "5", [], {}],
        "count_out_of_range": [0, -1, 1_000_001, 2**31, 2**63, 2**64, 10**30, -(2**63), -(10**30)],
    },
    "handle": {
        "wrong_type": [5, True, [], {}],
        "unknown_handle": ["", "@", "acme", "@@northwind", "northwind ", "x" * 100_000, "northwind\x00", "Northwınd"],
    },
}
_ODD_EVENTS: dict[str, tuple[bytes, str, str]] = {
    **{
        f"without {field}": (dumped({k: v for k, v in good().items() if k != field}), field, "missing")
        for field in good()
    },
    **{
        f"{value!r} for an event": (dumped(value), "", "not_an_object") for value in (None, 5, 1.5, "x", True, [], [[]])
    },
    "an empty event": (b"{}", "id", "missing"),
    "promoted clicks": (dumped(good(type="url_clicks", promoted=True)), "promoted", "not_promotable"),
    "promoted quotes": (dumped(good(type="quote_tweets", promoted=True)), "promoted", "not_promotable"),
    "a count of hundreds of digits": (raw("count", b"9" * 300), "count", "count_out_of_range"),
    "a count of thousands of digits": (raw("count", b"9" * 6_000), "count", "count_out_of_range"),
    "a Tweet id of thousands of digits": (raw("tweet_id", b"9" * 6_000), "tweet_id", "wrong_type"),
    "a bad id beside a huge number": (raw("id", b'"", "more": 1e999'), "id", "bad_length"),
    "a bad id beside invalid UTF-8": (raw("id", b'"", "more": "\xff"'), "id", "bad_length"),
    "a bad id beside depth": (raw("id", b'"", "more": ' + b"[" * 400 + b"]" * 400), "id", "bad_length"),
    "a backslash that looks like a NUL": (raw("type", b'"\\\\u0000"'), "type", "unknown_type"),
    "the last of two ids is bad": (raw("id", b'"good", "id": ""'), "id", "bad_length"),
}


def _bad_events() -> Iterator[tuple[str, bytes, str, str]]:
    for field, reasons in _ODD_VALUES.items():
        for reason, values in reasons.items():
            for value in values:
                yield f"{field} {short(value)}", dumped(good(**{field: value})), field, reason
    for name, (event, field, reason) in _ODD_EVENTS.items():
        yield name, event, field, reason


ODD_BUT_GOOD: dict[str, tuple[bytes, int]] = {
    "unknown fields": (dumped([good(colour="red", nested={"a": [1, {"b": None}]})]), 1),
    "an unknown huge number": (b"[" + raw("more", b"1e999") + b"]", 1),
    "an unknown field of some depth": (b"[" + raw("more", b"[" * 200 + b"]" * 200) + b"]", 1),
    "a key twice": (b"[" + raw("id", b'"a", "id": "b"') + b"]", 1),
    "an id of 64 emoji": (dumped([good(id="🦜" * 64)]), 1),
    "a NUL in an id": (dumped([good(id="a\x00b")]), 1),
    "an escaped pair of surrogates": (b"[" + raw("id", b'"\\ud83e\\udd9c"') + b"]", 1),
    "markup in an id": (dumped([good(id="<script>alert(1)</script>")]), 1),
    "SQL in a user": (dumped([good(user_id="'; DROP TABLE metrics_tweet; --")]), 1),
    "no user": (dumped([good(user_id=None)]), 1),
    "an empty user": (dumped([good(user_id="")]), 1),
    "a user of 256 characters": (dumped([good(user_id="🦜" * 256)]), 1),
    "the largest count": (dumped([good(count=1_000_000)]), 1),
    "a Tweet id as a number": (dumped([good(tweet_id=int(TWEET))]), 1),
    "the first Tweet ever": (dumped([good(tweet_id=20)]), 1),
    "a handle with @ and capitals": (dumped([good(handle="@NorthWind")]), 1),
    "no handle": (dumped([good(handle=None)]), 1),
    "a far offset": (dumped([good(occurred_at=(NOW - timedelta(hours=1)).astimezone().isoformat())]), 1),
    "a little in the future": (dumped([good(occurred_at=_at(minutes=3))]), 1),
    "a little before the Tweet": (dumped([good(occurred_at=_at(hours=-1, minutes=-4))]), 1),
    "wrapped": (b'{"events": ' + WHOLE + b"}", 1),
    "wrapped, with more beside": (b'{"sent_by": {"a": 1}, "events": ' + WHOLE + b', "page": 2}', 1),
    "white space": (b" \r\n\t" + WHOLE + b"\n \t", 1),
    "the same event twice": (dumped([good(), good()]), 2),
    "ten thousand": (b"[" + b",".join([GOOD] * 10_000) + b"]", 10_000),
}


def _gzip_cases() -> Iterator[Case]:
    bomb = gzip.compress(b"[" + b" " * 50_000_000 + b"]", 9)
    packed = gzip.compress(WHOLE)
    yield Case("gzip", packed, 202, accepted=1, headers=(GZIP,))
    yield Case("gzip in capitals", packed, 202, accepted=1, headers=((b"content-encoding", b" GZIP "),))
    yield Case("identity", WHOLE, 202, accepted=1, headers=((b"content-encoding", b"identity"),))
    yield Case("a bomb", bomb, 413, "too_large", headers=(GZIP,))
    yield Case("a bomb in a bomb", gzip.compress(bomb), 400, "not_json", headers=(GZIP,))
    yield Case("a bomb of events", gzip.compress(b"[" + b"1," * 10_001 + b"1]"), 413, "too_large", headers=(GZIP,))
    broken = {
        "plain text": WHOLE,
        "nothing": b"",
        "only a header": packed[:10],
        "half of it": packed[: len(packed) // 2],
        "without its end": packed[:-1],
        "another checksum": packed[:-8] + b"\0\0\0\0" + packed[-4:],
        "another length": packed[:-4] + b"\0\0\0\0",
        "two members": packed + packed,
        "bytes after": packed + b"more",
        "zlib": zlib.compress(WHOLE),
        "a flipped byte": packed[:14] + bytes([packed[14] ^ 255]) + packed[15:],
    }
    for name, body in broken.items():
        yield Case(f"gzip: {name}", body, 400, "not_gzip", headers=(GZIP,))
    yield Case("gzip of no JSON", gzip.compress(b"[1"), 400, "not_json", headers=(GZIP,))
    for encoding in (b"deflate", b"br", b"gzip, gzip", b"zstd", b"\xff", b"gzip;q=1", b"x" * 10_000):
        yield Case(
            f"encoding {short(encoding)}",
            packed,
            415,
            "unsupported_encoding",
            headers=((b"content-encoding", encoding),),
        )


def _header_cases() -> Iterator[Case]:
    for declared in (b"application/json", b"APPLICATION/JSON", b"application/json; charset=utf-8", b"", b" "):
        yield Case(f"type {short(declared)}", WHOLE, 202, accepted=1, headers=((b"content-type", declared),))
    wrong = (b"text/plain", b"text/json", b"application/xml", b"multipart/form-data; boundary=x", b"\xff\xfe", b"*/*")
    for declared in (*wrong, b"application/jsonx", b"application/x-www-form-urlencoded", b"x" * 10_000):
        yield Case(f"type {short(declared)}", WHOLE, 415, "unsupported_type", headers=((b"content-type", declared),))
    for length in (b"5000001", b"9" * 30, b"9" * 6_000):
        yield Case(f"length {short(length)}", WHOLE, 413, "too_large", headers=((b"content-length", length),))
    for length in (b"", b"-1", b"abc", b"1e9", b"0" * 6_000, b"\xd9\xa3", b"10, 10"):
        yield Case(f"length {short(length)}", WHOLE, 202, accepted=1, headers=((b"content-length", length),))
    many = tuple((b"x-%d" % number, b"y" * 100) for number in range(2_000))
    yield Case("two thousand headers", WHOLE, 202, accepted=1, headers=many)
    yield Case("another's method", WHOLE, 202, accepted=1, headers=((b"x-http-method-override", b"DELETE"),))
    yield Case("a forged address", WHOLE, 202, accepted=1, headers=((b"x-forwarded-for", b"\x00, 127.0.0.1"),))


def _line_cases() -> Iterator[Case]:
    lines = (NDJSON,)
    yield Case("lines", GOOD + b"\n" + GOOD + b"\n", 202, accepted=2, headers=lines)
    yield Case("lines without the last end", GOOD + b"\n" + GOOD, 202, accepted=2, headers=lines)
    yield Case("lines of Windows", GOOD + b"\r\n" + GOOD + b"\r\n", 202, accepted=2, headers=lines)
    yield Case("empty lines", b"\n\n" + GOOD + b"\n\n" + GOOD + b"\n\n", 202, accepted=2, headers=lines)
    bad = ((1, "", "not_an_object"),)
    yield Case("a line with a number", GOOD + b"\n5\n" + GOOD, 202, accepted=2, rejected=bad, headers=lines)
    yield Case("a line with an array", GOOD + b"\n[]\n" + GOOD, 202, accepted=2, rejected=bad, headers=lines)
    yield Case("no line", b"", 422, headers=lines)
    yield Case("a cut line", GOOD + b"\n" + GOOD[:-9], 400, "not_json", headers=lines)
    yield Case("a line of words", GOOD + b"\nhello\n" + GOOD, 400, "not_json", headers=lines)
    yield Case("lines past the bound", b"{}\n" * 10_001, 413, "too_large", headers=lines)
    yield Case("deep lines", GOOD + b"\n" + b"[" * DEEP, 400, "not_json", headers=lines)


def cases() -> Iterator[Case]:
    """The whole corpus."""
    for name, body in NOT_JSON.items():
        yield Case(f"not JSON: {name}", body, 400, "not_json")
    for name, body in NOT_ITEMS.items():
        yield Case(f"not items: {name}", body, 400, "not_items")
    for name, event, field, reason in _bad_events():
        yield Case(f"alone: {name}", b"[" + event + b"]", 422, rejected=((0, field, reason),))
        between = b'{"events": [' + GOOD + b", " + event + b", " + GOOD + b"]}"
        yield Case(f"between good ones: {name}", between, 202, accepted=2, rejected=((1, field, reason),))
    for name, (body, accepted) in ODD_BUT_GOOD.items():
        yield Case(f"odd but good: {name}", body, 202, accepted=accepted)
    yield Case("no event", b"[]", 422)
    yield Case("no wrapped event", b'{"events": []}', 422)
    yield Case("five million and one bytes", WHOLE.ljust(5_000_001), 413, "too_large")
    yield Case("five million bytes", WHOLE.ljust(5_000_000), 202, accepted=1)
    yield Case("ten thousand and one", b"[" + b",".join([GOOD] * 10_001) + b"]", 413, "too_large")
    yield from _gzip_cases()
    yield from _header_cases()
    yield from _line_cases()
