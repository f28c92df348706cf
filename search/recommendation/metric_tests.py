"""Which metrics of a confirmed mixture are shown to be worse than a baseline's, and by how much any differs.

Paired by seed, as in confirmation.py, a metric at a time. A constraint is broken where that is shown, and kept where it
is not: a loss of the candidate is above the baseline's in every other run by chance alone.

Few seeds tell little of the noise of one metric, and more of that of all: variances are drawn towards what they have in
common, s^2 = (d0 s0^2 + d s_m^2) / (d0 + d), with d0 and s0 from how much the variances of the metrics differ (G. K.
Smyth, "Linear Models and Empirical Bayes Methods", Statistical Applications in Genetics and Molecular Biology 3(1),
2004, section 6.2).

Shapes: M metrics, S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from search.history import History
from search.mixture import Mixture
from search.noise import by_seed
from search.objective import Objective
from search.problem import PROPORTIONAL, Problem
from search.recommendation.confirmation_trials import MOST_TIMES, quantile
from search.recommendation.recommendation import LEVEL
from search.seeds import of_confirmation

# Of a mixture that is worse in no metric, one in so many is refused by mistake, over all metrics together.
REFUSED_BY_MISTAKE = 1 - LEVEL
# Where the metrics' variances do not differ more than by chance, they count as one, with so many degrees of freedom.
AS_ONE = 1e4


@dataclass(frozen=True)
class MetricTest:
    """One metric, or the mean of a family, of a mixture beside a baseline.

    Attributes:
        difference: mean over the seeds that both have of (its value - the baseline's), in the metric's unit.
        margin: half the width of the difference's 95% interval; None where the noise is not known.
        seeds: how many both have.
        broken: shown to be worse than the objective's constraint allows.
    """

    difference: float
    margin: float | None
    seeds: int
    broken: bool = False


@dataclass(frozen=True)
class MetricTests:
    """Of one mixture.

    Attributes:
        metrics: by metric of the objective.
        families: by family, of the mean of its metrics.
        baseline: the name of what they are compared with.
    """

    metrics: Mapping[str, MetricTest]
    families: Mapping[str, MetricTest]
    baseline: str

    @property
    def broken(self) -> tuple[str, ...]:
        return tuple(name for name, test in self.metrics.items() if test.broken)


# Values by seed, of each quantity of the objective: its metrics, then its families.
Values = dict[int, Float[np.ndarray, " Q"]]


def metric_tests(problem: Problem, mixtures: Iterable[Mixture], seeds: int, history: History) -> list[MetricTests]:
    """Of each mixture, in their order, by the confirmation's seeds.

    Args:
        mixtures: all that were confirmed, since their runs together tell the noise.
        seeds: as many as were asked for.
    """
    objective, mixtures = problem.objective, list(mixtures)
    baseline = objective.baseline or PROPORTIONAL
    measured = [_values(problem, mixture, seeds, history) for mixture in mixtures]
    against = _values(problem, problem.baselines[baseline], seeds, history)
    found = [
        by_seed([{seed: float(each[q]) for seed, each in values.items()} for values in measured]).noise
        for q in range(len(objective.metrics) + len(objective.families))
    ]
    noise = None
    if all(each is not None for each in found):
        variances = np.array([each.run_sd**2 for each in found if each is not None])
        noise = moderated(variances, next(each.freedom for each in found if each is not None))
    return [_tests(objective, values, against, baseline, noise) for values in measured]


def _tests(
    objective: Objective,
    values: Values,
    against: Values,
    baseline: str,
    noise: tuple[Float[np.ndarray, " Q"], float] | None,
) -> MetricTests:
    shared = [values[seed] - against[seed] for seed in values if seed in against]
    if not shared:
        return MetricTests({}, {}, baseline)
    difference_Q, count = np.mean(shared, axis=0), len(objective.metrics)
    error_Q = None if noise is None else np.sqrt(2 * noise[0] / len(shared))
    refused = np.zeros(count, dtype=bool)
    if noise is not None and error_Q is not None and objective.is_constrained:
        excess_M = objective.excess(difference_Q[None, :count], np.zeros(count))[0]
        refused = excess_M > quantile(1 - REFUSED_BY_MISTAKE / count, noise[1]) * error_Q[:count]
    tests = [
        MetricTest(
            float(difference),
            None if noise is None or error_Q is None else quantile((1 + LEVEL) / 2, noise[1]) * float(error_Q[place]),
            len(shared),
            bool(refused[place]) if place < count else False,
        )
        for place, difference in enumerate(difference_Q)
    ]
    return MetricTests(
        dict(zip(objective.metrics, tests, strict=False)),
        dict(zip(objective.families, tests[count:], strict=True)),
        baseline,
    )


def _values(problem: Problem, mixture: Mixture, seeds: int, history: History) -> Values:
    """Metrics, then the means of families, of a mixture's confirmation runs."""
    objective, found = problem.objective, {}
    members = [[objective.metrics.index(name) for name in names] for names in objective.families.values()]
    for seed in of_confirmation(MOST_TIMES * seeds):
        measurement = history.measured(mixture, problem.target, seed)
        if measurement is not None:
            values_M = objective.losses(measurement)
            found[seed] = np.append(values_M, [values_M[places].mean() for places in members])
    return found


def moderated(variance_M: Float[np.ndarray, " M"], freedom: int) -> tuple[Float[np.ndarray, " M"], float]:
    """Variances that rest on `freedom` degrees each, drawn together, [M], and the degrees that they then rest on."""
    from scipy.special import digamma, polygamma

    known_K = variance_M[variance_M > 0]
    if len(known_K) < 2:
        return variance_M, float(freedom)
    log_K = np.log(known_K) - float(digamma(freedom / 2)) + math.log(freedom / 2)
    # What the variances differ by beyond what as many samples of one differ by.
    beyond = float(log_K.var(ddof=1)) - float(polygamma(1, freedom / 2))
    if beyond <= 0:
        prior, usual = AS_ONE, float(known_K.mean())
    else:
        prior = 2 * _inverse_trigamma(beyond)
        usual = math.exp(float(log_K.mean()) + float(digamma(prior / 2)) - math.log(prior / 2))
    together = prior + freedom
    drawn_M: Float[np.ndarray, " M"] = (prior * usual + freedom * variance_M) / together
    return drawn_M, together


def _inverse_trigamma(value: float) -> float:
    """The x with trigamma(x) = value, by Newton's method on 1 / trigamma, which is nearly a line."""
    from scipy.special import polygamma

    x = 0.5 + 1 / value
    for _ in range(50):
        reached = float(polygamma(1, x))
        step = reached * (1 - reached / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-10 * x:
            break
    return x
