"""What each domain does to the predicted objective, around one mixture.

Shapes: D domains, S steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from search.mixture import FloatArray, Mixture

STEPS = 15


@dataclass(frozen=True)
class Effect:
    """The predicted objective as one domain's share goes from the least to the most that was trained.

    The other domains keep their proportions to each other.
    """

    shares: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def size(self) -> float:
        return max(self.values) - min(self.values)


def effects(
    predicted: Callable[[FloatArray], FloatArray], mixture: Mixture, trained_ND: FloatArray
) -> Mapping[str, Effect]:
    """The effect of each domain; `predicted` gives the objective of mixtures [N, D]."""
    found = {}
    for place, domain in enumerate(mixture.domains):
        shares_S = np.linspace(trained_ND[:, place].min(), trained_ND[:, place].max(), STEPS)
        values_S = predicted(_moved(mixture.array, place, shares_S))
        found[domain] = Effect(tuple(map(float, shares_S)), tuple(map(float, values_S)))
    return found


def _moved(weights_D: FloatArray, place: int, shares_S: FloatArray) -> FloatArray:
    """The mixture with one domain's share set to each of the shares, [S, D]."""
    rest_D = np.where(np.arange(len(weights_D)) == place, 0, weights_D)
    if rest_D.sum() == 0:
        rest_D = (np.arange(len(weights_D)) != place).astype(float)
    moved_SD: FloatArray = (1 - shares_S)[:, None] * rest_D / max(rest_D.sum(), 1e-12)
    moved_SD[:, place] = shares_S
    moved_SD /= moved_SD.sum(axis=1, keepdims=True)
    return moved_SD
