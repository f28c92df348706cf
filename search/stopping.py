"""When a trial may be stopped early: where it would end among the worse half, as far as can be known.

At a point of a run's curve, the objective there foretells the one at the end: a line fitted to the trials that were
trained to their end, with the prediction error of a new one,

    y = a + b x,    se(x)^2 = s^2 (1 + 1/n + (x - mean x)^2 / Sxx)

A trial is hopeless where even y - 3 se is above the median of all trials' ends, stopped ones counted as the worst. It
is not lost: what it measured stands for its mixture at the tokens that it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from search.history import History
from search.objective import Objective, Pareto
from search.problem import Problem
from search.seeds import SEARCH_SEED
from search.trial import Loss, Trial

# Fewer trials at their end say too little of where the others will.
FEWEST_TRIALS = 8
CERTAINTY = 3.0


@dataclass(frozen=True)
class Foretold:
    """The line from the objective at one point of the curve to that at the end."""

    mean_x: float
    mean_y: float
    slope: float
    residual_sd: float
    spread_x: float
    trials: int

    @staticmethod
    def of(x_N: Float[np.ndarray, " N"], y_N: Float[np.ndarray, " N"]) -> Foretold:
        deviation_N = x_N - x_N.mean()
        spread = float(deviation_N @ deviation_N)
        slope = float(deviation_N @ y_N) / spread if spread > 0 else 0.0
        residual_N = y_N - y_N.mean() - slope * deviation_N
        residual_sd = float(np.sqrt(residual_N @ residual_N / (len(x_N) - 2)))
        return Foretold(float(x_N.mean()), float(y_N.mean()), slope, residual_sd, spread, len(x_N))

    def at_best(self, x: float) -> float:
        """The objective at the end, were the trial as lucky as `CERTAINTY` standard errors."""
        if self.spread_x == 0:
            return -np.inf
        share = 1 + 1 / self.trials + (x - self.mean_x) ** 2 / self.spread_x
        return self.mean_y + self.slope * (x - self.mean_x) - CERTAINTY * self.residual_sd * float(np.sqrt(share))


@dataclass(frozen=True)
class StoppingRule:
    """What a trial is judged by at each point of its curve, decided when it is launched.

    Attributes:
        median: of the objectives at the end, those of stopped trials counted as the worst.
        foretold: by training tokens of the point.
        baseline: values of the objective's baseline at that point, by tokens, where the objective has one.
    """

    objective: Objective
    median: float
    foretold: Mapping[int, Foretold]
    baseline: Mapping[int, Float[np.ndarray, " M"]]

    def hopeless(self, tokens: int, losses: Mapping[str, Loss]) -> bool:
        foretold = self.foretold.get(tokens)
        if foretold is None:
            return False
        value_1 = self.objective.value(self.objective.read(losses)[None], self.baseline.get(tokens))
        return foretold.at_best(float(value_1[0])) > self.median


def stopping_rule(problem: Problem, trial: Trial, history: History) -> StoppingRule | None:
    """The rule for a trial of the search; None while too few have come to their end.

    Baselines are measured whole, because answers are compared with them; so are all trials of a Pareto search, in
    which the worse in one loss may be the best in another, and all of a confirmation.
    """
    objective = problem.objective
    if trial.seed != SEARCH_SEED or isinstance(objective, Pareto):
        return None
    if trial.id in {baseline.id for baseline in problem.baseline_trials}:
        return None
    ended = [entry for entry in history.at(trial.fidelity) if entry.trial.seed == SEARCH_SEED]
    values = [problem.objective_of(entry.trial, history) for entry in ended]
    end_N = np.array([value for value in values if value is not None])
    # None has a value before the baseline that they are judged by is measured; then all have.
    if len(end_N) < FEWEST_TRIALS:
        return None
    # Those that were stopped are the worse ones: without them the middle would move towards the best.
    stopped = sum(entry.trial.fidelity == trial.fidelity for entry in history.stopped)
    median = float(np.median(np.append(end_N, np.full(stopped, np.inf))))
    baseline = None
    if objective.baseline is not None:
        baseline = history.measured(problem.baselines[objective.baseline], trial.fidelity, SEARCH_SEED)
    foretold, baselines = {}, {}
    for index, point in enumerate(ended[0].measurement.curve[:-1]):
        baseline_M = None
        if baseline is not None:
            baseline_M = baselines[point.tokens] = objective.read(baseline.curve[index].losses)
        values_NM = np.array([objective.read(entry.measurement.curve[index].losses) for entry in ended])
        foretold[point.tokens] = Foretold.of(objective.value(values_NM, baseline_M), end_N)
    return StoppingRule(objective, median, foretold, baselines)
