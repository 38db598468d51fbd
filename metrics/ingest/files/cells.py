"""Cells as the files write them: numbers, ids, links, texts, days and times. Each raises RowError with what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import chain

import numpy as np
import numpy.typing as npt

from metrics.ingest.files.problems import RowError, RowReason
from metrics.vocabulary.events import MAX_TWEET_ID
from metrics.vocabulary.snapshots import MAX_TOTAL, UNSAID

# What files write where there is no number.
NOTHING = frozenset({"", "-", "–", "null", "None", "NaN", "N/A"})
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.0+)?$")
_IN_LINK = re.compile(r"/status(?:es)?/(\d{1,19})(?:\D|$)")
_HANDLE_IN_LINK = re.compile(r"^https?://(?:\w+\.)?(?:twitter|x)\.com/(\w{1,20})/status")
# `Fri, Feb 6, 2026`, `Mon Feb 03 2025`, ISO, and the same with a time of midnight behind.
_DAY_FORMATS = ("%a, %b %d, %Y", "%a %b %d %Y", "%b %d, %Y", "%d %b %Y", "%m/%d/%Y")
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#39;", "'"), ("&amp;", "&"))
MAX_TEXT, MAX_LINK = 25_000, 2_000


def whole(field: str, cell: str) -> int:
    """A count: `1938`, `1938.0`, `1,938`; UNSAID for an empty cell or a dash."""
    text = cell.strip()
    if text in NOTHING:
        return UNSAID
    if _GROUPED.match(text):
        text = text.replace(",", "")
    try:
        number = int(text) if text.isdecimal() else float(text)
        if 0 <= number <= MAX_TOTAL and number == int(number):
            return int(number)
    except (ValueError, OverflowError):
        pass
    raise RowError(field, RowReason.BAD_NUMBER, f"{field}: “{cell[:40]}” is not a whole number from 0 up.")


def wholes(rows: Sequence[Sequence[str]]) -> npt.NDArray[np.int64] | None:
    """The counts of many rows at once, flat, when every cell is a plain number, as they nearly always are."""
    try:
        flat = np.fromiter(map(float, chain.from_iterable(rows)), dtype=np.float64)
    except ValueError:
        return None
    # Exact: below 2^53 a float holds every whole number. (A NaN fails the comparison.)
    are_whole = ((flat >= 0) & (flat <= MAX_TOTAL) & (flat == np.floor(flat))).all()
    return flat.astype(np.int64) if are_whole else None


def tweet_id_of(field: str, cell: str, link: str) -> tuple[int, bool]:
    """The row's Tweet, and whether its link had to mend an id that a spreadsheet has rounded."""
    text = cell.strip()
    if len(text) > 15 and text.isdecimal() and link.endswith(text) and int(text) <= MAX_TWEET_ID:
        return int(text), False  # as nearly always
    linked = _IN_LINK.search(link)
    if linked and linked[1] != text and text:
        return _checked_id(field, linked[1]), True
    if not text:
        raise RowError(
            field, RowReason.NO_TWEET, f"{field}: empty, so the row names no Tweet; its link is “{link[:80]}”."
        )
    return _checked_id(field, text), False


def _checked_id(field: str, text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else 0
    if 0 < number <= MAX_TWEET_ID:
        return number
    hint = " A spreadsheet has rounded it: import the file as X gave it." if re.search(r"[.,]\d*E\+?\d", text) else ""
    raise RowError(field, RowReason.BAD_TWEET_ID, f"{field}: “{text[:40]}” is not a Tweet id.{hint}")


def handle_in(link: str) -> str:
    """The @handle in a permalink, or ""."""
    found = _HANDLE_IN_LINK.match(link)
    return found[1] if found else ""


def plain_text(cell: str) -> str:
    """A Tweet's text: X escapes the characters that HTML gives a meaning to, once."""
    if "&" in cell:
        for entity, character in _ENTITIES:
            cell = cell.replace(entity, character)
    return cell.replace("\x00", "�")[:MAX_TEXT]


def plain_link(cell: str) -> str:
    """A link to keep, or "" where it is none."""
    link = cell.strip().replace("\x00", "")
    return link if link.startswith(("https://", "http://", "at://")) and len(link) <= MAX_LINK else ""


def day_of(field: str, cell: str) -> date:
    """A day without a time, in any of the formats that the files use."""
    text = " ".join(cell.split())
    for form in _DAY_FORMATS:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007  a day has no zone
        except ValueError:
            continue
    try:
        return datetime.fromisoformat(text.removesuffix(" +0000")).date()
    except ValueError:
        detail = f"{field}: “{cell[:40]}” is not a day that can be read. Switch X to English and export again."
        raise RowError(field, RowReason.BAD_TIME, detail) from None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(instant: datetime) -> int:
    """An aware instant in Unix microseconds, exactly."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def instant_of(field: str, cell: str) -> int:
    """An instant with an offset, in Unix microseconds: `2016-12-23 18:50 +0000` or RFC 3339."""
    text = re.sub(r" ([+-]\d{2}):?(\d{2})$", r"\1:\2", cell.strip())
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        detail = f"{field}: “{cell[:40]}” is not a time with an offset, such as 2016-12-23 18:50 +0000."
        raise RowError(field, RowReason.BAD_TIME, detail)
    return micros(instant)
