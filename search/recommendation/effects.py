"""What each domain does to the predicted objective, around one mixture.

Shapes: D domains, S steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from search.mixture import ROUNDING, Mixture

STEPS = 15


@dataclass(frozen=True)
class Effect:
    """The predicted objective as one domain's share goes from the least to the most that was trained.

    The other domains keep their proportions to each other, and those whose share was always the same keep it. Limits on
    them are not looked at.
    """

    shares: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def size(self) -> float:
        return max(self.values) - min(self.values)

    @property
    def varied(self) -> bool:
        """Whether the share was not the same in all that was trained: otherwise nothing is known of it."""
        return self.shares[-1] - self.shares[0] > ROUNDING

    def flat(self, doubt: float) -> bool:
        """Whether it cannot be told from no effect, where a prediction has this standard deviation."""
        return self.varied and self.size < doubt


def effects(
    predicted: Callable[[Float[np.ndarray, "N D"]], Float[np.ndarray, " N"]],
    mixture: Mixture,
    trained_ND: Float[np.ndarray, "N D"],
) -> Mapping[str, Effect]:
    """The effect of each domain; `predicted` gives the objective of mixtures [N, D]."""
    along = [moved_along(mixture, domain, trained_ND) for domain in mixture.domains]
    # Asked for at once, which is several times as fast.
    values_DS = predicted(np.vstack([moved_SD for _, moved_SD in along])).reshape(len(along), STEPS)
    return {
        domain: Effect(tuple(map(float, shares_S)), tuple(map(float, values_S)))
        for domain, (shares_S, _), values_S in zip(mixture.domains, along, values_DS, strict=True)
    }


def moved_along(
    mixture: Mixture, domain: str, trained_ND: Float[np.ndarray, "N D"]
) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, "S D"]]:
    """The shares of a domain from the least to the most that was trained, [S], and the mixture with each, [S, D]."""
    place = mixture.domains.index(domain)
    shares_S = np.linspace(trained_ND[:, place].min(), trained_ND[:, place].max(), STEPS)
    held_D = np.ptp(trained_ND, axis=0) <= ROUNDING
    return shares_S, _moved(mixture.array, place, shares_S, held_D)


def _moved(
    weights_D: Float[np.ndarray, " D"], place: int, shares_S: Float[np.ndarray, " S"], held_D: Bool[np.ndarray, " D"]
) -> Float[np.ndarray, "S D"]:
    """The mixture with one domain's share set to each of the shares, [S, D]."""
    gives_D = ~held_D
    gives_D[place] = False
    rest_D = np.where(gives_D, weights_D, 0)
    if rest_D.sum() == 0:
        rest_D = gives_D.astype(float)
    kept_D = np.where(held_D, weights_D, 0)
    kept_D[place] = 0
    moved_SD: Float[np.ndarray, "S D"] = kept_D + (1 - kept_D.sum() - shares_S)[:, None] * rest_D / max(
        rest_D.sum(), 1e-12
    )
    moved_SD[:, place] = shares_S
    moved_SD /= moved_SD.sum(axis=1, keepdims=True)
    return moved_SD
