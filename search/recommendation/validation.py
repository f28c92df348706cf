"""How well a surrogate predicts mixtures that it was not fitted to, by k-fold cross-validation.

Shapes: N mixtures, D domains, M metrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from search.errors import SearchError
from search.evidence import Evidence
from search.mixture import FloatArray
from search.objective import Objective
from search.randomness import generator
from search.runs import BoolArray, IntArray, Runs
from search.surrogates.lifting import line
from search.surrogates.loss_model import LossModel

FOLDS = 5
# With fewer mixtures a rank correlation says nothing.
FEWEST_RUNS = 10
# With fewer held-out residuals of whole rows they do not tell how metrics err together.
FEWEST_RESIDUALS = 5
# In place of a fold's number: never held out.
ALWAYS_KNOWN = -1


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
        runs: how many the scores are over; see `scored_N`.
        at_target: how many mixtures measured every metric at the target.
        shared: how many mixtures were measured at the target and below it.
        agreement: rank correlation over these of the objective at the target with the one below it.
        transfer: rank correlation at the target of what was measured with what was predicted, held out.
        scored_N: the evidence's runs that the scores of the objective are over: those that measured every metric at
            the target, or, where these are mixtures fewer than FEWEST_RUNS, at any fidelity, moved to the units of
            the target; none that was never held out.
        residual_NM: measured minus predicted, held out, a row for each of the evidence's runs; NaN where a metric was
            not measured, the run never held out, or its fidelity not scored.
    """

    runs: int
    at_target: int
    shared: int
    agreement: float | None
    transfer: float | None
    metrics: Mapping[str, Score]
    objective: Score
    scored_N: BoolArray = field(compare=False, repr=False)
    residual_NM: FloatArray = field(compare=False, repr=False)

    @property
    def trustworthy(self) -> bool:
        """Whether the ranking of unseen mixtures at the target is shown to be better than chance.

        Scores over mixtures that were only measured cheaply say nothing about the target. Where the scores need them,
        the cheap fidelity has to rank the shared mixtures as the target does, or the predictions have to rank the few
        that were measured at the target.
        """
        predicts = _positive(self.objective.spearman, self.runs)
        carries_over = _positive(self.agreement, self.shared) or _positive(self.transfer, self.at_target)
        return predicts and (self.at_target >= FEWEST_RUNS or carries_over)


def cross_validate(whole: LossModel, seed: int, evidence: Evidence) -> Validation:
    """Predict each mixture from the folds that it is not in, whatever it was measured at.

    Args:
        whole: fitted to all the evidence; what was costly to choose in it is kept.
        evidence: at least FEWEST_RUNS mixtures.

    Raises:
        SearchError: too few runs measured a metric, or none that can be held out measured all of them.
    """
    runs = evidence.runs
    fold_N = _folds(runs, seed)
    _check(runs, fold_N, whole.fewest_runs)
    mean_NM, sd_NM = np.full_like(runs.values_NM, np.nan), np.full_like(runs.values_NM, np.nan)
    for fold in range(FOLDS):
        held_out_N = fold_N == fold
        model = whole.refit(runs.select(~held_out_N))
        mean_NM[held_out_N], sd_NM[held_out_N] = model.predict(runs.weights_ND[held_out_N])

    objective, baseline_M = evidence.objective, evidence.baseline_M
    there_N = runs.at_target_N & runs.complete_N
    at_target = len(np.unique(runs.mixture_N[there_N]))
    held_out_N = there_N & (fold_N != ALWAYS_KNOWN)
    transfer = _rank_correlation(evidence.objective_N[held_out_N], objective.value(mean_NM[held_out_N], baseline_M))
    values_NM = _in_target_units(runs, whole)
    residual_NM = values_NM - mean_NM
    if at_target >= FEWEST_RUNS:
        residual_NM[~runs.at_target_N] = np.nan
    scored_N: BoolArray = np.logical_and.reduce(np.isfinite(residual_NM), axis=1)
    objective_sd_N = [
        objective_sd(objective, mean_M, sd_M, residual_NM, baseline_M)
        for mean_M, sd_M in zip(mean_NM[scored_N], sd_NM[scored_N], strict=True)
    ]
    agreement, shared = _agreement(runs, objective.value(values_NM, baseline_M))
    return Validation(
        runs=int(scored_N.sum()),
        at_target=at_target,
        shared=shared,
        agreement=agreement,
        transfer=transfer,
        metrics={
            name: score(values_NM[measured_N, metric], mean_NM[measured_N, metric], sd_NM[measured_N, metric])
            for metric, name in enumerate(runs.metrics)
            if (measured_N := np.isfinite(residual_NM[:, metric])).any()
        },
        objective=score(
            objective.value(values_NM[scored_N], baseline_M),
            objective.value(mean_NM[scored_N], baseline_M),
            np.array(objective_sd_N),
        ),
        scored_N=scored_N,
        residual_NM=residual_NM,
    )


