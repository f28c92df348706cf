"""One warped process per metric, fitted fast enough to be fitted anew at every question.

The components are chosen on a few runs of one fidelity, which change rarely, so that this costly choice is passed on
from one question to the next.

Shapes: N runs, K of them that measured the metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from search.runs import Runs
from search.surrogates import warped_process
from search.surrogates.blend import WarpedGP, robust_variance
from search.surrogates.loss_model import metric_rows
from search.surrogates.warped_process import Components, Part, WarpedProcess
from search.threads import one_thread


@dataclass(frozen=True, eq=False)
class MetricFit:
    """What is known of one metric.

    Attributes:
        measured_N: the runs that measured it.
        fidelities: of these runs, ascending; the process numbers them by their place here, the last is predicted for.
        error_K: of the best part's process, when each run is left out, in the units of what it sees.
        widening: by how much that process's variances are too small.
    """

    measured_N: Bool[np.ndarray, " N"]
    fidelities: Int[np.ndarray, " L"]
    process: WarpedProcess
    error_K: Float[np.ndarray, " K"]
    widening: float

    @property
    def part(self) -> Part:
        """The best one: acquisitions see one process for each metric."""
        return self.process.parts[0]


@one_thread
def fit_metrics(runs: Runs, seed: int, earlier: Sequence[MetricFit] = ()) -> tuple[MetricFit, ...]:
    """One fit per metric, of runs that are `enough`.

    Args:
        earlier: of an earlier question; what was chosen then is kept where the same would be chosen again.
    """
    choices = {metric: fit.process.choice for metric, fit in zip(runs.metrics, earlier, strict=False)}
    return tuple(_fit(runs, metric, seed, choices.get(metric)) for metric in runs.metrics)


def _fit(runs: Runs, metric: str, seed: int, earlier: Components | None) -> MetricFit:
    measured_N, rows = metric_rows(runs, metric, seed)
    process = warped_process.fit(rows, seed, warped_process.choose(rows, seed, earlier))
    error_K, variance_K = process.parts[0].process.leave_one_out()
    widening = max(robust_variance(error_K / np.sqrt(variance_K)), 1.0)
    return MetricFit(measured_N, np.unique(runs.fidelity_N[measured_N]), process, error_K, widening)


def enough(runs: Runs) -> bool:
    """Whether every metric has a fidelity with runs enough for a fit."""
    measured_NM = np.isfinite(runs.values_NM)
    counts_LM = np.array([measured_NM[runs.at(fidelity)].sum(axis=0) for fidelity in range(len(runs.fidelities))])
    return bool((counts_LM.max(axis=0) >= WarpedGP.fewest_runs).all())
