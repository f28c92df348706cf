"""Where an answer may lie: inside the evidence, and, where asked for, not too far from the natural mixture.

A regression run to its optimum goes where nothing was measured: the law of effective data, fitted to Pile-CC's loss,
puts 99.96% on one domain.

Shapes: N mixtures, D domains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from search.errors import SearchError
from search.mixture import DECIMALS
from search.space import Space

# A domain's share may go beyond the largest and the least that were trained by this part of them.
STRETCH = 0.1
# A trial's, which is there to find out, as far as this many times the one, and this part of the other.
TIMES_THE_MOST, PART_OF_THE_LEAST = 2.0, 0.5


@dataclass(frozen=True)
class TrustRegion:
    """
    Attributes:
        near_evidence: the nearest trained mixture is no further than another is from 95% of the trained ones, and no
            domain has a share beyond the trained ones, above or below, by more than a tenth of them: a loss may jump
            where a domain has less than it ever had.
        max_kl: the most that KL(mixture || natural) may be, in nats; a bound and not a weight in the objective, which
            would depend on the objective's scale.
    """

    near_evidence: bool = True
    max_kl: float | None = None

    def __post_init__(self) -> None:
        if self.max_kl is not None and self.max_kl <= 0:
            raise SearchError(f"max_kl {self.max_kl:g} leaves nothing but the natural mixture", hint="give more than 0")

    def inside(
        self, weights_ND: Float[np.ndarray, "N D"], space: Space, trained_KD: Float[np.ndarray, "K D"]
    ) -> Bool[np.ndarray, " N"]:
        """Which mixtures it allows, [N]."""
        known_N = self.known(weights_ND, trained_KD)
        inside_N: Bool[np.ndarray, " N"] = np.logical_and(self.natural_enough(weights_ND, space), known_N)
        return inside_N

    def natural_enough(self, weights_ND: Float[np.ndarray, "N D"], space: Space) -> Bool[np.ndarray, " N"]:
        """Which mixtures are within max_kl, [N]."""
        if self.max_kl is None:
            return np.ones(len(weights_ND), dtype=bool)
        within_N: Bool[np.ndarray, " N"] = divergence(weights_ND, space.natural.array) <= self.max_kl
        return within_N

    def known(
        self, weights_ND: Float[np.ndarray, "N D"], trained_KD: Float[np.ndarray, "K D"]
    ) -> Bool[np.ndarray, " N"]:
        """Which mixtures are near the evidence, [N]; all, where they need not be."""
        if not self.near_evidence:
            return np.ones(len(weights_ND), dtype=bool)
        near_N = distance(weights_ND, trained_KD) <= usual_distance(trained_KD)
        least_D, most_D = self._trained_range(trained_KD)
        known_N: Bool[np.ndarray, " N"] = near_N & ((weights_ND >= least_D) & (weights_ND <= most_D)).all(axis=1)
        return known_N

    def reasons(
        self, weights_D: Float[np.ndarray, " D"], space: Space, trained_KD: Float[np.ndarray, "K D"]
    ) -> list[str]:
        """Why a mixture is not inside, a sentence each; none where it is."""
        found = []
        if not self.natural_enough(weights_D[None], space)[0]:
            nats = divergence(weights_D[None], space.natural.array)[0]
            found.append(f"KL(mixture || natural) is {nats:.3g} nats, above max_kl {self.max_kl:g}")
        if self.near_evidence:
            nearest, usual = distance(weights_D[None], trained_KD)[0], usual_distance(trained_KD)
            if nearest > usual:
                found.append(f"the nearest trained mixture differs in {nearest:.1%} of the tokens, above {usual:.1%}")
            least_D, most_D = self._trained_range(trained_KD)
            for name, share, least, most in zip(space.domains, weights_D, least_D, most_D, strict=True):
                if not least <= share <= most:
                    found.append(
                        f"domain {name}: {share:.4g} is beyond the {least:.4g} to {most:.4g} around trained shares"
                    )
        return found

    def _trained_range(
        self, trained_KD: Float[np.ndarray, "K D"]
    ) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, " D"]]:
        """The least and the largest share of each domain that are near trained ones, twice [D]."""
        return (1 - STRETCH) * trained_KD.min(axis=0), (1 + STRETCH) * trained_KD.max(axis=0)

    def worth_a_look(
        self, space: Space, trained_KD: Float[np.ndarray, "K D"]
    ) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, " D"]]:
        """The least and the largest share of each domain that a trial may have, after these; twice [D]."""
        if not self.near_evidence or not len(trained_KD):
            return space.least_D, space.most_D
        least_D = np.maximum(space.least_D, PART_OF_THE_LEAST * trained_KD.min(axis=0))
        most_D = np.minimum(space.most_D, np.maximum(TIMES_THE_MOST * trained_KD.max(axis=0), least_D))
        return np.minimum(least_D, space.most_D), np.maximum(most_D, space.least_D)


def distance(weights_ND: Float[np.ndarray, "N D"], trained_KD: Float[np.ndarray, "K D"]) -> Float[np.ndarray, " N"]:
    """Total variation to the nearest trained mixture, [N]."""
    from scipy.spatial import cKDTree

    # Total variation is half the distance with p = 1.
    distance_N: Float[np.ndarray, " N"] = np.asarray(cKDTree(trained_KD).query(weights_ND, p=1)[0]) / 2
    return distance_N


def usual_distance(trained_ND: Float[np.ndarray, "N D"]) -> float:
    """Within this distance, 95% of the distinct trained mixtures have another."""
    from scipy.spatial import cKDTree

    distinct_ND = np.unique(np.round(trained_ND, DECIMALS), axis=0)
    if len(distinct_ND) < 2:
        return 0.0
    itself_and_next_N2 = np.asarray(cKDTree(distinct_ND).query(distinct_ND, k=2, p=1)[0])
    return float(np.quantile(itself_and_next_N2[:, 1], 0.95) / 2)


def divergence(weights_ND: Float[np.ndarray, "N D"], natural_D: Float[np.ndarray, " D"]) -> Float[np.ndarray, " N"]:
    """KL(mixture || natural) in nats, [N]; the natural mixture has something of every domain."""
    from scipy.special import rel_entr

    divergence_N: Float[np.ndarray, " N"] = rel_entr(weights_ND, natural_D).sum(axis=1)
    return divergence_N
