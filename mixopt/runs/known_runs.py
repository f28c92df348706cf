"""Runs of a table, known again by what they measured: whatever its runs, domains and metrics are called.

Shapes: N runs, D weights, M metrics.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from search.runs import Runs

# Two runs whose shares and losses are so near are one: no two trainings agree in this.
SAME = 1e-6


@dataclass(frozen=True)
class KnownRuns:
    """
    Attributes:
        weights_ND: the largest first.
        values_NM: nan where a metric was not measured.
    """

    weights_ND: Float[np.ndarray, "N D"]
    values_NM: Float[np.ndarray, "N M"]

    @classmethod
    def of(cls, runs: Runs) -> KnownRuns:
        return cls(_falling(runs.weights_ND), np.where(np.isfinite(runs.values_NM), runs.values_NM, np.nan))

    def hold(self, weights: Iterable[float], losses: Iterable[float]) -> bool:
        """Whether a run with these shares, in any order, is one of them: all that it measured is among the losses."""
        mine_D, theirs_ND = np.zeros(self.weights_ND.shape[1]), self.weights_ND
        given = _falling(np.fromiter(weights, np.float64))
        if (given[len(mine_D) :] > SAME).any():
            return False
        mine_D[: len(given)] = given[: len(mine_D)]
        alike_N: Bool[np.ndarray, " N"] = np.all(np.abs(theirs_ND - mine_D) <= SAME, axis=1)
        values_LM = self.values_NM[alike_N]
        known = np.fromiter(losses, np.float64)
        found_LM = (np.abs(values_LM[:, :, None] - known) <= SAME).any(axis=2)
        measured_LM = ~np.isnan(values_LM)
        return bool((measured_LM.any(axis=1) & (found_LM | ~measured_LM).all(axis=1)).any())


def _falling(weights: Float[np.ndarray, "... D"]) -> Float[np.ndarray, "... D"]:
    return -np.sort(-weights, axis=-1)
