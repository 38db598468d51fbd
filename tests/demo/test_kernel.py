"""The memory kernel: its mathematics, its fit, and whether what it simulates looks like real Retweets."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

from metrics.demo import fitted
from metrics.demo.calibration import fit, fit_flat
from metrics.demo.cascades import Cascade
from metrics.demo.kernel import WEEK, Floats, Kernel, Life, Spread, daily

HOURS = (1, 6, 24)
# How the real cascades were chosen: between 2,000 and 17,000 Retweets in a week.
SMALLEST, LARGEST = 2_000, 17_000


def spread_of(kernel: Kernel, start_hour: float = 0.0) -> Spread:
    shape = fitted.SHAPE
    rhythm = daily(shape.amplitude, shape.peak_hour, start_hour)
    return Spread(kernel, fitted.AUDIENCE, rhythm, crest=1 + shape.amplitude)


def simulate_reached(kernel: Kernel, n: int, seed: int = 7) -> tuple[Floats, Floats]:
    """Sizes float64[n], and the share of a week's Retweets reached at HOURS, float64[n, 3].

    Lives are drawn from the fitted ones, and cascades chosen as the real ones were; as large ones are rarer
    in reality than under the lives of chosen cascades, a cascade is kept with probability SMALLEST / its
    size.
    """
    rng = np.random.default_rng(seed)
    sizes, reached = [], []
    while len(sizes) < n:
        life = fitted.LIVES[rng.integers(len(fitted.LIVES))]
        burst = spread_of(kernel, 24 * rng.random()).simulate(rng, life, limit=LARGEST + 1)
        size = len(burst.ages)
        if not SMALLEST <= size <= LARGEST or rng.random() > SMALLEST / size:
            continue
        sizes.append(size)
        reached.append([(burst.ages <= hours * 3600).mean() for hours in HOURS])
    return np.array(sizes, dtype=np.float64), np.array(reached)


@pytest.fixture(scope="module")
def real_reached() -> tuple[Floats, Floats]:
    """Sizes float64[50] and shares float64[50, 3] of the real cascades."""
    rows = np.loadtxt(Path(__file__).parent / "data" / "reached.txt")
    return rows[:, 1], rows[:, 2:] / rows[:, 1:2]


def misfits(simulated: Floats, real: Floats) -> list[str]:
    """What keeps the simulated spread from covering the real one; empty when it covers it."""
    found = []
    for column, hours in enumerate(HOURS):
        low, high = np.quantile(simulated[:, column], [0.01, 0.99])
        if low > np.quantile(real[:, column], 0.1) or high < np.quantile(real[:, column], 0.9):
            found.append(f"{hours} h: the real 10-90 % is not inside the simulated 1-99 %")
        if abs(np.median(simulated[:, column]) - np.median(real[:, column])) > 0.06:
            found.append(f"{hours} h: the medians differ by more than 0.06")
        if stats.ks_2samp(simulated[:, column], real[:, column]).pvalue < 0.005:
            found.append(f"{hours} h: the distributions differ (Kolmogorov-Smirnov)")
    return found


def test_it_integrates_to_one() -> None:
    kernel = fitted.SHAPE.kernel

    def density(delay: float) -> float:
        level = kernel.early / kernel.flat
        return level if delay <= kernel.flat else level * (delay / kernel.flat) ** -(1 + kernel.theta)

    for end in (50.0, kernel.flat, 3_600.0, WEEK):
        area, _ = integrate.quad(density, 0, end, points=[min(kernel.flat, end)], limit=500)
        assert kernel.reached(np.array([end]))[0] == pytest.approx(area, rel=1e-5)
    assert kernel.reached(np.array([-1.0, 0.0])).tolist() == [0, 0]
    assert kernel.reached(np.array([1e30]))[0] == pytest.approx(1)


def test_it_draws_delays_by_the_inverse_of_reached() -> None:
    kernel = fitted.SHAPE.kernel
    uniform = np.linspace(0, 0.999, 500)
    assert kernel.reached(kernel.delays(uniform)) == pytest.approx(uniform)


def test_it_simulates_the_same_cascade_from_the_same_seed() -> None:
    simulate = partial(spread_of(fitted.SHAPE.kernel).simulate, life=Life(50, 0.8, WEEK))
    one, two = (simulate(np.random.default_rng(3)) for _ in range(2))
    assert one.ages.tolist() == two.ages.tolist()
    assert (np.diff(one.ages) >= 0).all()
    assert one.ages.min() >= 0
    assert one.ages.max() < WEEK


def test_it_brings_about_as_many_retweets_as_its_life_says() -> None:
    """Without fading and with an even rhythm, a branching process has root / (1 - ratio) descendants."""
    spread = replace(spread_of(Kernel(150, 2.0)), rhythm=np.ones_like, crest=1.0)
    rng = np.random.default_rng(5)
    mean_audience = fitted.AUDIENCE.draw(rng, 400_000).mean()
    sizes = [len(spread.simulate(rng, Life(100, 0.5, 1e12)).ages) for _ in range(400)]
    assert np.mean(sizes) == pytest.approx(100 / (1 - 0.5 * mean_audience), rel=0.15)


def test_it_stops_growing_at_the_limit() -> None:
    burst = spread_of(fitted.SHAPE.kernel).simulate(np.random.default_rng(1), Life(500, 3.0, WEEK), limit=1000)
    assert 1000 <= len(burst.ages) < 1_000_000


def test_it_finds_the_fitted_numbers_again(cascades: list[Cascade]) -> None:
    found = fit(cascades)
    if len(cascades) == 50:
        assert found.shape.kernel.flat == fitted.SHAPE.kernel.flat
        assert found.shape.kernel.theta == pytest.approx(fitted.SHAPE.kernel.theta, abs=0.005)
        assert found.shape.amplitude == pytest.approx(fitted.SHAPE.amplitude, abs=0.005)
        assert found.shape.exponent == pytest.approx(fitted.SHAPE.exponent, abs=0.005)
        assert found.audience.sizes == pytest.approx(fitted.AUDIENCE.sizes, rel=0.05)
        for one, kept in zip(found.lives, fitted.LIVES, strict=True):
            assert (one.root, one.ratio) == pytest.approx((kept.root, kept.ratio), rel=0.05)
    else:
        assert found.shape.kernel.flat == pytest.approx(185, abs=1)
        assert found.shape.kernel.theta == pytest.approx(0.249, abs=0.005)


def test_it_recovers_a_kernel_that_it_simulated() -> None:
    """Reactions to a loud author alone: the flat part is found whatever the data's own is."""
    rng = np.random.default_rng(11)
    for flat in (60.0, 240.0):
        ages = np.sort(Kernel(flat, 0.35).delays(rng.random(20_000)))
        ages = ages[ages < WEEK]
        cascade = Cascade(1, 0.0, 1e9, ages, np.ones_like(ages))
        assert fit_flat([cascade]) == pytest.approx(flat, rel=0.1)


def test_it_spreads_like_the_real_retweets(real_reached: tuple[Floats, Floats]) -> None:
    sizes, reached = simulate_reached(fitted.SHAPE.kernel, n=500)
    real_sizes, real = real_reached
    assert misfits(reached, real) == []
    assert 0.75 < np.median(sizes) / np.median(real_sizes) < 1.5


@pytest.mark.parametrize("wrong", [Kernel(150, 0.75), Kernel(150, 0.2), Kernel(3_000, 0.35), Kernel(20, 0.35)], ids=str)
def test_it_would_notice_another_kernel(wrong: Kernel, real_reached: tuple[Floats, Floats]) -> None:
    _, reached = simulate_reached(wrong, n=250)
    assert misfits(reached, real_reached[1]) != []
