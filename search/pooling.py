"""Runs of all fidelities as one table, in the units of the target fidelity.

For each metric and each cheaper fidelity a line, target loss = intercept + slope * cheap loss, is fitted to the
mixtures measured at both. The slope is shrunk towards 1 (a nat saved cheaply is a nat saved at the target) as if by
PRIOR_PAIRS further mixtures that say so, and kept above 0, for few pairs must not turn the ranking around.

Shapes: N mixtures, D domains, M metrics, P mixtures measured at both fidelities.
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
        losses_NM: losses at the target fidelity, measured there or mapped there.
        at_target_N: which of them were measured there.
        baseline_M: measured losses of the objective's baseline at the target, where it has one.
        objective_N: the objective of losses_NM.
        warnings: sentences on runs that could not be used.
    """

    mixtures: tuple[Mixture, ...]
    losses_NM: FloatArray
    at_target_N: NDArray[np.bool_]
    baseline_M: FloatArray | None
    objective_N: FloatArray
    warnings: tuple[str, ...]

    @property
    def weights_ND(self) -> FloatArray:
        return np.array([mixture.array for mixture in self.mixtures])


def gather(problem: Problem, history: History) -> Evidence:
    """What the history says about the target fidelity.

    Raises:
        SearchError: no trial was completed at the target, or not the baseline that the objective needs.
    """
    target = _measured(problem, history, problem.target)
    if not target:
        raise SearchError(
            f"no trial of proxy {problem.target.proxy} was completed, the one that the answer is for",
            hint="see why they failed: mixopt status",
        )
    pooled = dict(target)
    unused = []
    for rung in reversed(problem.rungs[:-1]):
        cheap = _measured(problem, history, rung.fidelity)
        pairs = [key for key in cheap if key in target]
        if not pairs:
            unused.append(
                f"proxy {rung.fidelity.proxy} shares no completed mixture with the target: its runs are unused"
            )
            continue
        slope_M, intercept_M = _line(
            np.array([cheap[key][1] for key in pairs]),
            np.array([target[key][1] for key in pairs]),
            spread_M=np.array([losses_M for _, losses_M in cheap.values()]).std(axis=0),
        )
        for key, (mixture, losses_M) in cheap.items():
            pooled.setdefault(key, (mixture, intercept_M + slope_M * losses_M))
    losses_NM = np.array([losses_M for _, losses_M in pooled.values()])
    baseline_M = _baseline_losses(problem, history)
    return Evidence(
        mixtures=tuple(mixture for mixture, _ in pooled.values()),
        losses_NM=losses_NM,
        at_target_N=np.array([key in target for key in pooled]),
        baseline_M=baseline_M,
        objective_N=problem.objective.value(losses_NM, baseline_M),
        warnings=tuple(unused),
    )


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
