"""How well a surrogate predicts mixtures that it was not fitted to, by k-fold cross-validation.

Shapes: N mixtures, D domains, M metrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float, Int

from search.errors import SearchError
from search.evidence import Evidence
from search.intervals import reach
from search.objective import Objective
from search.recommendation.ranking import BasinScore, rank_correlation, score_basin
from search.runs import Runs
from search.surrogates.lifting import in_target_units
from search.surrogates.loss_model import LossModel, metric_rows
from search.surrogates.rows import ALWAYS_KNOWN

# With fewer mixtures a rank correlation says nothing.
FEWEST_RUNS = 10
# With fewer held-out residuals of whole rows they do not tell how metrics err together.
FEWEST_RESIDUALS = 5


@dataclass(frozen=True)
class Score:
    """Held-out predictions against measurements.

    Attributes:
        spearman: rank correlation over mixtures, the mean of each one's runs; None where either side is constant.
        rmse: root mean squared error, in the metric's unit.
        r2: share of the variance that is explained; None where all measurements are equal.
        coverage_80: share of measurements inside their 80% interval.
        coverage_95: the same at 95%.
        basin: the ranking of the best quarter of the mixtures; None where these are too few.
    """

    spearman: float | None
    rmse: float
    r2: float | None
    coverage_80: float
    coverage_95: float
    basin: BasinScore | None


@dataclass(frozen=True)
class Validation:
    """How one kind of surrogate predicts the target.

    Attributes:
        runs: how many mixtures the scores are over; see `scored_N`.
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
    scored_N: Bool[np.ndarray, " N"] = field(compare=False, repr=False)
    residual_NM: Float[np.ndarray, "N M"] = field(compare=False, repr=False)

    @property
    def trustworthy(self) -> bool:
        """Whether the ranking of unseen mixtures at the target is shown to be better than chance.

        Scores over mixtures that were only measured cheaply say nothing about the target. Where the scores need them,
        the cheap fidelity has to rank the shared mixtures as the target does, or the predictions have to rank the few
        that were measured at the target.
        """
        predicts = better_than_chance(self.objective.spearman, self.runs)
        agrees, transfers = (self.agreement, self.shared), (self.transfer, self.at_target)
        carries_over = better_than_chance(*agrees) or better_than_chance(*transfers)
        return predicts and (self.at_target >= FEWEST_RUNS or carries_over)

    @property
    def orders_basin(self) -> bool | None:
        """Whether the ranking of the best quarter, too, is shown to be better than chance; None without a score."""
        basin = self.objective.basin
        return None if basin is None else better_than_chance(basin.spearman, basin.mixtures)


def cross_validate(model: LossModel, evidence: Evidence) -> Validation:
    """How the model predicts each mixture from the folds that it is not in, whatever it was measured at.

    Args:
        model: fitted to the runs of the evidence, at least FEWEST_RUNS mixtures; what was costly to choose is kept. One
            that predicts for a further goal is judged at the target of the runs, where there is what to judge it by.

    Raises:
        SearchError: too few runs measured a metric, or none that can be held out measured all of them.
    """
    runs, objective, baseline_M = evidence.runs, evidence.objective, evidence.baseline_M
    _check(model)
    mean_NM, sd_NM = model.held_out()
    there_N = runs.at_target_N & runs.complete_N
    at_target = len(np.unique(runs.mixture_N[there_N]))
    values_NM, whole_NM = np.full_like(mean_NM, np.nan), model.at_runs().mean(runs.weights_ND)
    for metric, values_N in enumerate(runs.values_NM.T):
        values_NM[:, metric] = in_target_units(values_N, runs.fidelity_N, len(runs.fidelities) - 1, whole_NM[:, metric])
    residual_NM = values_NM - mean_NM
    held_out_N = np.logical_and.reduce(np.isfinite(residual_NM), axis=1)
    if at_target >= FEWEST_RUNS:
        residual_NM[~runs.at_target_N] = np.nan
    scored_N: Bool[np.ndarray, " N"] = np.logical_and.reduce(np.isfinite(residual_NM), axis=1)
    _, objective_sd_N = objective_of(objective, mean_NM[scored_N], sd_NM[scored_N], residual_NM, baseline_M)
    predicted_N, objective_N = objective.value(mean_NM, baseline_M), objective.value(values_NM, baseline_M)
    agreement, shared = _agreement(runs, objective_N)
    transferred_N = there_N & held_out_N
    return Validation(
        runs=len(np.unique(runs.mixture_N[scored_N])),
        at_target=at_target,
        shared=shared,
        agreement=agreement,
        transfer=rank_correlation(
            *by_mixture(runs.mixture_N[transferred_N], evidence.objective_N[transferred_N], predicted_N[transferred_N])
        ),
        metrics={
            name: score(
                values_NM[measured_N, metric],
                mean_NM[measured_N, metric],
                sd_NM[measured_N, metric],
                runs.mixture_N[measured_N],
                sign=float(objective.sign_M[metric]),
            )
            for metric, name in enumerate(runs.metrics)
            if (measured_N := np.isfinite(residual_NM[:, metric])).any()
        },
        objective=score(objective_N[scored_N], predicted_N[scored_N], objective_sd_N, runs.mixture_N[scored_N]),
        scored_N=scored_N,
        residual_NM=residual_NM,
    )


