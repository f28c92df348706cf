"""A mixture: what share of the training tokens each domain gives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from search.errors import SearchError

# Room for the rounding of floating-point sums only: shares that do not sum to one are a mistake.
SUM_TOLERANCE = 1e-9
# Weights that differ by less are the same: one training token in a million, and what rounding in a file leaves.
DECIMALS = 6
ROUNDING = 10.0**-DECIMALS
# Mixtures nearer than this, in total variation, are nearly the same: both teach hardly more than one of them, and are
# not worth two confirmations.
NEAR = 0.01

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Mixture:
    """Non-negative weights over domains that sum to one; a weight is a share of training tokens.

    Raises:
        SearchError: names repeat, a weight is negative or not finite, or the weights do not sum to one.
    """

    domains: tuple[str, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.domains) != len(self.weights):
            raise SearchError(f"{len(self.domains)} domains but {len(self.weights)} weights")
        if len(set(self.domains)) != len(self.domains):
            raise SearchError(f"a domain is named twice: {', '.join(self.domains)}")
        for name, weight in zip(self.domains, self.weights, strict=True):
            if not math.isfinite(weight) or weight < 0:
                raise SearchError(
                    f"domain {name}: weight {weight} is not a share", hint="weights are finite and 0 or above"
                )
        if abs(math.fsum(self.weights) - 1) > SUM_TOLERANCE:
            raise SearchError(
                f"the weights sum to {math.fsum(self.weights):.6g}, not 1",
                hint="use Mixture.of({...}), which divides by the sum",
            )

    @classmethod
    def of(cls, masses: Mapping[str, float]) -> Mixture:
        """The mixture proportional to `masses` (tokens, counts or unnormalised weights)."""
        return cls.from_array(tuple(masses), np.array(list(masses.values()), dtype=np.float64))

    @classmethod
    def from_array(cls, domains: Sequence[str], masses_D: Float[np.ndarray, " D"]) -> Mixture:
        """The mixture proportional to `masses_D`, in the order of `domains`."""
        total = float(masses_D.sum())
        if not math.isfinite(total) or total <= 0:
            raise SearchError(f"weights that sum to {total} are no mixture", hint="give one domain a weight above 0")
        if abs(total - 1) <= SUM_TOLERANCE / 1000:
            total = 1.0  # so that the mixture of a mixture's weights is that very mixture
        return cls(tuple(domains), tuple(float(mass) / total for mass in masses_D))

    @property
    def array(self) -> Float[np.ndarray, " D"]:
        """The weights, [D], in the order of `domains`."""
        return np.array(self.weights, dtype=np.float64)

    def as_dict(self) -> dict[str, float]:
        return dict(zip(self.domains, self.weights, strict=True))

    def __getitem__(self, domain: str) -> float:
        """
        Raises:
            KeyError: there is no such domain.
        """
        if domain not in self.domains:
            raise KeyError(f"no domain {domain!r}; there are {', '.join(self.domains)}")
        return self.weights[self.domains.index(domain)]

    def total_variation(self, other: Mixture) -> float:
        """Half the L1 distance: the share of tokens that would have to change domain, 0 to 1."""
        return float(np.abs(self.array - other.reordered(self.domains).array).sum() / 2)

    def same_as(self, other: Mixture) -> bool:
        """But for what rounding in a file leaves."""
        return self.total_variation(other) <= ROUNDING

    def reordered(self, domains: Sequence[str]) -> Mixture:
        """The same mixture with its domains in another order."""
        if set(domains) != set(self.domains):
            raise SearchError(
                f"a mixture over {', '.join(self.domains)} cannot be read as one over {', '.join(domains)}"
            )
        weight_of = self.as_dict()
        return Mixture(tuple(domains), tuple(weight_of[name] for name in domains))


def counts(mixture: Mixture, total: int) -> dict[str, int]:
    """Whole numbers in the mixture's shares that sum to `total`: the largest remainders are rounded up."""
    exact_D = mixture.array * total
    whole_D = np.floor(exact_D).astype(np.int64)
    left = total - int(whole_D.sum())
    # Stable, so that of equal remainders the first domain's comes first.
    whole_D[np.argsort(whole_D - exact_D, kind="stable")[:left]] += 1
    return dict(zip(mixture.domains, whole_D.tolist(), strict=True))
