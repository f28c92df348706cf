"""Runs that no surrogate was fitted to: how well they are predicted, and what choosing by the prediction would cost.

Shapes: H runs, D domains, M metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.results.fit import HoldoutScore, HoldoutScores, Pick
from mixopt.results.recommendation import Score
from mixopt.runs.table import TableSource, choose_metrics, complete_fidelities
from search.mixture import DECIMALS, FloatArray
from search.recommendation.predictor import Predictor
from search.recommendation.validation import objective_of, score
from search.runs import Runs


def match_holdout(holdout: Runs, source: TableSource, runs: Runs) -> tuple[Runs, tuple[str, ...]]:
    """The runs of the table with the domains and metrics of `runs`, in their order; and notes.

    Raises:
        ConfigError: it has other domains, or lacks a metric.
    """
    if odd := sorted(set(holdout.domains) ^ set(runs.domains)):
        raise ConfigError(f"{source}: domain {odd[0]} is not in both tables", hint="the holdout needs the same domains")
    for name in runs.metrics:
        if name not in holdout.metrics:
            raise ConfigError(
                f"{source}: no column metric.{name}", hint="choose metrics that both tables have with --metric"
            )
    order = [holdout.domains.index(name) for name in runs.domains]
    ordered = replace(holdout, domains=runs.domains, weights_ND=holdout.weights_ND[:, order])
    return choose_metrics(ordered, source, runs.metrics)


def to_score(table: Runs, runs: Runs, wanted: str) -> tuple[Runs, tuple[str, ...]]:
    """The runs of one fidelity that measured every metric: the wanted one, or else the holdout's dearest; and notes.

    Raises:
        ConfigError: no run measured every metric.
    """
    complete = table.select(table.complete_N)
    if not len(complete):
        raise ConfigError("no run of the holdout measured every metric", hint="choose other metrics with --metric")
    names = [fidelity.proxy for fidelity in complete_fidelities(complete)]
    fidelity = wanted if wanted in names else names[-1]
    chosen = complete.targeting(fidelity)
    chosen = chosen.select(chosen.at_target_N)
    notes = []
    if fidelity != runs.target.proxy:
        notes.append(
            f"the holdout was measured at {fidelity}, predictions are in the units of {runs.target.proxy}: compare "
            "ranks and calibrated_rmse, not rmse and coverage"
        )
    if len(chosen) < len(table):
        notes.append(
            f"{len(chosen)} of the holdout's {len(table)} runs are scored: those at {fidelity} with every metric"
        )
    if leaked := _count_leaked(chosen, runs):
        notes.append(
            f"a leak: the mixtures of {leaked} runs of the holdout are among the fitted runs of the same fidelity"
        )
    return chosen, tuple(notes)


def _count_leaked(holdout: Runs, runs: Runs) -> int:
    """How many runs of the holdout share their mixture with a fitted one of the same fidelity."""
    same_N = np.array([runs.fidelities[index].proxy == holdout.target.proxy for index in runs.fidelity_N])
    mixtures = {row.tobytes() for row in np.round(runs.weights_ND[same_N], DECIMALS)}
    return sum(row.tobytes() in mixtures for row in np.round(holdout.weights_ND, DECIMALS))


def scores(predictor: Predictor, holdout: Runs) -> HoldoutScores:
    """Scores of the objective and of each metric, and the run that the surrogate would have picked."""
    objective, baseline_M = predictor.problem.objective, predictor.evidence.baseline_M
    measured_H = objective.value(holdout.values_NM, baseline_M)
    mean_HM, sd_HM = predictor.model.predict(holdout.weights_ND)
    mean_H, sd_H = objective_of(objective, mean_HM, sd_HM, predictor.validation.residual_NM, baseline_M)
    metrics = {
        name: _scores(holdout, holdout.values_NM[:, metric], mean_HM[:, metric], sd_HM[:, metric], sign)
        for metric, (name, sign) in enumerate(zip(holdout.metrics, objective.sign_M.tolist(), strict=True))
    }
    correlations = [each.spearman for each in metrics.values() if each.spearman is not None]
    return HoldoutScores(
        fidelity=holdout.target.proxy,
        runs=len(holdout),
        **dict(_scores(holdout, measured_H, mean_H, sd_H)),
        pick=_pick(holdout.names, measured_H, mean_H),
        metrics=metrics,
        mean_metric_spearman=float(np.mean(correlations)) if correlations else None,
    )


def _scores(
    holdout: Runs, measured_H: FloatArray, mean_H: FloatArray, sd_H: FloatArray, sign: float = 1.0
) -> HoldoutScore:
    found = Score.of(score(measured_H, mean_H, sd_H, holdout.mixture_N, sign))
    return HoldoutScore(**dict(found), calibrated_rmse=_calibrated_rmse(measured_H, mean_H))


def _calibrated_rmse(measured_H: FloatArray, mean_H: FloatArray) -> float | None:
    """Root mean squared error after the best line from predictions to measurements; None with too few runs for one."""
    if len(measured_H) < 3:
        return None
    across_H, error_H = mean_H - mean_H.mean(), measured_H - measured_H.mean()
    if np.ptp(mean_H) > 0:
        error_H = error_H - across_H * (across_H @ error_H) / (across_H @ across_H)
    return float(np.sqrt((error_H**2).mean()))


def _pick(names: Sequence[str], measured_H: FloatArray, mean_H: FloatArray) -> Pick:
    """The run with the best prediction: its true rank from 1, and its measured objective above the best."""
    pick = int(mean_H.argmin())
    regret, spread = float(measured_H[pick] - measured_H.min()), float(measured_H.std())
    return Pick(
        run=names[pick],
        rank=1 + int((measured_H < measured_H[pick]).sum()),
        regret=regret,
        regret_sd=regret / spread if spread > 0 else None,
    )