def _check(model: LossModel) -> None:
    runs, fewest = model.runs, model.surrogate.fewest_runs
    by_metric = [metric_rows(runs, metric, model.surrogate.seed) for metric in runs.metrics]
    measured_N, rows = by_metric[0]
    if not (runs.complete_N[measured_N] & (rows.fold_N != ALWAYS_KNOWN)).any():
        raise SearchError(
            f"no run to validate predictions with measured every metric of {', '.join(runs.metrics)}",
            hint="leave out of the objective what other runs measured, or measure all of it in more runs",
        )
    for metric, (_, rows) in zip(runs.metrics, by_metric, strict=True):
        if not rows.folds(fewest):
            raise SearchError(
                f"metric {metric}: {len(rows)} runs measured it, too few for cross-validation, which leaves "
                f"out {rows.largest_fold} at a time and needs {fewest} others",
                hint="leave it out of the objective, or measure it in more runs",
            )


def _agreement(runs: Runs, objective_N: Float[np.ndarray, " N"]) -> tuple[float | None, int]:
    """Over the mixtures measured at the target and below it: the rank correlation of the two, and how many they are."""
    pairs = []
    for mixture in np.unique(runs.mixture_N[runs.at_target_N]):
        known_N = (runs.mixture_N == mixture) & np.isfinite(objective_N)
        cheap_N, target_N = known_N & ~runs.at_target_N, known_N & runs.at_target_N
        if cheap_N.any() and target_N.any():
            highest_N = cheap_N & runs.at(int(runs.fidelity_N[cheap_N].max()))
            pairs.append((objective_N[highest_N].mean(), objective_N[target_N].mean()))
    cheap_P, target_P = np.array(pairs).reshape(-1, 2).T
    return rank_correlation(target_P, cheap_P), len(pairs)


def better_than_chance(correlation: float | None, runs: int) -> bool:
    """Whether a rank correlation is above 0 with 95% confidence, one-sided.

    Fisher's z with the standard error of D. G. Bonett and T. A. Wright, "Sample size requirements for estimating
    Pearson, Kendall and Spearman correlations", Psychometrika 65(1), 2000: 5 mixtures need .9, 10
    about .59, 50 need .24.
    """
    if correlation is None or correlation <= 0 or runs <= 3:
        return False
    rho = min(correlation, 0.999)
    return math.atanh(rho) > NormalDist().inv_cdf(0.95) * math.sqrt((1 + rho**2 / 2) / (runs - 3))


def objective_of(
    objective: Objective,
    mean_NM: Float[np.ndarray, "N M"],
    sd_NM: Float[np.ndarray, "N M"],
    residual_KM: Float[np.ndarray, "K M"],
    baseline_M: Float[np.ndarray, " M"] | None,
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """The objective of predicted values and how far it may be off, twice [N].

    Args:
        residual_KM: measured minus predicted, of other runs; see `objective_sd`.
    """
    sds = [
        objective_sd(objective, mean_M, sd_M, residual_KM, baseline_M)
        for mean_M, sd_M in zip(mean_NM, sd_NM, strict=True)
    ]
    return objective.value(mean_NM, baseline_M), np.array(sds)


def objective_sd(
    objective: Objective,
    mean_M: Float[np.ndarray, " M"],
    sd_M: Float[np.ndarray, " M"],
    residual_NM: Float[np.ndarray, "N M"],
    baseline_M: Float[np.ndarray, " M"] | None,
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


def score(
    measured_N: Float[np.ndarray, " N"],
    mean_N: Float[np.ndarray, " N"],
    sd_N: Float[np.ndarray, " N"],
    mixture_N: Int[np.ndarray, " N"] | None = None,
    sign: float = 1.0,
) -> Score:
    """
    Args:
        mixture_N: a number for each run, equal for equal mixtures: repeated runs of one are no further evidence of the
            ranking. Default: all are different.
        sign: -1 where more is better.
    """
    error_N = measured_N - mean_N
    mixture_N = np.arange(len(error_N)) if mixture_N is None else mixture_N
    measured_R, mean_R = by_mixture(mixture_N, measured_N, mean_N)
    varies = np.ptp(measured_N) > 0
    return Score(
        spearman=rank_correlation(measured_R, mean_R),
        rmse=float(np.sqrt((error_N**2).mean())),
        r2=float(1 - (error_N**2).mean() / measured_N.var()) if varies else None,
        coverage_80=_coverage(error_N, sd_N, 0.80),
        coverage_95=_coverage(error_N, sd_N, 0.95),
        basin=score_basin(sign * measured_R, sign * mean_R),
    )


def by_mixture(
    mixture_N: Int[np.ndarray, " N"], *values: Float[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, " R"], ...]:
    """The mean over each mixture's runs."""
    _, place_N = np.unique(mixture_N, return_inverse=True)
    return tuple(np.bincount(place_N, values_N) / np.bincount(place_N) for values_N in values)


def _coverage(error_N: Float[np.ndarray, " N"], sd_N: Float[np.ndarray, " N"], level: float) -> float:
    return float((np.abs(error_N) <= reach(level) * sd_N).mean())
