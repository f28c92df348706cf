"""Which metrics of a confirmed mixture are shown to be worse than a baseline's, and by how much any differs.

Paired by seed, as in confirmation.py, a metric at a time. A constraint is broken where that is shown, and kept where it
is not: a loss of the candidate is above the baseline's in every other run by chance alone.

What the documents of the confirmation hide is in the error as well, where it is known (documents.py).

Few seeds tell little of the noise of one metric, and more of that of all: variances are drawn towards what they have in
common, s^2 = (d0 s0^2 + d s_m^2) / (d0 + d), with d0 and s0 from how much the variances of the metrics differ (G. K.
Smyth, "Linear Models and Empirical Bayes Methods", Statistical Applications in Genetics and Molecular Biology 3(1),
2004, section 6.2). That takes metrics for independent. Losses of one run go up and down together, so d0 is at most d
times the number of other metrics that theirs are worth (`_worth`).

Shapes: M metrics, Q quantities: the metrics and the means of families, S seeds, D draws of documents, R runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from search.history import History
from search.mixture import Mixture
from search.noise import TwoWay
from search.objective import Objective
from search.problem import PROPORTIONAL, Problem
from search.recommendation.confirmation_trials import MOST_TIMES, quantile
from search.recommendation.documents import redrawn_losses
from search.recommendation.recommendation import LEVEL
from search.seeds import of_confirmation

# Of mixtures that are worse in no metric, such a share is refused by mistake, over all metrics together.
REFUSED_BY_MISTAKE = 0.04


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


@dataclass(frozen=True, eq=False)
class _Run:
    """Of one confirmation run: its metrics, then the means of families, and the same on other documents."""

    values_Q: Float[np.ndarray, " Q"]
    redrawn_DQ: Float[np.ndarray, "D Q"] | None


@dataclass(frozen=True, eq=False)
class _Noise:
    """Variance of a run of each quantity, and the degrees of freedom that it rests on."""

    variance_Q: Float[np.ndarray, " Q"]
    freedom_Q: Float[np.ndarray, " Q"]


def metric_tests(problem: Problem, mixtures: Iterable[Mixture], seeds: int, history: History) -> list[MetricTests]:
    """Of each mixture, in their order, by the confirmation's seeds.

    Args:
        mixtures: all that were confirmed, since their runs together tell the noise.
        seeds: as many as were asked for.
    """
    objective = problem.objective
    baseline = objective.baseline or PROPORTIONAL
    measured = [_runs(problem, mixture, seeds, history) for mixture in mixtures]
    against = _runs(problem, problem.baselines[baseline], seeds, history)
    noise = _noise(measured, len(objective.metrics))
    return [_tests(objective, runs, against, baseline, noise) for runs in measured]


def _tests(
    objective: Objective, runs: Mapping[int, _Run], against: Mapping[int, _Run], baseline: str, noise: _Noise | None
) -> MetricTests:
    pairs = [(runs[seed], against[seed]) for seed in runs if seed in against]
    if not pairs:
        return MetricTests({}, {}, baseline)
    difference_Q, count = (
        np.mean([one.values_Q - other.values_Q for one, other in pairs], axis=0),
        len(objective.metrics),
    )
    margin_Q: list[float | None] = [None] * len(difference_Q)
    broken_Q = [False] * len(difference_Q)
    if noise is not None:
        error_Q = np.sqrt(2 * noise.variance_Q / len(pairs) + _of_documents(pairs))
        reach_Q = [quantile((1 + LEVEL) / 2, freedom) for freedom in noise.freedom_Q.tolist()]
        margin_Q = [float(reach * error) for reach, error in zip(reach_Q, error_Q, strict=True)]
        excess_M = objective.excess(difference_Q[None, :count], np.zeros(count))[0]
        freedom, error_M = float(noise.freedom_Q[0]), error_Q[:count]
        # What is shown to keep its constraint cannot be refused by mistake, and takes no part of the error.
        kept_M = excess_M < -quantile(1 - REFUSED_BY_MISTAKE / count, freedom) * error_M
        refused = quantile(1 - REFUSED_BY_MISTAKE / max(int((~kept_M).sum()), 1), freedom)
        broken_Q[:count] = (excess_M > refused * error_M).tolist()
    tests = [
        MetricTest(float(difference), margin, len(pairs), broken)
        for difference, margin, broken in zip(difference_Q, margin_Q, broken_Q, strict=True)
    ]
    return MetricTests(
        dict(zip(objective.metrics, tests, strict=False)),
        dict(zip(objective.families, tests[count:], strict=True)),
        baseline,
    )


def _runs(problem: Problem, mixture: Mixture, seeds: int, history: History) -> dict[int, _Run]:
    """The mixture's confirmation runs, by seed."""
    objective, found = problem.objective, {}
    members = [[objective.metrics.index(name) for name in names] for names in objective.families.values()]
    for seed in of_confirmation(MOST_TIMES * seeds):
        measurement = history.measured(mixture, problem.target, seed)
        if measurement is None:
            continue
        redrawn_DM = redrawn_losses(problem, measurement)
        found[seed] = _Run(
            _with_families(objective.losses(measurement)[None], members)[0],
            None if redrawn_DM is None else _with_families(redrawn_DM, members),
        )
    return found


