"""How numbers are written, the same here as in `static/js/numbers.js`.

Thousands have separators, minus signs are true ones, a narrow space stands before % and unit letters.
Rounding is half away from zero on the shortest decimal form of a number, which is what browsers do.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

MINUS, NARROW, DASH = "\u2212", "\u202f", "\u2013"
_UNITS = ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k"))


def rounded(value: float, digits: int) -> str:
    """A number with so many decimals and thousands separators: 1234.5 → "1,234.50"."""
    quantum = Decimal(1).scaleb(-digits)
    exact = Decimal(repr(float(value))).quantize(quantum, ROUND_HALF_UP)
    return f"{exact + 0:,.{digits}f}".replace("-", MINUS)


def count(value: int | None) -> str:
    """A whole number: 1284902 → "1,284,902"; a dash for None."""
    return DASH if value is None else f"{value:,}".replace("-", MINUS)


def signed(value: int) -> str:
    """A whole number with its sign, also when positive; plain 0 for zero."""
    return f"+{value:,}" if value > 0 else count(value)


def compact(value: float) -> str:
    """A number where space forces it: 1284902 → "1.28 M", 41377 → "41.4 k", 999 → "999"."""
    for size, unit in _UNITS:
        # 999,950 would round to "1,000 k".
        if abs(value) >= size * 0.99995:
            scaled = value / size
            digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
            return f"{rounded(scaled, digits)}{NARROW}{unit}"
    return rounded(value, 0 if float(value).is_integer() else 1)


def percent(ratio: float | None, digits: int = 2) -> str:
    """A ratio as a percentage: 0.0322 → "3.22 %"; a dash for None."""
    return DASH if ratio is None else f"{rounded(ratio * 100, digits)}{NARROW}%"


def change(now: float, before: float | None) -> str:
    """How far a total moved: "+18.4 %"; "new" from nothing; a dash where there is nothing to compare."""
    if before is None or (now == 0 and before == 0):
        return DASH
    if before <= 0:
        return "new"
    moved = (now - before) / before * 100
    digits = 1 if abs(moved) < 999.95 else 0
    return _with_sign(rounded(moved, digits)) + f"{NARROW}%"


def points(now: float | None, before: float | None) -> str:
    """How far a ratio moved, in percentage points: "−0.27 pt"; a dash where there is nothing to compare."""
    if now is None or before is None:
        return DASH
    return _with_sign(rounded((now - before) * 100, 2)) + f"{NARROW}pt"


def times(factor: float) -> str:
    """A multiple: 4.13 → "4.1×"."""
    return f"{rounded(factor, 1)}×" if factor < 99.95 else f"{rounded(factor, 0)}×"


def rate(per_minute: float) -> str:
    """A speed: whole above 10, one decimal below: 214, 6.4, 0."""
    return rounded(per_minute, 0 if per_minute >= 9.95 or per_minute == 0 else 1)


def direction(change: str) -> str:
    """The class of a change as it is written: "gain", "loss" or "" (colour never says more than the sign)."""
    if change.startswith(MINUS):
        return "loss"
    return "gain" if change.startswith("+") or change == "new" else ""


def _with_sign(text: str) -> str:
    digits = text.removeprefix(MINUS)
    if not digits.strip("0.,"):
        return digits
    return text if text.startswith(MINUS) else f"+{text}"
