"""Output warps: values seen through a logarithm, u = sign * log(sign * z - floor).

Losses follow laws, floor + A (effective data)^-g, whose logarithm above the floor is nearly additive: where a law
holds, a process on u learns it from few runs, and where none does, the process remains. The floor is not known, so
several are tried and their marginal likelihoods decide (search.surrogates.warped_process). At and below the floor,
where other runs may lie, the logarithm goes on as its tangent.

Shapes: N values.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float

from search.arrays import Array

# How far below the lowest value the floor lies, in standard deviations; infinitely far is no warp at all.
GAPS = (0.08, 0.15, 0.3, 0.6, 1.2, 2.5)
# Prior on the gap: log-normal around 0.4; no warp counts as a gap of 8.
USUAL_GAP, WIDEST_GAP = 0.4, 8.0
# Variances in u beyond which moments would explode.
LARGEST_VARIANCE = 1.0


@dataclass(frozen=True)
class Warp:
    """
    Attributes:
        gap: distance of the floor from the lowest value (or the highest, for sign -1); infinite: the identity.
        sign: 1 where low values crowd together, as losses do; -1 where high ones do, as accuracies.
        floor: of sign * z.
    """

    gap: float
    sign: int
    floor: float

    @classmethod
    def of(cls, gap: float, sign: int, values_N: Float[np.ndarray, " N"]) -> Warp:
        """The warp whose floor lies `gap` below these values."""
        return cls(gap, sign, 0.0 if gap == inf else float((sign * values_N).min()) - gap)

    @property
    def identity(self) -> bool:
        return self.gap == inf

    @property
    def log_prior(self) -> float:
        return -0.5 * log(min(self.gap, WIDEST_GAP) / USUAL_GAP) ** 2

    @property
    def _least(self) -> float:
        """The height above the floor below which the logarithm goes on as its tangent."""
        return 0.25 * min(self.gap, 1.0)

    def forward(self, values_N: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """u of values."""
        if self.identity:
            return values_N
        above_N = self.sign * values_N - self.floor
        log_N = np.log(np.maximum(above_N, self._least)) + np.minimum(above_N / self._least - 1, 0)
        warped_N: Float[np.ndarray, " N"] = self.sign * log_N
        return warped_N

    def inverse(self, warped: Array, library: ModuleType = np) -> Array:
        """The values whose `forward` these are, of any shape, in NumPy or PyTorch."""
        return warped if self.identity else self._values(self.sign * warped - log(self._least), 0.0, library)

    def _values(self, beyond: Array, half_variance: Any, library: ModuleType) -> Array:
        """Values whose logarithms are so far beyond that of the least height, as means over that variance."""
        curve = library.exp(beyond + half_variance)
        above = self._least * library.where(beyond < 0, 1 + beyond, curve)
        values: Array = self.sign * (self.floor + above)
        return values

    def log_slope(self, values_N: Float[np.ndarray, " N"]) -> float:
        """Sum of log du/dz: a log density of u plus this is one of z."""
        if self.identity:
            return 0.0
        return -float(np.log(np.maximum(self.sign * values_N - self.floor, self._least)).sum())

    def moments(
        self, mean_N: Float[np.ndarray, " N"], variance_N: Float[np.ndarray, " N"]
    ) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
        """Mean and variance of z where u is normal: z is log-normal above the floor, normal on the tangent."""
        if self.identity:
            return mean_N, variance_N
        variance_N = np.minimum(variance_N, LARGEST_VARIANCE)
        beyond_N = self.sign * mean_N - log(self._least)
        values_N = self._values(beyond_N, variance_N / 2, np)
        above_N = self.sign * values_N - self.floor
        spread_N = np.where(beyond_N < 0, self._least**2 * variance_N, above_N**2 * np.expm1(variance_N))
        return values_N, spread_N


IDENTITY = Warp(inf, 1, 0.0)


def all_warps(values_N: Float[np.ndarray, " N"]) -> list[Warp]:
    """Every gap with both signs, and the identity, in the order of what they do: each is much like its neighbours."""
    high, low = ([Warp.of(gap, sign, values_N) for gap in GAPS] for sign in (-1, 1))
    return [*high, IDENTITY, *reversed(low)]
