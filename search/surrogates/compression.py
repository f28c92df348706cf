"""Values that lie far from the others, drawn in: they say where not to go, and set no scale.

The loss on a domain jumps where a mixture has none of it, by far more than mixtures that are candidates for an answer
differ. Least squares on such values spends a model's freedom on the jumps, and leaves the basin to chance.

    z = median + d                           |d| <= reach
      = median +- reach (1 + log(|d| / reach))   beyond,      d = value - median

The reach of either side is REACH times how far the other side's last tenth begins from the median: of a normal
distribution 2.6 standard deviations, beyond which hardly any value lies. The side of the basin has no jumps, so it
need not be known which it is.

Shapes: N values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

REACH = 2.0
TAIL = 0.1
# The tenth of fewer values is one value, and as likely as not the best of them is far.
FEWEST = 20
# Beyond it an inverse says no more than far.
MOST_EXPONENT = 8.0


@dataclass(frozen=True)
class Compression:
    """Reaches are in the values' unit."""

    median: float
    below: float
    above: float

    @classmethod
    def of(cls, values_N: Float[np.ndarray, " N"]) -> Compression:
        if len(values_N) < FEWEST:
            return cls(0.0, np.inf, np.inf)
        low, median, high = np.quantile(values_N, [TAIL, 0.5, 1 - TAIL])
        # Where a side has no spread, nothing is known of how far is far.
        spread = [float(each) or np.inf for each in (high - median, median - low)]
        return cls(float(median), REACH * spread[0], REACH * spread[1])

    def forward(self, values_N: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """z of values."""
        beyond_N, reach_N = self._beyond(values_N)
        far_N = beyond_N > 1
        drawn_N = reach_N * (1 + np.log(np.where(far_N, beyond_N, 1)))
        return np.where(far_N, self.median + np.copysign(drawn_N, values_N - self.median), values_N)

    def inverse(self, compressed_N: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """The values whose z these are."""
        beyond_N, reach_N = self._beyond(compressed_N)
        far_N = beyond_N > 1
        apart_N = reach_N * np.exp(np.where(far_N, np.minimum(beyond_N - 1, MOST_EXPONENT), 0))
        return np.where(far_N, self.median + np.copysign(apart_N, compressed_N - self.median), compressed_N)

    def stretch(self, compressed_N: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """By how much the values differ where z differs by 1."""
        beyond_N, _ = self._beyond(compressed_N)
        return np.asarray(np.exp(np.clip(beyond_N - 1, 0, MOST_EXPONENT)))

    def _beyond(self, values_N: Float[np.ndarray, " N"]) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
        """Distances from the median in reaches, and the reaches, twice [N]."""
        reach_N = np.where(values_N > self.median, self.above, self.below)
        return np.abs(values_N - self.median) / reach_N, reach_N
