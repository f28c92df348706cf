"""Backtest: how well a surrogate that had known some of the finished runs would have predicted the others.

    runs --deal--> mixtures in the order in which they become known | mixtures of the target left out of all
         --known_to--> the first n of them --fit--> surrogate --score--> what it makes of those left out

A mixture is on one side with all of its runs, whatever their fidelity and seed. Two controls catch self-deception. In
the first the measurements are dealt to other mixtures before anything is fitted: what is still predicted was leaked. In
the second the surrogate is asked about the left-out mixtures with their domains mistaken for each other: what it
predicts as well does not depend on the mixture.

Shapes: N runs, D domains, M metrics, K mixtures in their order or subsets, R mixtures left out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from search.mixture import Mixture
from search.objective import Objective
from search.problem import PROPORTIONAL, Problem
from search.randomness import generator
from search.recommendation.ranking import picked, rank_correlation
from search.recommendation.validation import by_mixture, objective_of, score
from search.runs import Runs
from search.surrogates import SURROGATES
from search.surrogates.base import Surrogate
from search.surrogates.loss_model import LossModel
from search.surrogates.rows import FOLDS

# So often the domains of the left-out mixtures are mistaken for each other; scores are the mean.
PERMUTATIONS = 4
# Runs with the very same measurements on mixtures nearer than this, in total variation, are one run that stands twice.
COPY = 0.05
# A scrambled ranking is above chance where it is so many standard errors above none.
ERRORS_OF_A_LEAK = 3.0

# The seed of the backtest, and the subset's number: all that is random about it follows from these.
Subset = tuple[int, int]


class Reference(NamedTuple):
    """The mixture that gains are over, always known.

    Attributes:
        row: one of its runs at the target that measured everything.
        apart: total variation between it and what it stands for.
    """

    row: int
    apart: float


@dataclass(frozen=True, eq=False)
class Deal:
    """Who becomes known when, and who never.

    Attributes:
        order_K: the mixtures, by their number in `Runs.mixture_N`, in the order in which they become known.
        left_out_N: the runs at the target, with every metric, of mixtures that are not among them.
    """

    order_K: Int[np.ndarray, " K"]
    left_out_N: Bool[np.ndarray, " N"]

    def known_to(self, runs: Runs, mixtures: int) -> Runs:
        """All runs of the first mixtures."""
        return runs.select(np.isin(runs.mixture_N, self.order_K[:mixtures]))


@dataclass(frozen=True)
class SubsetScore:
    """A surrogate that knew one subset, on the mixtures left out; in the objective's unit, where lower is better.

    Attributes:
        spearman: rank correlation of measured and predicted; 0 where either is constant, which ranks nothing.
        permuted: the same with the domains of the predicted mixtures mistaken for each other.
        pairwise: share of the pairs of the best quarter in their order; None where that is fewer than 5.
        regret: measured objective of the mixture with the best prediction, above the best measured.
        optimism: predicted minus measured gain of that mixture over the reference; negative is pessimistic.
        coverage_80, coverage_95: share of the runs inside these intervals.
    """

    spearman: float
    permuted: float
    pairwise: float | None
    regret: float
    optimism: float
    coverage_80: float
    coverage_95: float


@dataclass(frozen=True)
class Difference:
    """A mean over subsets, or of paired differences over them, and its 95% interval."""

    mean: float
    lower: float
    upper: float

    @property
    def shown(self) -> bool:
        """Whether the interval excludes none."""
        return not self.lower <= 0 <= self.upper


def nearest_run(runs: Runs, natural: Mixture) -> Reference:
    """The run at the target, with every metric, nearest to the natural mixture."""
    apart_N = np.abs(runs.weights_ND - natural.reordered(runs.domains).array).sum(axis=1) / 2
    row = int(np.where(runs.at_target_N & runs.complete_N, apart_N, np.inf).argmin())
    return Reference(row, float(apart_N[row]))


def deal(runs: Runs, most_known: int, reference: Reference, subset: Subset) -> Deal:
    """A random order of the mixtures; those past `most_known` are left out.

    The reference is the first. So that any number of known ones has its part of the target's, these and the others
    follow each other evenly, after as many of the target's as there are folds.
    """
    order_K = _even_order(runs, reference, subset)
    out_N = runs.at_target_N & runs.complete_N & ~np.isin(runs.mixture_N, order_K[:most_known])
    return Deal(order_K[:most_known], out_N)


def left_out(runs: Runs, known: int, reference: Reference) -> int:
    """How many mixtures of the target are left out where so many are known; the same for every seed."""
    dealt = deal(runs, known, reference, (0, 0))
    return len(np.unique(runs.mixture_N[dealt.left_out_N]))


def _even_order(runs: Runs, reference: Reference, subset: Subset) -> Int[np.ndarray, " K"]:
    first = runs.mixture_N[reference.row]
    rng = generator(*subset, "backtest order")
    there = np.unique(runs.mixture_N[runs.at_target_N & runs.complete_N])
    target, others = rng.permutation(there[there != first]), rng.permutation(np.setdiff1d(runs.mixture_N, there))
    head, target = target[: FOLDS - 1], target[FOLDS - 1 :]
    places = np.concatenate([(np.arange(len(part)) + 0.5) / max(len(part), 1) for part in (target, others)])
    evenly = np.concatenate([target, others])[np.argsort(places, kind="stable")]
    return np.concatenate([[first], head, evenly]).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Backtest:
    """Finished runs, ready to be known and left out.

    Attributes:
        problem: its objective and seed, and what its natural mixture is.
        runs: their metrics are the objective's; a run at the target measured all of them.
        most_known: so many mixtures are never left out, so that scores with fewer known are over the same mixtures.
    """

    problem: Problem
    runs: Runs
    most_known: int

    @cached_property
    def reference(self) -> Reference:
        return nearest_run(self.runs, self.problem.baselines[PROPORTIONAL])

    @property
    def left_out(self) -> int:
        """How many mixtures each subset is scored on."""
        return left_out(self.runs, self.most_known, self.reference)

    def score(self, surrogate: str, known: int, subset: Subset, scrambled: bool = False) -> SubsetScore:
        """A surrogate fitted to all runs of so many mixtures, on those left out.

        Raises:
            SearchError: a metric was measured by too few of the runs that are known.
        """
        runs = scramble(self.runs, subset) if scrambled else self.runs
        dealt = deal(runs, self.most_known, self.reference, subset)
        return score_subset(
            SURROGATES[surrogate](self.problem.seed),
            self.problem.objective,
            dealt.known_to(runs, known),
            runs.select(dealt.left_out_N),
            of_reference(runs, self.reference),
            subset,
        )

    @cached_property
    def objective_N(self) -> Float[np.ndarray, " N"]:
        """Of each run, NaN where it is not of the target or lacks a metric."""
        there_N = self.runs.at_target_N & self.runs.complete_N
        objective = self.problem.objective
        baseline_M = of_reference(self.runs, self.reference).values_NM.mean(axis=0) if objective.baseline else None
        return np.where(there_N, objective.value(self.runs.values_NM, baseline_M), np.nan)


def of_reference(runs: Runs, reference: Reference) -> Runs:
    """The runs at the target, with every metric, of its mixture."""
    there_N = runs.at_target_N & runs.complete_N
    return runs.select(there_N & (runs.mixture_N == runs.mixture_N[reference.row]))


def score_subset(
    surrogate: Surrogate[Any], objective: Objective, known: Runs, out: Runs, reference: Runs, subset: Subset
) -> SubsetScore:
    """Fit a surrogate to the runs that are known, and score what it predicts of those left out.

    Args:
        out: runs at the target that measured everything; none of their mixtures is known.
        reference: the runs at the target of the mixture that gains are over, and that the objective compares with.

    Raises:
        SearchError: a metric was measured by too few of the runs that are known.
    """
    reference_M = reference.values_NM.mean(axis=0)
    baseline_M = reference_M if objective.baseline else None
    model = LossModel.fit(surrogate, known)
    mean_NM, sd_NM = model.predict(out.weights_ND)
    predicted_N, sd_N = objective_of(objective, mean_NM, sd_NM, _residuals(model), baseline_M)
    measured_N = objective.value(out.values_NM, baseline_M)
    found = score(measured_N, predicted_N, sd_N, out.mixture_N)
    measured_R, predicted_R = by_mixture(out.mixture_N, measured_N, predicted_N)
    permuted = [
        rank_correlation(measured_R, by_mixture(out.mixture_N, objective.value(model.mean(mistaken_ND), baseline_M))[0])
        for mistaken_ND in _mistaken(out.weights_ND, subset)
    ]
    measured, predicted = (
        float(objective.value(values_1M, baseline_M)[0])
        for values_1M in (reference_M[None], model.mean(reference.weights_ND[:1]))
    )
    order_R, _ = by_mixture(out.mixture_N, objective.order(mean_NM, baseline_M), measured_N)
    pick = picked(measured_R, order_R)
    return SubsetScore(
        spearman=found.spearman or 0.0,
        permuted=float(np.mean([each or 0.0 for each in permuted])),
        pairwise=None if found.basin is None else found.basin.pairwise,
        regret=pick - float(measured_R.min()),
        optimism=(predicted - float(predicted_R.min())) - (measured - pick),
        coverage_80=found.coverage_80,
        coverage_95=found.coverage_95,
    )


def _residuals(model: LossModel) -> Float[np.ndarray, "N M"]:
    """Measured minus predicted of the runs that the model knows: by these metrics err together.

    Held out where the fit did so anyway. How far each metric errs is the prediction's to say, so that the others'
    need no further fits.
    """
    held_out = all(fitted.held_out is not None for fitted in model.fitted)
    predicted_NM = model.held_out()[0] if held_out else model.mean(model.runs.weights_ND)
    return np.where(model.runs.at_target_N[:, None], model.runs.values_NM - predicted_NM, np.nan)


def _mistaken(weights_ND: Float[np.ndarray, "N D"], subset: Subset) -> list[Float[np.ndarray, "N D"]]:
    """The mixtures, each domain's share given to another; every domain's goes elsewhere."""
    rng = generator(*subset, "mistaken domains")
    domains, mistaken = weights_ND.shape[1], []
    for _ in range(PERMUTATIONS):
        circle_D = rng.permutation(domains)
        to_D = np.empty(domains, dtype=np.int64)
        to_D[circle_D] = np.roll(circle_D, 1)
        mistaken.append(weights_ND[:, to_D])
    return mistaken


def scramble(runs: Runs, subset: Subset) -> Runs:
    """The same mixtures, each with the measurements of another that was run at the same fidelities.

    A mixture's runs stay together. So do runs with the very same measurements on nearly the same mixture: they are one
    run that stands in the table twice, and what a surrogate gains from knowing one of them is a leak.
    """
    block_N = _without_copies(runs)
    kind_N = _kinds(runs)
    rows: dict[tuple[int, int], list[int]] = defaultdict(list)
    kinds: dict[int, set[int]] = defaultdict(set)
    for row, (block, kind) in enumerate(zip(block_N.tolist(), kind_N.tolist(), strict=True)):
        rows[block, kind].append(row)
        kinds[block].add(kind)
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for block, found in kinds.items():
        alike[tuple(sorted(found))].append(block)
    rng = generator(*subset, "scrambled rows")
    values_NM = runs.values_NM.copy()
    for of_kinds, blocks in alike.items():
        for block, giver in zip(blocks, rng.permutation(blocks).tolist(), strict=True):
            for kind in of_kinds:
                given = np.resize(rows[giver, kind], len(rows[block, kind]))
                values_NM[rows[block, kind]] = runs.values_NM[given]
    return replace(runs, values_NM=values_NM)


def _kinds(runs: Runs) -> Int[np.ndarray, " N"]:
    """A number for each run, equal for runs of one fidelity that measured the same metrics."""
    kind_NK = np.column_stack([runs.fidelity_N, np.isfinite(runs.values_NM)])
    return np.asarray(np.unique(kind_NK, axis=0, return_inverse=True)[1], dtype=np.int64).reshape(-1)


def _without_copies(runs: Runs) -> Int[np.ndarray, " N"]:
    """The number of each run's mixture, where mixtures that hold a copy of one run count as one."""
    block_N, same = runs.mixture_N.copy(), defaultdict[tuple[int, bytes], list[int]](list)
    for row, fidelity in enumerate(runs.fidelity_N.tolist()):
        same[fidelity, runs.values_NM[row].tobytes()].append(row)
    for first, *others in same.values():
        for row in others:
            if np.abs(runs.weights_ND[row] - runs.weights_ND[first]).sum() / 2 < COPY:
                block_N[block_N == block_N[row]] = block_N[first]
    return block_N


