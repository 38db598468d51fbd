"""Sparklines as SVG paths, drawn the same way as in `static/js/sparkline.js`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, PAD = 120.0, 32.0, 3.0


@dataclass(frozen=True, slots=True)
class Sparkline:
    """The `d` of four paths in a box of 120 × 32: finished buckets, area below, way to now, now."""

    line: str
    area: str
    way: str
    dot: str


def sparkline(values: Sequence[float], is_running: bool = True) -> Sparkline:
    """Draw the buckets; while the last one is still filling it is only a dot, with a dotted way to it."""
    if not values:
        return Sparkline("", "", "", "")
    top = max(0.0, *values) or 1.0
    bottom = min(0.0, *values)
    step = (WIDTH - 2 * PAD) / max(1, len(values) - 1)

    def point(place: int) -> str:
        share = (values[place] - bottom) / (top - bottom)
        return f"{PAD + place * step:.1f} {HEIGHT - PAD - share * (HEIGHT - 2 * PAD):.1f}"

    last = len(values) - 1
    finished = last if is_running and last else last + 1
    points = [point(place) for place in range(finished)]
    line = "M" + "L".join(points)
    right = PAD + (finished - 1) * step
    area = f"{line}L{right:.1f} {HEIGHT:.1f}L{PAD:.1f} {HEIGHT:.1f}Z"
    way = f"M{points[-1]}L{point(last)}" if finished == last else ""
    return Sparkline(line, area, way, f"M{point(last)}h0.01")
