"""One surrogate a metric: losses are predicted one by one, and put together only by the objective.

A fit to the objective itself ranks worse: it hides which domain helps which metric.

Shapes: N mixtures, D domains, M metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from search.errors import SearchError
from search.mixture import FloatArray
from search.runs import IntArray, Runs
from search.surrogates.base import Surrogate


@dataclass(frozen=True)
class LossModel:
    """Fitted surrogates, one for each of `metrics`; predictions are for the runs' target."""

    metrics: tuple[str, ...]
    surrogates: tuple[Surrogate, ...]

    @property
    def fewest_runs(self) -> int:
        """It cannot be fitted to fewer runs of a metric."""
        return self.surrogates[0].fewest_runs

    @classmethod
    def fit(cls, kind: type[Surrogate], seed: int, runs: Runs) -> Self:
        """
        Raises:
            SearchError: a metric was measured by too few runs.
        """
        return cls(runs.metrics, tuple(kind(seed).fit(*rows) for rows in _rows(runs, kind)))

    def refit(self, runs: Runs) -> Self:
        """The same surrogates fitted to other runs, what was costly to choose kept."""
        rows_M = _rows(runs, type(self.surrogates[0]))
        return type(self)(
            self.metrics, tuple(each.refit(*rows) for each, rows in zip(self.surrogates, rows_M, strict=True))
        )

    def mean(self, weights_ND: FloatArray) -> FloatArray:
        """Predicted values, [N, M]."""
        return np.column_stack([surrogate.mean(weights_ND) for surrogate in self.surrogates])

    def predict(self, weights_ND: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Predicted values and their standard deviations, twice [N, M]."""
        predictions = [surrogate.predict(weights_ND) for surrogate in self.surrogates]
        return (
            np.column_stack([prediction.mean_N for prediction in predictions]),
            np.column_stack([prediction.sd_N for prediction in predictions]),
        )


def _rows(runs: Runs, kind: type[Surrogate]) -> list[tuple[FloatArray, FloatArray, IntArray]]:
    """Mixtures, values and levels of the runs that measured it, for each metric."""
    rows = []
    for metric, values_N in zip(runs.metrics, runs.values_NM.T, strict=True):
        measured_N = np.isfinite(values_N)
        if measured_N.sum() < kind.fewest_runs:
            raise SearchError(
                f"metric {metric}: {measured_N.sum()} runs measured it, {kind.fewest_runs} are needed",
                hint="leave it out of the objective, or measure it in more runs",
            )
        rows.append((runs.weights_ND[measured_N], values_N[measured_N], runs.level_N[measured_N]))
    return rows
