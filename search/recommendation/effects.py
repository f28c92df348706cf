"""What each domain, or several together, does to the predicted objective, around one mixture.

Shapes: N mixtures, D domains, S steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from search.mixture import ROUNDING, Mixture

STEPS = 15


@dataclass(frozen=True)
class Effect:
    """The predicted objective as the share of one domain, or of several, goes from the least to the most trained.

    Those that move keep their proportions to each other, and so do the others, but for those whose share was always the
    same: these keep it. Limits are not looked at.
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
    together: Mapping[str, Sequence[str]] | None = None,
) -> Mapping[str, Effect]:
    """The effect of each domain; `predicted` gives the objective of mixtures [N, D].

    Args:
        together: by name, domains that move as one; in place of each domain by itself.
    """
    together = {domain: [domain] for domain in mixture.domains} if together is None else together
    if not together:
        return {}
    along = [moved_along(mixture, domains, trained_ND) for domains in together.values()]
    # Asked for at once, which is several times as fast.
    values_DS = predicted(np.vstack([moved_SD for _, moved_SD in along])).reshape(len(along), STEPS)
    return {
        name: Effect(tuple(map(float, shares_S)), tuple(map(float, values_S)))
        for name, (shares_S, _), values_S in zip(together, along, values_DS, strict=True)
    }


def moved_along(
    mixture: Mixture, domains: Sequence[str], trained_ND: Float[np.ndarray, "N D"]
) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, "S D"]]:
    """Shares of these domains from the least to the most that was trained, [S], and the mixture with each, [S, D]."""
    moves_D = np.isin(mixture.domains, domains)
    sums_N = trained_ND[:, moves_D].sum(axis=1)
    shares_S = np.linspace(sums_N.min(), sums_N.max(), STEPS)
    held_D = np.ptp(trained_ND, axis=0) <= ROUNDING
    return shares_S, _moved(mixture.array, moves_D, shares_S, held_D & ~moves_D)


def _moved(
    weights_D: Float[np.ndarray, " D"],
    moves_D: Bool[np.ndarray, " D"],
    shares_S: Float[np.ndarray, " S"],
    held_D: Bool[np.ndarray, " D"],
) -> Float[np.ndarray, "S D"]:
    """The mixture with the sum of some domains' shares set to each of the shares, [S, D]."""
    kept_D = np.where(held_D, weights_D, 0)
    moved_SD: Float[np.ndarray, "S D"] = (
        kept_D
        + shares_S[:, None] * _parts(weights_D, moves_D)
        + (1 - kept_D.sum() - shares_S)[:, None] * _parts(weights_D, ~moves_D & ~held_D)
    )
    moved_SD /= moved_SD.sum(axis=1, keepdims=True)
    return moved_SD


def _parts(weights_D: Float[np.ndarray, " D"], of_D: Bool[np.ndarray, " D"]) -> Float[np.ndarray, " D"]:
    """What each of some domains has of their sum, alike where they have nothing; 0 elsewhere."""
    of_these_D = np.where(of_D, weights_D, 0.0)
    if of_these_D.sum() == 0:
        of_these_D = of_D.astype(np.float64)
    parts_D: Float[np.ndarray, " D"] = of_these_D / max(of_these_D.sum(), 1e-12)
    return parts_D
