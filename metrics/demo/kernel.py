"""How attention spreads: a self-exciting process with a power-law memory.

As in SEISMIC (Zhao et al., KDD 2015) and TiDeH (Kobayashi and Lambiotte, ICWSM 2016): whoever shares a Tweet
shows it to an audience, and the audience's reactions come after a delay whose density is flat for the first
`flat` seconds and then falls as a power of the delay. The readiness to react fades as the Tweet ages and
follows the hour of the day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = npt.NDArray[np.float64]

HOUR = 3600.0
DAY = 24 * HOUR
WEEK = 7 * DAY


@dataclass(frozen=True, slots=True)
class Kernel:
    """The density of the delay s, in seconds: c for s <= flat, then c * (s / flat) ** -(1 + theta); its
    integral is 1.
    """

    flat: float
    theta: float

    @property
    def early(self) -> float:
        """The share of the reactions that come within `flat` seconds."""
        return self.theta / (1 + self.theta)

    def reached(self, delay: Floats) -> Floats:
        """The share of the reactions that come within each delay; 0 for delays below 0."""
        late = 1 - (1 - self.early) * (np.maximum(delay, self.flat) / self.flat) ** -self.theta
        return np.where(delay <= self.flat, self.early * np.maximum(delay, 0) / self.flat, late)

    def delays(self, uniform: Floats) -> Floats:
        """The inverse of `reached`: uniform numbers in [0, 1) become delays in seconds."""
        late = self.flat * ((1 - uniform) / (1 - self.early)) ** (-1 / self.theta)
        return np.where(uniform <= self.early, uniform / self.early * self.flat, late)


@dataclass(frozen=True, slots=True)
class Life:
    """What sets one Tweet apart.

    root: Retweets that the author's own audience would make at an even readiness.
    ratio: Retweets that an average Retweet brings about.
    fades_after: seconds in which the readiness falls to 1/e.
    """

    root: float
    ratio: float
    fades_after: float


@dataclass(frozen=True, slots=True)
class Audience:
    """The audiences of the people who Retweet, relative to their mean: a quantile table, log-linear in
    between.
    """

    shares: tuple[float, ...]
    sizes: tuple[float, ...]

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        """n relative audiences."""
        return np.exp(np.interp(rng.random(n), self.shares, np.log(self.sizes)))


@dataclass(frozen=True, slots=True)
class Burst:
    """One simulated cascade in order of time: ages in seconds and relative audiences, both float64[n]."""

    ages: Floats
    audiences: Floats


def daily(amplitude: float, peak_hour: float, start_hour: float) -> Callable[[Floats], Floats]:
    """A cosine rhythm of mean 1 over the ages (seconds) of something that began at `start_hour`."""

    def rhythm(ages: Floats) -> Floats:
        return 1 + amplitude * np.cos(2 * np.pi * ((start_hour - peak_hour) / 24 + ages / DAY))

    return rhythm


@dataclass(frozen=True, slots=True)
class Spread:
    """Kernel, audiences and rhythm together: all it takes to simulate a cascade.

    `rhythm` maps ages in seconds to a factor between 0 and `crest`.
    """

    kernel: Kernel
    audience: Audience
    rhythm: Callable[[Floats], Floats]
    crest: float

    def simulate(self, rng: np.random.Generator, life: Life, horizon: float = WEEK, limit: int = 20_000) -> Burst:
        """The Retweets younger than `horizon` seconds, generation by generation.

        A cascade that reaches `limit` Retweets stops growing there: it has at most one generation more.
        """
        parents, weights = np.zeros(1), np.array([life.root])
        ages, audiences, total = [parents[:0]], [weights[:0]], 0
        while len(parents) and total < limit:
            parents = self._reactions(rng, life, parents, weights, horizon)
            relative = self.audience.draw(rng, len(parents))
            ages.append(parents)
            audiences.append(relative)
            weights = relative * life.ratio
            total += len(parents)
        times, sizes = np.concatenate(ages), np.concatenate(audiences)
        order = np.argsort(times, kind="stable")
        return Burst(times[order], sizes[order])

    def _reactions(
        self, rng: np.random.Generator, life: Life, parents: Floats, weights: Floats, horizon: float
    ) -> Floats:
        """The next generation's ages: as many as the crest could bring, thinned by readiness and rhythm."""
        reactions = np.repeat(parents, rng.poisson(np.minimum(weights * self.crest, 1e5)))
        reactions = reactions + self.kernel.delays(rng.random(len(reactions)))
        reactions = reactions[reactions < horizon]
        readiness = np.exp(-reactions / life.fades_after) * self.rhythm(reactions) / self.crest
        return reactions[rng.random(len(reactions)) < readiness]