def _with_families(values_NM: Float[np.ndarray, "N M"], members: Sequence[Sequence[int]]) -> Float[np.ndarray, "N Q"]:
    return np.column_stack([values_NM, *(values_NM[:, places].mean(axis=1) for places in members)])


def _of_documents(pairs: Sequence[tuple[_Run, _Run]]) -> Float[np.ndarray, " Q"]:
    """Variance of the mean difference of each quantity that comes from the documents; 0 where it is not known."""
    drawn = [
        one.redrawn_DQ - other.redrawn_DQ
        for one, other in pairs
        if one.redrawn_DQ is not None and other.redrawn_DQ is not None
    ]
    if len(drawn) < len(pairs):
        return np.zeros(len(pairs[0][0].values_Q))
    variance_Q: Float[np.ndarray, " Q"] = np.mean(drawn, axis=0).var(axis=0, ddof=1)
    return variance_Q


def _noise(measured: Sequence[Mapping[int, _Run]], count: int) -> _Noise | None:
    """By what neither the mixture nor the seed explains of all runs; None where nothing is left over.

    Args:
        count: of the metrics; families come after them.
    """
    found = TwoWay.of([{seed: run.values_Q for seed, run in runs.items()} for runs in measured])
    if found is None or found.freedom < 1:
        return None
    variance_Q, freedom = found.variance_Q, found.freedom
    worth = _worth(found.residual_RQ[:, :count], freedom)
    drawn_M, together = moderated(variance_Q[:count], freedom, worth - 1)
    # Families are few, and sums of what was just judged: their own.
    freedom_Q = np.append(np.full(count, together), np.full(len(variance_Q) - count, float(freedom)))
    return _Noise(np.append(drawn_M, variance_Q[count:]), freedom_Q)


def _worth(residual_RM: Float[np.ndarray, "R M"], freedom: int) -> float:
    """How many independent metrics these are worth, from 1 on: M / (1 + (M - 1) r^2), r^2 the mean of all pairs'.

    Of independent ones r^2 is 1 / freedom by chance alone, and that is taken off.
    """
    sd_M = np.sqrt((residual_RM**2).mean(axis=0))
    scaled_RK = residual_RM[:, sd_M > 0] / sd_M[sd_M > 0]
    count = scaled_RK.shape[1]
    if count < 2 or freedom < 2:
        return 1.0
    squares = float(((scaled_RK.T @ scaled_RK / len(scaled_RK)) ** 2).sum() - count) / (count * (count - 1))
    return float(count / (1 + (count - 1) * max((squares - 1 / freedom) / (1 - 1 / freedom), 0.0)))


def moderated(
    variance_M: Float[np.ndarray, " M"], freedom: int, others: float
) -> tuple[Float[np.ndarray, " M"], float]:
    """Variances that rest on `freedom` degrees each, drawn together, [M], and the degrees that they then rest on.

    Args:
        others: how many other independent metrics each has beside it.
    """
    from scipy.special import digamma, polygamma

    known_K = variance_M[variance_M > 0]
    if len(known_K) < 2 or others <= 0:
        return variance_M, float(freedom)
    log_K = np.log(known_K) - float(digamma(freedom / 2)) + math.log(freedom / 2)
    # What the variances differ by beyond what as many samples of one differ by.
    beyond = float(log_K.var(ddof=1)) - float(polygamma(1, freedom / 2))
    if beyond <= 0:
        prior, usual = others * freedom, float(known_K.mean())
    else:
        prior = min(2 * _inverse_trigamma(beyond), others * freedom)
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
