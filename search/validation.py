"""How well a surrogate predicts mixtures that it was not fitted to, by k-fold cross-validation.

Shapes: N mixtures, D domains, M metrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import NormalDist

import numpy as np

from search.mixture import FloatArray
from search.objective import Objective
from search.pooling import Evidence
from search.randomness import generator
from search.surrogates.base import Surrogate
from search.surrogates.loss_model import LossModel

FOLDS = 5
# With fewer mixtures a rank correlation says nothing.
FEWEST_RUNS = 10


@dataclass(frozen=True)
class Score:
    """Held-out predictions against measurements.

    Attributes:
        spearman: rank correlation; None where either side is constant.
        rmse: root mean squared error, in the metric's unit.
        r2: share of the variance that is explained; None where all measurements are equal.
        coverage_80: share of measurements inside their 80% interval.
        coverage_95: the same at 95%.
    """

    spearman: float | None
    rmse: float
    r2: float | None
    coverage_80: float
    coverage_95: float


@dataclass(frozen=True)
class Validation:
    """Scores of one kind of surrogate on `runs` mixtures; `residual_NM` is measured minus predicted, held out."""

    runs: int
    metrics: Mapping[str, Score]
    objective: Score
    residual_NM: FloatArray = field(compare=False, repr=False)

    @property
    def trustworthy(self) -> bool:
        """Whether the objective's rank correlation is above 0 with 95% confidence, one-sided.

        Fisher's z with the standard error of Bonett and Wright (2000) for Spearman's correlation: 10 mixtures need
        about .59, 50 need .24.
        """
        if self.objective.spearman is None:
            return False
        rho = min(self.objective.spearman, 0.999)
        standard_error = math.sqrt((1 + rho**2 / 2) / (self.runs - 3))
        return math.atanh(rho) > NormalDist().inv_cdf(0.95) * standard_error

    def as_dict(self) -> dict[str, object]:
        return {
            "runs": self.runs,
            "trustworthy": self.trustworthy,
            "objective": asdict(self.objective),
            "metrics": {name: asdict(score) for name, score in self.metrics.items()},
        }


def cross_validate(kind: type[Surrogate], seed: int, evidence: Evidence, objective: Objective) -> Validation:
    """Predict each mixture from the folds that it is not in; at least FEWEST_RUNS mixtures."""
    losses_NM, weights_ND = evidence.losses_NM, evidence.weights_ND
    assert len(losses_NM) >= FEWEST_RUNS
    fold_N = generator(seed, "validation folds").permutation(len(losses_NM)) % FOLDS
    mean_NM, sd_NM = np.empty_like(losses_NM), np.empty_like(losses_NM)
    for fold in range(FOLDS):
        held_out_N = fold_N == fold
        model = LossModel.fit(kind, seed, weights_ND[~held_out_N], losses_NM[~held_out_N])
        mean_NM[held_out_N], sd_NM[held_out_N] = model.predict(weights_ND[held_out_N])
    residual_NM = losses_NM - mean_NM
    objective_sd_N = [
        objective_sd(objective, mean_M, sd_M, residual_NM, evidence.baseline_M)
        for mean_M, sd_M in zip(mean_NM, sd_NM, strict=True)
    ]
    return Validation(
        runs=len(losses_NM),
        metrics={
            name: score(losses_NM[:, metric], mean_NM[:, metric], sd_NM[:, metric])
            for metric, name in enumerate(objective.metrics)
        },
        objective=score(evidence.objective_N, objective.value(mean_NM, evidence.baseline_M), np.array(objective_sd_N)),
        residual_NM=residual_NM,
    )


def objective_sd(
    objective: Objective,
    mean_M: FloatArray,
    sd_M: FloatArray,
    residual_NM: FloatArray,
    baseline_M: FloatArray | None,
) -> float:
    """How far the objective of predicted losses may be off.

    Metrics err together, so held-out residuals are taken by whole rows, each metric's stretched to its sd here.
    """
    rms_M = np.sqrt((residual_NM**2).mean(axis=0))
    stretched_NM = residual_NM * (sd_M / np.where(rms_M > 0, rms_M, 1))
    shift_N = objective.value(mean_M + stretched_NM, baseline_M) - objective.value(mean_M[None], baseline_M)
    return float(np.sqrt((shift_N**2).mean()))


def score(measured_N: FloatArray, mean_N: FloatArray, sd_N: FloatArray) -> Score:
    from scipy.stats import spearmanr

    error_N = measured_N - mean_N
    varies = np.ptp(measured_N) > 0
    return Score(
        spearman=float(spearmanr(measured_N, mean_N).statistic) if varies and np.ptp(mean_N) > 0 else None,
        rmse=float(np.sqrt((error_N**2).mean())),
        r2=float(1 - (error_N**2).mean() / measured_N.var()) if varies else None,
        coverage_80=_coverage(error_N, sd_N, 0.80),
        coverage_95=_coverage(error_N, sd_N, 0.95),
    )


def _coverage(error_N: FloatArray, sd_N: FloatArray, level: float) -> float:
    return float((np.abs(error_N) <= NormalDist().inv_cdf((1 + level) / 2) * sd_N).mean())
