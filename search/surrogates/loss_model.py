"""One surrogate per metric: losses are predicted one by one, and put together only by the objective.

A fit to the objective itself ranks worse: it hides which domain helps which metric.

Shapes: N mixtures, D domains, M metrics.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from search.errors import SearchError
from search.runs import Runs, present
from search.surrogates.base import Fitted, Prediction, Surrogate
from search.surrogates.rows import Rows, deal_folds
from search.threads import one_thread


@dataclass(frozen=True, eq=False)
class LossModel:
    """A surrogate fitted to each metric of runs; predictions are for the runs' target.

    Attributes:
        out_of_fold: of each metric, what `Surrogate.hold_out` found, where the fits came with it.
    """

    surrogate: Surrogate[Any]
    runs: Runs
    fitted: tuple[Fitted[Any], ...]
    out_of_fold: tuple[Prediction | None, ...] | None = None

    @classmethod
    def fit(cls, surrogate: Surrogate[Any], runs: Runs) -> LossModel:
        """
        Raises:
            SearchError: a metric was measured by too few runs.
        """
        return cls(surrogate, runs, tuple(fit_metric(surrogate, runs, metric) for metric in runs.metrics))

    @one_thread
    def held_out(self) -> tuple[Float[np.ndarray, "N M"], Float[np.ndarray, "N M"]]:
        """What fits to the other folds predict of each run's mixture, and its standard deviation, twice [N, M].

        NaN where the run did not measure the metric, or is always known.
        """
        mean_NM, sd_NM = np.full_like(self.runs.values_NM, np.nan), np.full_like(self.runs.values_NM, np.nan)
        for place, (metric, fitted) in enumerate(zip(self.runs.metrics, self.fitted, strict=True)):
            measured_N, rows = metric_rows(self.runs, metric, self.surrogate.seed)
            found = self.surrogate.hold_out(rows, fitted) if self.out_of_fold is None else self.out_of_fold[place]
            if found is not None:
                mean_NM[measured_N, place], sd_NM[measured_N, place] = found.mean_N, found.sd_N
        return mean_NM, sd_NM

    def at_runs(self) -> LossModel:
        """Predicting for the runs' target, where its surrogate predicts for a further goal."""
        return replace(self, fitted=tuple(fitted.at_runs() for fitted in self.fitted))

    @property
    def beyond_runs(self) -> bool:
        """Whether it predicts for a further goal."""
        return any(fitted.at_runs() is not fitted for fitted in self.fitted)

    def difference_sd_M(
        self, one_D: Float[np.ndarray, " D"], other_D: Float[np.ndarray, " D"]
    ) -> Float[np.ndarray, " M"] | None:
        """Of the differences of new runs of two mixtures, [M]; None where their errors are taken as independent."""
        found = [fitted.difference_sd(one_D, other_D) for fitted in self.fitted]
        known = [sd for sd in found if sd is not None]
        return np.array(known) if len(known) == len(found) else None

    @one_thread
    def mean(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N M"]:
        """Predicted values, [N, M]."""
        return np.column_stack([fitted.mean(weights_ND) for fitted in self.fitted])

    @one_thread
    def predict(
        self, weights_ND: Float[np.ndarray, "N D"]
    ) -> tuple[Float[np.ndarray, "N M"], Float[np.ndarray, "N M"]]:
        """Predicted values and their standard deviations, twice [N, M]."""
        predictions = [fitted.predict(weights_ND) for fitted in self.fitted]
        return (
            np.column_stack([prediction.mean_N for prediction in predictions]),
            np.column_stack([prediction.sd_N for prediction in predictions]),
        )


@one_thread
def fit_metric(surrogate: Surrogate[Any], runs: Runs, metric: str) -> Fitted[Any]:
    """
    Raises:
        SearchError: the metric was measured by too few runs.
    """
    return surrogate.fit_rows(_enough_rows(surrogate, runs, metric))


@one_thread
def begin_metric(surrogate: Surrogate[Any], runs: Runs, metric: str) -> Fitted[Any]:
    """The first half of `fit_metric`.

    Raises:
        SearchError: the metric was measured by too few runs.
    """
    return surrogate.begin(_enough_rows(surrogate, runs, metric))


@one_thread
def finish_metric(
    surrogate: Surrogate[Any], runs: Runs, metric: str, begun: Fitted[Any]
) -> tuple[Fitted[Any], Prediction | None]:
    """The second half, and the rows' held-out predictions."""
    _, rows = metric_rows(runs, metric, surrogate.seed)
    fitted = surrogate.finish(rows, begun)
    return fitted, surrogate.hold_out(rows, fitted)


def _enough_rows(surrogate: Surrogate[Any], runs: Runs, metric: str) -> Rows:
    _, rows = metric_rows(runs, metric, surrogate.seed)
    if len(rows) < surrogate.fewest_runs:
        raise SearchError(
            f"metric {metric}: {len(rows)} runs measured it, {surrogate.fewest_runs} are needed",
            hint="leave it out of the objective, or measure it in more runs",
        )
    return rows


def metric_rows(runs: Runs, metric: str, seed: int) -> tuple[Bool[np.ndarray, " N"], Rows]:
    """Which runs measured the metric, and these as rows; a mixture is in the same fold for all metrics."""
    values_N = runs.values_NM[:, runs.metrics.index(metric)]
    measured_N = np.isfinite(values_N)
    fold_N = deal_folds(runs.weights_ND, runs.at_target_N, runs.complete_N, seed)
    scales = runs.scales.at(np.unique(runs.fidelity_N[measured_N]))
    fidelity_N = present(runs.fidelity_N[measured_N])
    return measured_N, Rows(runs.weights_ND[measured_N], values_N[measured_N], fidelity_N, fold_N[measured_N], scales)
