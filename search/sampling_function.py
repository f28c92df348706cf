"""From a few parameters to how often text of each quality is read: the sampling function of QuaDMix.

F. Liu et al., "QuaDMix: Quality-Diversity Balanced Data Selection for Efficient LLM Pretraining", arXiv 2504.16511,
2025, section 3: a document of rank r, 0 the best of its pool and 1 the worst, is read S(r) times on the average,

    S(r) = (2 / (1 + exp(-slope (threshold - r)))) ^ exponent + floor    where r <= threshold,
    S(r) = floor                                                         beyond it.

S falls from nearly 2^exponent + floor at the best to 1 + floor at the threshold, and there to the floor. A steep slope
makes it a step, a slope of 0 one of height 1; a threshold of 1 keeps everything. Only the proportions of copies matter
for a mixture: shares of the levels of a pool are proportional to their tokens times the mean of S over their ranks.

Ranks are shares of tokens, so a level with a fifth of the pool's tokens takes up a fifth of the ranks.

Shapes: N functions, L levels, E = L + 1 edges between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from search.errors import SearchError

# Ranks before the threshold, in units of 1 / slope, beyond which the function is flat but for one part in a billion.
FLAT = 20.0
# Gauss-Legendre points between there and the threshold, where the function is smooth: exact to a billionth.
POINTS = 24


@dataclass(frozen=True, eq=False)
class SamplingFunctions:
    """Many at once.

    Attributes:
        threshold_N: a rank, above 0 and at most 1.
        slope_N, exponent_N, floor_N: at least 0.

    Raises:
        SearchError: a parameter is out of its range.
    """

    threshold_N: Float[np.ndarray, " N"]
    slope_N: Float[np.ndarray, " N"]
    exponent_N: Float[np.ndarray, " N"]
    floor_N: Float[np.ndarray, " N"]

    def __post_init__(self) -> None:
        if not ((self.threshold_N > 0) & (self.threshold_N <= 1)).all():
            raise SearchError("a sampling function's threshold is a rank, above 0 and at most 1")
        for name in ("slope", "exponent", "floor"):
            if not (np.isfinite(values_N := getattr(self, f"{name}_N")) & (values_N >= 0)).all():
                raise SearchError(f"a sampling function's {name} is a number of at least 0")

    @classmethod
    def of(cls, threshold: float, slope: float, exponent: float, floor: float) -> SamplingFunctions:
        """A single one."""
        return cls(*(np.array([value], dtype=np.float64) for value in (threshold, slope, exponent, floor)))

    @classmethod
    def draw(cls, count: int, generator: np.random.Generator) -> SamplingFunctions:
        """Functions of every kind: from nearly all of a pool to a little of it, gently or at once.

        QuaDMix draws thresholds up to .1 and slopes up to 1,000, to keep a tenth of a crawl; whoever has filtered
        already wants less of that, so that here all of a pool may be kept and gentle slopes are as likely as steep
        ones. Half of the functions have a floor.
        """
        floor_N = np.exp(generator.uniform(np.log(1e-3), 0.0, count)) * (generator.random(count) < 0.5)
        return cls(
            threshold_N=1 - generator.random(count),
            slope_N=np.exp(generator.uniform(0.0, np.log(1e3), count)),
            exponent_N=generator.uniform(0.0, 4.0, count),
            floor_N=floor_N,
        )

    def copies(self, rank_K: Float[np.ndarray, " K"]) -> Float[np.ndarray, "N K"]:
        """How often each function reads a document of each rank, on the average, [N, K]."""
        before_NK = self.threshold_N[:, None] - rank_K
        copies_NK: Float[np.ndarray, "N K"] = self.floor_N[:, None] + np.where(
            before_NK >= 0, self._above_floor(np.maximum(before_NK, 0)), 0
        )
        return copies_NK

    def mean_copies(self, edge_E: Float[np.ndarray, " E"]) -> Float[np.ndarray, "N L"]:
        """The mean over each level, [N, L].

        Args:
            edge_E: ranks at which the levels begin and end, rising from 0 to 1.
        """
        low_L, high_L = edge_E[:-1], edge_E[1:]
        threshold_N1 = self.threshold_N[:, None]
        end_NL = np.minimum(high_L, threshold_N1)
        with np.errstate(divide="ignore"):
            bend_N1 = np.maximum(threshold_N1 - FLAT / self.slope_N[:, None], 0)
        begin_NL = np.clip(bend_N1, low_L, np.maximum(end_NL, low_L))
        # Flat as far as the bend; from there to the threshold a smooth curve.
        flat_NL = (begin_NL - low_L) * self._above_floor(threshold_N1)
        node_P, weight_P = np.polynomial.legendre.leggauss(POINTS)
        half_NL = np.maximum(end_NL - begin_NL, 0) / 2
        rank_NLP = begin_NL[..., None] + half_NL[..., None] * (node_P + 1)
        curve_NLP = self._above_floor(np.maximum(threshold_N1 - rank_NLP.reshape(len(rank_NLP), -1), 0))
        curve_NL = half_NL * (curve_NLP.reshape(rank_NLP.shape) @ weight_P)
        mean_NL: Float[np.ndarray, "N L"] = self.floor_N[:, None] + (flat_NL + curve_NL) / (high_L - low_L)
        return mean_NL

    def shares(self, tokens_L: Float[np.ndarray, " L"]) -> Float[np.ndarray, "N L"]:
        """The share of each level in what is read of the pool, summing to one, [N, L].

        Args:
            tokens_L: of the levels, best first.
        """
        edge_E = np.append(0.0, np.cumsum(tokens_L)) / tokens_L.sum()
        mass_NL = tokens_L * self.mean_copies(edge_E)
        shares_NL: Float[np.ndarray, "N L"] = mass_NL / mass_NL.sum(axis=1, keepdims=True)
        return shares_NL

    def _above_floor(self, before_NK: Float[np.ndarray, "N K"]) -> Float[np.ndarray, "N K"]:
        """So many ranks before the threshold, [N, K]."""
        sigmoid_NK = 2 / (1 + np.exp(-np.minimum(self.slope_N[:, None] * before_NK, 700.0)))
        above_NK: Float[np.ndarray, "N K"] = sigmoid_NK ** self.exponent_N[:, None]
        return above_NK