def over_subsets(values_K: Float[np.ndarray, " K"], shared: float) -> Difference:
    """The mean over subsets of one table, with its 95% interval for further subsets of the same.

    Subsets share runs, so that their scores are alike, and their spread is less than the doubt. For scores that are
    correlated by s the variance of the mean is the spread's times 1 / K + s / (1 - s) (C. Nadeau and Y. Bengio,
    "Inference for the generalization error", Machine Learning 52, 2003).

    Args:
        values_K: at least two.
        shared: what is taken for the correlation; below 1.
    """
    from scipy.stats import t

    count = len(values_K)
    error = float(values_K.std(ddof=1)) * math.sqrt(1 / count + shared / (1 - shared))
    mean, reach = float(values_K.mean()), float(t.ppf(0.975, count - 1)) * error
    return Difference(mean, mean - reach, mean + reach)


def by_chance(spearman_K: Float[np.ndarray, " K"], mixtures: int) -> Difference:
    """The mean rank correlation over scrambles, and what it may be by chance about it: so many standard errors.

    Under the null hypothesis each has mean 0 and variance 1 / (R - 1), whatever the predictions, and the scrambles are
    independent.

    Args:
        mixtures: that each is over, R.
    """
    mean = float(spearman_K.mean())
    reach = ERRORS_OF_A_LEAK / math.sqrt(len(spearman_K) * (mixtures - 1))
    return Difference(mean, mean - reach, mean + reach)
