"""Whether a metric can be predicted at all, and whether a mixture lies on a bound: what a card says before its numbers.

Shapes: N runs, D domains, K trained mixtures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from search.mixture import Mixture
from search.noise import within_mixtures
from search.recommendation.validation import Score, better_than_chance
from search.space import Space

# A share this near a bound, as a part of it, is held by it.
AT_BOUND = 0.98
# A share below this one is next to nothing.
NEXT_TO_NOTHING = 1e-3
# A metric is predictable where held-out predictions explain at least so much of what noise leaves to be explained.
MOST = 0.5
# With fewer degrees of freedom nothing is said of the noise: two runs of one mixture may be alike by chance.
FEWEST_FREEDOM = 2

Verdict = Literal["predictable", "partly", "not shown"]
BoundKind = Literal["maximum", "supply", "minimum", "most trained", "least trained"]


@dataclass(frozen=True)
class RunNoise:
    """What runs of one mixture differ by.

    Attributes:
        sd: standard deviation, in the metric's unit.
        freedom: degrees of freedom that it rests on: with fewer than 5 it may well be half or twice of it.
    """

    sd: float
    freedom: int


@dataclass(frozen=True)
class Predictability:
    """
    Attributes:
        explained: share of the variance of held-out runs that is explained; None where all are equal.
        ceiling: the most that could be, 1 - variance of the noise / variance of the runs; None without replicates.
        noise: of single runs; None without replicates.
    """

    verdict: Verdict
    explained: float | None
    ceiling: float | None
    noise: RunNoise | None


@dataclass(frozen=True)
class Bound:
    """What holds a domain's share.

    Attributes:
        share: the bound.
    """

    domain: str
    kind: BoundKind
    share: float

    def __str__(self) -> str:
        match self.kind:
            case "maximum":
                return f"at its upper bound (max {_percent(self.share)})"
            case "supply":
                return f"at its upper bound (supply for {_percent(self.share)})"
            case "minimum":
                return f"at its lower bound (min {_percent(self.share)})"
            case "most trained":
                return f"at the edge of the evidence (no run has more than {_percent(self.share)})"
            case "least trained":
                return f"at the edge of the evidence (no run has less than {_percent(self.share)})"


def run_noise(values_N: Float[np.ndarray, " N"], mixture_N: Int[np.ndarray, " N"]) -> RunNoise | None:
    """The spread within mixtures, pooled; None where hardly a mixture was run twice.

    Args:
        values_N: of runs at one fidelity, all measured.
        mixture_N: a number for each run, equal for equal mixtures.
    """
    [square], freedom = within_mixtures(values_N[:, None], mixture_N)
    return None if freedom < FEWEST_FREEDOM else RunNoise(float(np.sqrt(square / freedom)), freedom)


def predictability(score: Score, mixtures: int, variance: float, noise: RunNoise | None) -> Predictability:
    """What held-out predictions of a metric amount to.

    Args:
        score: of the metric, held out.
        mixtures: how many it is over.
        variance: of the runs that it is over.
        noise: of single runs of the same.
    """
    ceiling = None if noise is None or variance <= 0 else max(0.0, 1 - noise.sd**2 / variance)
    if score.r2 is None or not better_than_chance(score.spearman, mixtures):
        verdict: Verdict = "not shown"
    elif score.r2 >= MOST * (1.0 if ceiling is None else ceiling):
        verdict = "predictable"
    else:
        verdict = "partly"
    return Predictability(verdict, score.r2, ceiling, noise)


def bounds(space: Space, mixture: Mixture, trained_KD: Float[np.ndarray, "K D"]) -> tuple[Bound, ...]:
    """The domains whose share is held by a limit, or by what was trained, each once; a pinned one is not held.

    A limit comes before the evidence: where both hold a share, more runs would not free it.
    """
    found = []
    shares = mixture.reordered(space.domains).weights
    supply_D, least_D, most_D = space.supply_D, trained_KD.min(axis=0), trained_KD.max(axis=0)
    for place, (limit, share) in enumerate(zip(space.limits, shares, strict=True)):
        lower, upper = limit.minimum, float(space.upper_D[place])
        least, most = float(least_D[place]), float(most_D[place])
        kind: BoundKind
        if upper <= lower:
            continue
        if upper < 1 and share >= AT_BOUND * upper:
            kind, bound = ("supply" if supply_D[place] < limit.maximum else "maximum"), upper
        elif share <= max(lower / AT_BOUND, lower + NEXT_TO_NOTHING):
            kind, bound = "minimum", lower
        elif share >= AT_BOUND * most:
            kind, bound = "most trained", most
        elif share <= least / AT_BOUND:
            kind, bound = "least trained", least
        else:
            continue
        found.append(Bound(limit.name, kind, bound))
    return tuple(found)


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
