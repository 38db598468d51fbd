"""Fits the kernel to real cascades; `fitted` holds what `fit` found in fifty of them.

1. `flat` comes from reaction times: in cascades whose author has more followers than all Retweeters
   together, the first hour's Retweets answer the author. The likelihood of their delays under "flat, then a
   power" is maximised, every cascade weighing the same. (The whole cascades' likelihood cannot tell it: where
   attention rises for outside reasons, it prefers ever shorter memories.)
2. `theta`, the daily rhythm, and the power of the follower count that makes an audience maximise the
   likelihood of the Retweets a minute over all cascades, as a Poisson process of intensity
   `ratio * exp(-age / fades_after) * rhythm * sum(audience * kernel)`. A cascade's `ratio` has a closed form
   and its `fades_after` is searched on a grid.
3. The lives (root, ratio, fades_after), one a cascade, are what step 2 found, and the relative audiences of
   all Retweeters give the quantile table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metrics.demo.kernel import DAY, HOUR, WEEK, Audience, Floats, Kernel, Life

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from metrics.demo.cascades import Cascade

STEP = 60.0
BINS = int(WEEK / STEP)
_FFT = 1 << (2 * BINS - 1).bit_length()
_AGES = (np.arange(BINS) + 0.5) * STEP
FADES = np.geomspace(3 * HOUR, 20 * DAY, 14)
_READINESS = np.exp(-_AGES / FADES[:, None])
_FIRST_HOUR = HOUR
AUDIENCE_SHARES = (0.0, *(step / 20 for step in range(1, 20)), 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999, 1.0)


@dataclass(frozen=True, slots=True)
class Shape:
    """What all cascades share: `kernel`; rhythm `amplitude` and `peak_hour`; the `exponent` of follower
    counts.
    """

    kernel: Kernel
    amplitude: float
    peak_hour: float
    exponent: float


@dataclass(frozen=True, slots=True)
class Fit:
    """The result: the shape, a life for each cascade, the audiences, and the log-likelihood of step 2."""

    shape: Shape
    lives: tuple[Life, ...]
    audience: Audience
    likelihood: float


def fit(cascades: Sequence[Cascade]) -> Fit:
    """Fit everything to these cascades of at most a week; about ten seconds for fifty of them."""
    flat = fit_flat(cascades)

    def shape_of(point: Floats) -> Shape:
        kernel = Kernel(flat, float(np.exp(point[0])))
        return Shape(kernel, float(np.clip(point[1], 0, 0.9)), float(point[2] % 24), float(point[3]))

    def value(point: Floats) -> float:
        shape = shape_of(point)
        return sum(_life(cascade, shape)[0] for cascade in cascades)

    start = np.array([np.log(0.3), 0.2, 12.0, 0.7])
    best, likelihood = _climb(value, start, steps=np.array([0.3, 0.1, 4.0, 0.1]), until=0.04)
    shape = shape_of(best)
    lives = tuple(_life(cascade, shape)[1] for cascade in cascades)
    return Fit(shape, lives, _audience(cascades, shape.exponent), likelihood)


def fit_flat(cascades: Sequence[Cascade]) -> float:
    """The delay in seconds up to which reactions come evenly (step 1), to 5 s."""
    heard = [cascade for cascade in cascades if cascade.author_followers > cascade.followers.sum()]
    first = [cascade.ages[cascade.ages < _FIRST_HOUR] for cascade in heard or cascades]
    first = [ages for ages in first if len(ages)]
    delays = np.concatenate(first)
    weights = np.concatenate([np.full(len(ages), 1 / len(ages)) for ages in first])
    flats, powers = np.meshgrid(np.arange(30, 600, 5.0), np.arange(0.525, 2, 0.05), indexing="ij")
    tail = flats * ((_FIRST_HOUR / flats) ** (1 - powers) - 1) / (1 - powers)
    logs = np.array([weights @ np.log(np.maximum(delays, flat) / flat) for flat in flats[:, 0]])
    likelihood = -powers * logs[:, None] - weights.sum() * np.log(flats + tail)
    return float(flats.ravel()[likelihood.argmax()])


def _life(cascade: Cascade, shape: Shape) -> tuple[float, Life]:
    """The best log-likelihood of one cascade under a shape, and the life that reaches it."""
    minutes = np.minimum((cascade.ages / STEP).astype(int), BINS - 1)
    audiences = np.maximum(cascade.followers, 1) ** shape.exponent
    author = max(cascade.author_followers, 1) ** shape.exponent
    counts = np.bincount(minutes, minlength=BINS).astype(np.float64)
    # The running minute explains nothing: what excites must come before what it excites.
    counts[0] = 0
    exposure = np.bincount(minutes, weights=audiences, minlength=BINS).astype(np.float64)
    exposure[0] += author
    rhythm = 1 + shape.amplitude * np.cos(2 * np.pi * (cascade.posted_day + _AGES / DAY - shape.peak_hour / 24))
    expected = np.maximum(_remembered(exposure, shape.kernel), 1e-9) * rhythm
    expected[0] = 0
    totals = _READINESS @ expected
    some, n = counts > 0, counts.sum()
    fixed = counts[some] @ np.log(expected[some]) + n * np.log(max(n, 1))
    values = fixed - n * np.log(totals) - (counts @ _AGES) / FADES
    best = int(values.argmax())
    rate = n / totals[best]
    mean = audiences.mean() if len(audiences) else 1.0
    return float(values[best]), Life(float(rate * author), float(rate * mean), float(FADES[best]))


def _remembered(exposure: Floats, kernel: Kernel) -> Floats:
    """The exposure of each minute, spread over the later minutes by the kernel: float64[BINS]."""
    edges = np.maximum((np.arange(BINS + 1) - 0.5) * STEP, 0)
    weights = np.diff(kernel.reached(edges))
    weights[0] = 0
    spread = np.fft.irfft(np.fft.rfft(exposure, _FFT) * np.fft.rfft(weights, _FFT), _FFT)
    return np.asarray(spread[:BINS], dtype=np.float64)


def _audience(cascades: Sequence[Cascade], exponent: float) -> Audience:
    powers = [np.maximum(cascade.followers, 1) ** exponent for cascade in cascades if len(cascade.followers)]
    relative = np.concatenate([values / values.mean() for values in powers])
    sizes = tuple(float(size) for size in np.quantile(relative, AUDIENCE_SHARES))
    return Audience(AUDIENCE_SHARES, sizes)


def _climb(value: Callable[[Floats], float], start: Floats, steps: Floats, until: float) -> tuple[Floats, float]:
    """Compass search: take the step that helps; halve all when none does, down to `until` of the first."""
    best, height, scale = start, value(start), 1.0
    while scale > until:
        moved = False
        for move in np.concatenate([np.diag(steps), -np.diag(steps)]) * scale:
            while (found := value(best + move)) > height:
                best, height, moved = best + move, found, True
        if not moved:
            scale /= 2
    return best, height
