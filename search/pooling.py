"""Runs of all fidelities as one table, in the units of the target fidelity.

For each metric and each cheaper fidelity a line, target loss = intercept + slope * cheap loss, is fitted to the
mixtures measured at both. The slope is shrunk towards 1 (a nat saved cheaply is a nat saved at the target) as if by
PRIOR_PAIRS further mixtures that say so, and kept above 0, for few pairs must not turn the ranking around.

Shapes: N mixtures, D domains, M metrics, R rungs, P mixtures measured at both fidelities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.errors import SearchError
from search.fidelity import Fidelity
from search.history import History
from search.mixture import FloatArray, Mixture
from search.problem import SEARCH_SEED, Problem
from search.trial import Trial

PRIOR_PAIRS = 2.0
SMALLEST_SLOPE = 0.05


@dataclass(frozen=True)
class Evidence:
    """The search's completed trials, one row a mixture, from its most expensive measurement.

    Attributes:
        mixtures: N of them, those measured at the target first.
        measured_RNM: losses as measured at each rung, the target last; NaN where a mixture was not trained.
        losses_NM: losses at the target fidelity, measured there or mapped there.
        baseline_M: measured losses of the objective's baseline at the target, where it has one.
        objective_N: the objective of losses_NM.
        warnings: sentences on runs that could not be used.
    """

    mixtures: tuple[Mixture, ...]
    measured_RNM: FloatArray
    losses_NM: FloatArray
    baseline_M: FloatArray | None
    objective_N: FloatArray
    warnings: tuple[str, ...]

    @property
    def weights_ND(self) -> FloatArray:
        return np.array([mixture.array for mixture in self.mixtures])

    @property
    def at_target_N(self) -> NDArray[np.bool_]:
        """Which mixtures were measured at the target."""
        return measured(self.measured_RNM[-1])


def gather(problem: Problem, history: History) -> Evidence:
    """What the history says about the target fidelity.

    Raises:
        SearchError: no trial was completed at the target, or not the baseline that the objective needs.
    """
    rungs = [_measured(problem, history, rung.fidelity) for rung in problem.rungs]
    if not rungs[-1]:
        raise SearchError(
            f"no trial of proxy {problem.target.proxy} was completed, the one that the answer is for",
            hint="see why they failed: mixopt status",
        )
    mixtures = {key: mixture for rung in reversed(rungs) for key, (mixture, _) in rung.items()}
    nothing_M = np.full(len(problem.objective.metrics), np.nan)
    measured_RNM = np.array(
        [[rung[key][1] if key in rung else nothing_M for key in mixtures] for rung in rungs], dtype=np.float64
    )
    losses_NM = pooled(measured_RNM)
    used_N = measured(losses_NM)
    baseline_M = _baseline_losses(problem, history)
    return Evidence(
        mixtures=tuple(mixture for mixture, used in zip(mixtures.values(), used_N, strict=True) if used),
        measured_RNM=measured_RNM[:, used_N],
        losses_NM=losses_NM[used_N],
        baseline_M=baseline_M,
        objective_N=problem.objective.value(losses_NM[used_N], baseline_M),
        warnings=tuple(
            f"proxy {rung.fidelity.proxy} shares no completed mixture with the target: its runs are unused"
            for rung, losses_of in zip(problem.rungs, rungs, strict=True)
            if losses_of and not losses_of.keys() & rungs[-1].keys()
        ),
    )


def pooled(measured_RNM: FloatArray) -> FloatArray:
    """Losses at the last rung, [N, M]: measured there, or else mapped from the highest rung that can be; or NaN."""
    *cheaper, target_NM = measured_RNM
    pooled_NM: FloatArray = target_NM.copy()
    for cheap_NM in reversed(cheaper):
        pair_N = measured(cheap_NM) & measured(target_NM)
        if pair_N.any():
            spread_M = cheap_NM[measured(cheap_NM)].std(axis=0)
            slope_M, intercept_M = _line(cheap_NM[pair_N], target_NM[pair_N], spread_M)
            pooled_NM = np.where(np.isnan(pooled_NM), intercept_M + slope_M * cheap_NM, pooled_NM)
    return pooled_NM


def measured(losses_NM: FloatArray) -> NDArray[np.bool_]:
    """Which rows hold losses, [N]."""
    measured_N: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(losses_NM), axis=1)
    return measured_N


def _measured(problem: Problem, history: History, fidelity: Fidelity) -> dict[str, tuple[Mixture, FloatArray]]:
    """The search's mixtures at one fidelity and their losses, [M], by the id that their trial has at the target."""
    return {
        Trial(entry.trial.mixture, problem.target, SEARCH_SEED).id: (
            entry.trial.mixture.reordered(problem.space.domains),
            problem.objective.losses(entry.measurement),
        )
        for entry in history.at(fidelity)
        if entry.trial.seed == SEARCH_SEED
    }


def _baseline_losses(problem: Problem, history: History) -> FloatArray | None:
    if problem.objective.baseline is None:
        return None
    measurement = history.measured(problem.baselines[problem.objective.baseline], problem.target, SEARCH_SEED)
    return None if measurement is None else problem.objective.losses(measurement)


def _line(cheap_PM: FloatArray, target_PM: FloatArray, spread_M: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Slope and intercept of each metric's line, twice [M]; `spread_M` is the sd of all the cheap losses."""
    variance_M = np.maximum(spread_M**2, 1e-12)
    cheap_mean_M, target_mean_M = cheap_PM.mean(axis=0), target_PM.mean(axis=0)
    together_M = ((cheap_PM - cheap_mean_M) * (target_PM - target_mean_M)).sum(axis=0) / variance_M
    alone_M = ((cheap_PM - cheap_mean_M) ** 2).sum(axis=0) / variance_M
    slope_M = np.maximum((PRIOR_PAIRS + together_M) / (PRIOR_PAIRS + alone_M), SMALLEST_SLOPE)
    return slope_M, target_mean_M - slope_M * cheap_mean_M
