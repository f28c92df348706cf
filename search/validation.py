"""How well a surrogate predicts mixtures that it was not fitted to, by k-fold cross-validation.

Shapes: N mixtures, D domains, M metrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from search.mixture import FloatArray
from search.objective import Objective
from search.pooling import Evidence, measured, pooled
from search.randomness import generator
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
    """How one kind of surrogate predicts the target.

    Attributes:
        runs: how many mixtures the scores are over: those measured at the target, or, where these are fewer than
            FEWEST_RUNS, all of them.
        at_target: how many mixtures were measured at the target.
        shared: how many of those were measured at a cheaper fidelity too.
        agreement: rank correlation over those of the objective measured at the target with the one mapped there.
        residual_NM: measured minus predicted, held out.
    """

    runs: int
    at_target: int
    shared: int
    agreement: float | None
    metrics: Mapping[str, Score]
    objective: Score
    residual_NM: FloatArray = field(compare=False, repr=False)

    @property
    def trustworthy(self) -> bool:
        """Whether the ranking of unseen mixtures at the target is shown to be better than chance.

        Scores over mixtures that were only measured cheaply say nothing about the target, so where the scores need
        them the cheap fidelity has to rank the shared mixtures as the target does.
        """
        predicts = _positive(self.objective.spearman, self.runs)
        return predicts and (self.at_target >= FEWEST_RUNS or _positive(self.agreement, self.shared))

    def as_dict(self) -> dict[str, object]:
        return {
            "runs": self.runs,
            "at_target": self.at_target,
            "shared": self.shared,
            "agreement": self.agreement,
            "trustworthy": self.trustworthy,
            "objective": asdict(self.objective),
            "metrics": {name: asdict(score) for name, score in self.metrics.items()},
        }


def cross_validate(whole: LossModel, seed: int, evidence: Evidence, objective: Objective) -> Validation:
    """Predict each mixture from the folds that it is not in, cheap runs mapped without its measurement too.

    Args:
        whole: fitted to all the evidence; what was costly to choose in it is kept.
        evidence: at least FEWEST_RUNS mixtures.
    """
    losses_NM, weights_ND, at_target_N = evidence.losses_NM, evidence.weights_ND, evidence.at_target_N
    assert len(losses_NM) >= FEWEST_RUNS
    fold_N = _folds(at_target_N, seed)
    mean_NM, sd_NM, mapped_NM = np.empty_like(losses_NM), np.empty_like(losses_NM), np.empty_like(losses_NM)
    for fold in range(FOLDS):
        held_out_N = fold_N == fold
        measured_RNM = evidence.measured_RNM.copy()
        measured_RNM[-1, held_out_N] = np.nan
        pooled_NM = pooled(measured_RNM)
        mapped_NM[held_out_N] = pooled_NM[held_out_N]
        # Cheap runs whose only shared mixtures are held out keep their place.
        training_NM = np.where(np.isnan(pooled_NM), losses_NM, pooled_NM)
        model = whole.refit(weights_ND[~held_out_N], training_NM[~held_out_N])
        mean_NM[held_out_N], sd_NM[held_out_N] = model.predict(weights_ND[held_out_N])

    shared_N = at_target_N & measured(mapped_NM)
    scored_N = at_target_N if at_target_N.sum() >= FEWEST_RUNS else np.full_like(at_target_N, True)
    losses_NM, mean_NM, sd_NM = losses_NM[scored_N], mean_NM[scored_N], sd_NM[scored_N]
    residual_NM = losses_NM - mean_NM
    objective_sd_N = [
        objective_sd(objective, mean_M, sd_M, residual_NM, evidence.baseline_M)
        for mean_M, sd_M in zip(mean_NM, sd_NM, strict=True)
    ]
    return Validation(
        runs=len(losses_NM),
        at_target=int(at_target_N.sum()),
        shared=int(shared_N.sum()),
        agreement=_rank_correlation(
            evidence.objective_N[shared_N], objective.value(mapped_NM[shared_N], evidence.baseline_M)
        ),
        metrics={
            name: score(losses_NM[:, metric], mean_NM[:, metric], sd_NM[:, metric])
            for metric, name in enumerate(objective.metrics)
        },
        objective=score(
            evidence.objective_N[scored_N], objective.value(mean_NM, evidence.baseline_M), np.array(objective_sd_N)
        ),
        residual_NM=residual_NM,
    )


def _folds(at_target_N: NDArray[np.bool_], seed: int) -> NDArray[np.int64]:
    """A fold for each mixture, [N]; those measured at the target, which come first, are dealt out evenly."""
    rng, at_target = generator(seed, "validation folds"), int(at_target_N.sum())
    order_N = np.append(rng.permutation(at_target), at_target + rng.permutation(len(at_target_N) - at_target))
    fold_N: NDArray[np.int64] = order_N % FOLDS
    return fold_N


def _positive(correlation: float | None, runs: int) -> bool:
    """Whether a rank correlation is above 0 with 95% confidence, one-sided.

    Fisher's z with the standard error of Bonett and Wright (2000) for Spearman's correlation: 5 mixtures need
    .9, 10 about .59, 50 need .24.
    """
    if correlation is None or correlation <= 0 or runs <= 3:
        return False
    rho = min(correlation, 0.999)
    return math.atanh(rho) > NormalDist().inv_cdf(0.95) * math.sqrt((1 + rho**2 / 2) / (runs - 3))


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
    error_N = measured_N - mean_N
    varies = np.ptp(measured_N) > 0
    return Score(
        spearman=_rank_correlation(measured_N, mean_N),
        rmse=float(np.sqrt((error_N**2).mean())),
        r2=float(1 - (error_N**2).mean() / measured_N.var()) if varies else None,
        coverage_80=_coverage(error_N, sd_N, 0.80),
        coverage_95=_coverage(error_N, sd_N, 0.95),
    )


def _rank_correlation(one_N: FloatArray, other_N: FloatArray) -> float | None:
    from scipy.stats import spearmanr

    if len(one_N) < 2 or np.ptp(one_N) == 0 or np.ptp(other_N) == 0:
        return None
    return float(spearmanr(one_N, other_N).statistic)


def _coverage(error_N: FloatArray, sd_N: FloatArray, level: float) -> float:
    return float((np.abs(error_N) <= NormalDist().inv_cdf((1 + level) / 2) * sd_N).mean())