def _folds(runs: Runs, seed: int) -> IntArray:
    """A fold for each run, by mixtures; those measured at the target are dealt out evenly, then the others.

    What surrogates are fitted to decides what they predict: without runs at the target, a cheaper fidelity. So where
    fewer mixtures than folds measured every metric there, these are ALWAYS_KNOWN.
    """
    mixture_N, there_N = runs.mixture_N, runs.at_target_N
    complete = np.unique(mixture_N[there_N & runs.complete_N])
    few = complete if len(complete) < FOLDS and not there_N.all() else complete[:0]
    at_target = np.setdiff1d(mixture_N[there_N], few)
    others = np.setdiff1d(mixture_N, mixture_N[there_N])
    rng = generator(seed, "validation folds")
    dealt = np.append(rng.permutation(at_target), rng.permutation(others))
    fold_of = np.full(len(few) + len(dealt), ALWAYS_KNOWN)
    fold_of[dealt] = np.arange(len(dealt)) % FOLDS
    fold_N: IntArray = fold_of[mixture_N]
    return fold_N


def _check(runs: Runs, fold_N: IntArray, fewest_runs: int) -> None:
    if not (runs.complete_N & (fold_N != ALWAYS_KNOWN)).any():
        raise SearchError(
            f"no run to validate predictions with measured every metric of {', '.join(runs.metrics)}",
            hint="leave out of the objective what other runs measured, or measure all of it in more runs",
        )
    for metric, values_N in zip(runs.metrics, runs.values_NM.T, strict=True):
        measured_N = np.isfinite(values_N)
        most_left_out = max(int((measured_N & (fold_N == fold)).sum()) for fold in range(FOLDS))
        if measured_N.sum() - most_left_out < fewest_runs:
            raise SearchError(
                f"metric {metric}: {measured_N.sum()} runs measured it, too few for cross-validation, which leaves "
                f"out {most_left_out} at a time and needs {fewest_runs} others",
                hint="leave it out of the objective, or measure it in more runs",
            )


def _in_target_units(runs: Runs, whole: LossModel) -> FloatArray:
    """The values, those of cheaper runs moved along the line that ties them to the model's predictions, [N, M]."""
    values_NM = runs.values_NM.copy()
    for level in range(len(runs.fidelities) - 1):
        here_N = runs.at(level)
        if not here_N.any():
            continue
        mean_NM = whole.mean(runs.weights_ND[here_N])
        for metric, cheap_N in enumerate(runs.values_NM[here_N].T):
            measured_N = np.isfinite(cheap_N)
            if measured_N.any():
                spread = float(cheap_N[measured_N].var()) or 1.0
                intercept, slope = line(cheap_N[measured_N], mean_NM[measured_N, metric], spread)
                values_NM[here_N, metric] = intercept + slope * cheap_N
    return values_NM


def _agreement(runs: Runs, objective_N: FloatArray) -> tuple[float | None, int]:
    """Over the mixtures measured at the target and below it: the rank correlation of the two, and how many they are."""
    pairs = []
    for mixture in np.unique(runs.mixture_N[runs.at_target_N]):
        known_N = (runs.mixture_N == mixture) & np.isfinite(objective_N)
        cheap_N, target_N = known_N & ~runs.at_target_N, known_N & runs.at_target_N
        if cheap_N.any() and target_N.any():
            highest_N = cheap_N & runs.at(runs.level_N[cheap_N].max())
            pairs.append((objective_N[highest_N].mean(), objective_N[target_N].mean()))
    cheap_P, target_P = np.array(pairs).reshape(-1, 2).T
    return _rank_correlation(target_P, cheap_P), len(pairs)


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
    """How far the objective of predicted values may be off.

    Metrics err together, so held-out residuals are taken by whole rows, each metric's stretched to its sd here. Where
    hardly a run measured every metric, all are taken to err alike, which is the widest.
    """
    residual_NM = residual_NM[np.isfinite(residual_NM).all(axis=1)]
    if len(residual_NM) < FEWEST_RESIDUALS:
        residual_NM = objective.sign_M * np.array([[1.0], [-1.0]])
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
