"""The default: a warped Gaussian process, the law of effective data and trees, in shares that held-out runs give them.

1. With many clear runs the process is better than the law, with much noise the law often is, and across scales too:
   what it cannot express is mostly what does not carry over. The law's share is its posterior mean, given how both
   predict held-out runs; where the law has proved itself, it keeps at least a share that grows with how much larger the
   target is than the runs.
2. Where losses have thresholds, trees are better than both. Their share is the posterior mean of theirs beside the
   two together, and small wherever held-out runs do not call for more. Over several fidelities there are none: a
   line from one to the other moves thresholds.

On one fidelity held-out errors count in units of the process's doubt: this is large where losses are far from the
others' and jump, and what predicts the jumps best is not what orders the basin best.

Shapes: N runs, D domains, S scored runs, P shares, K members.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Bool, Float

from search.intervals import TAIL
from search.runs import numbered
from search.surrogates import warped_process
from search.surrogates.base import Fitted, Predict, Prediction, Surrogate, hold_out
from search.surrogates.effective_data import EffectiveData
from search.surrogates.lifting import in_target_units
from search.surrogates.rows import Rows
from search.surrogates.warped_process import Components, WarpedProcess

if TYPE_CHECKING:
    from search.surrogates.lightgbm import QuickTrees, Trees

# Explained variance of held-out runs from which on, and at which in full, the law has proved itself.
LEAST_R2, FULL_R2 = 0.6, 0.9
# Held-out predictions of so many mixtures at the target are judged there alone.
ENOUGH_AT_TARGET = 8
PRIOR_RUNS = 10.0
LEAST_WIDENING, MOST_WIDENING = 0.3, 9.0
# By how much a standard deviation is larger than the scale of Student's t, as search.intervals reads it.
TAIL_WIDTH = 1.15
SHARES_P = np.linspace(0, 1, 101)


@dataclass(frozen=True, eq=False)
class BlendChoice:
    """
    Attributes:
        law_part, trees_part: the law's and the trees', from 0 to 1; the process has the rest.
        law_of_target: the law is fitted to the target's runs alone, because it predicts these better so.
        trees: None where they have no part.
        widening: of the variance, as held-out runs call for it.
    """

    process: Components
    law_part: float = 0.0
    law_of_target: bool = False
    trees_part: float = 0.0
    trees: Trees | None = None
    widening: float = 1.0


@dataclass(frozen=True, eq=False)
class Judge:
    """Held-out runs, and what they say of predictions of all runs.

    Attributes:
        measured_S: at the target, or in its units.
        importance_S: how much a run's squared error counts, up to a factor.
    """

    scored_N: Bool[np.ndarray, " N"]
    measured_S: Float[np.ndarray, " S"]
    importance_S: Float[np.ndarray, " S"]

    def missed(self, mean_N: Float[np.ndarray, " N"]) -> float:
        return float(self.importance_S @ (self.measured_S - mean_N[self.scored_N]) ** 2)

    @property
    def spread(self) -> float:
        """What the best constant misses."""
        centre = self.importance_S @ self.measured_S / self.importance_S.sum()
        return float(self.importance_S @ (self.measured_S - centre) ** 2)

    def share(
        self, one_N: Float[np.ndarray, " N"], other_N: Float[np.ndarray, " N"], prior_P: Float[np.ndarray, " P"]
    ) -> float:
        """Posterior mean share of the other beside the one, the errors of their average being normal."""
        one_S, other_S = one_N[self.scored_N], other_N[self.scored_N]
        error_PS = self.measured_S - one_S - SHARES_P[:, None] * (other_S - one_S)
        # Runs that count less are fewer runs: which of the members is best is the less certain.
        runs = self.importance_S.sum() ** 2 / (self.importance_S @ self.importance_S)
        log_likelihood_P = -0.5 * runs * np.log(np.maximum(error_PS**2 @ self.importance_S, 1e-300))
        posterior_P = prior_P * np.exp(log_likelihood_P - log_likelihood_P.max())
        return float(posterior_P @ SHARES_P / posterior_P.sum())


@dataclass(frozen=True, eq=False)
class FittedBlend(Fitted[BlendChoice]):
    process: WarpedProcess
    law: Fitted[None] | None
    trees: Fitted[Trees] | None
    choice: BlendChoice
    held_out: Prediction | None = None

    def predict(self, weights_ND: Float[np.ndarray, "N D"]) -> Prediction:
        of_process = self.process.predict(weights_ND)
        of_law_N = None if self.law is None else self.law.mean(weights_ND)
        of_trees_N = None if self.trees is None else self.trees.mean(weights_ND)
        return _joined(of_process, of_law_N, of_trees_N, self.choice)


class Blend(Surrogate[BlendChoice]):
    """
    Attributes:
        least_share: what a law that has proved itself in full has at least; None: there is no law.
    """

    fewest_runs = 4
    least_share: ClassVar[float | None] = 0.1

    def fit_rows(self, rows: Rows, choice: BlendChoice | None = None) -> FittedBlend:
        if choice is None:
            return self.finish(rows, self.begin(rows))
        process = warped_process.fit(rows, self.seed, choice.process)
        return self._joined_with(process, rows, choice, None)

    def begin(self, rows: Rows) -> FittedBlend:
        """The process alone: the shares of the others are for held-out runs to say."""
        process = warped_process.fit(rows, self.seed, self._components(rows))
        return FittedBlend(process, None, None, BlendChoice(process.choice))

    def finish(self, rows: Rows, begun: Fitted[BlendChoice]) -> FittedBlend:
        assert isinstance(begun, FittedBlend)
        choice, held_out = self._choose(rows, begun.process)
        return self._joined_with(begun.process, rows, choice, held_out)

    def _joined_with(
        self, process: WarpedProcess, rows: Rows, choice: BlendChoice, held_out: Prediction | None
    ) -> FittedBlend:
        law = self._fit_law(rows, choice.law_of_target) if choice.law_part else None
        trees = self._trees().fit_rows(rows, choice.trees) if choice.trees else None
        return FittedBlend(process, law, trees, choice, held_out)

    def _components(self, rows: Rows) -> Components:
        return warped_process.choose(rows, self.seed)

    def _fit_law(self, rows: Rows, of_target: bool) -> Fitted[None]:
        return EffectiveData(self.seed).fit_rows(rows.select(rows.at_target_N) if of_target else rows)

    def _trees(self) -> QuickTrees:
        # LightGBM takes seconds to load, and drivers that never fit a blend do without.
        from search.surrogates.lightgbm import QuickTrees

        return QuickTrees(self.seed)

    def _choose(self, rows: Rows, process: WarpedProcess) -> tuple[BlendChoice, Prediction | None]:
        """The shares and the width of intervals by held-out runs, and what is then predicted of these."""
        choice = BlendChoice(process.choice)
        of_process = hold_out(
            rows, self.fewest_runs, lambda known: warped_process.fit(known, self.seed, process.choice).predict
        )
        if of_process is None:
            return choice, None
        several, target = bool(rows.fidelity_N.any()), int(rows.fidelity_N.max())
        predicted_N = process.predict(rows.weights_ND).mean_N
        values_N = in_target_units(rows.values_N, rows.fidelity_N, target, predicted_N)
        # Where all that a fold's fit knows is equal, it has no doubt that could be judged.
        scored_N = of_process.sd_N > 0
        if not scored_N.any():
            return choice, of_process
        there_N = scored_N & rows.at_target_N
        if enough_there := len(np.unique(numbered(rows.weights_ND[there_N]))) >= ENOUGH_AT_TARGET:
            scored_N = there_N
        # Few runs at the target cannot do with fewer: over several fidelities all count alike.
        sd_S = np.ones(int(scored_N.sum())) if several else of_process.sd_N[scored_N]
        judge = Judge(scored_N, values_N[scored_N], (sd_S.min() / sd_S) ** 2)
        of_law_N, of_trees_N = None, None
        if self.least_share is not None and len(judge.measured_S) >= 2 * self.fewest_runs and np.ptp(judge.measured_S):
            # With hardly more runs than domains, each a parameter of the law, neither it nor trees are asked.
            domains = int((np.ptp(rows.weights_ND, axis=0) > 0).sum())
            asked = float(np.clip(len(rows) / max(domains, 1) - 1, 0, 1))
            # A cheap fidelity with another optimum may bend the law, which has no room for it, more than it informs it.
            ways = (False, True) if several and enough_there else (False,)
            choice, of_law_N = self._with_law(rows, choice, judge, of_process.mean_N, asked, several, ways)
            together_N = _joined(of_process, of_law_N, None, choice).mean_N
            if not several:
                choice, of_trees_N = self._with_trees(rows, choice, judge, together_N, asked)
        joined = _joined(of_process, of_law_N, of_trees_N, choice)
        widening = robust_variance((judge.measured_S - joined.mean_N[scored_N]) / joined.sd_N[scored_N])
        choice = replace(choice, widening=max(widening, 1.0) if several else widening)
        return choice, _joined(of_process, of_law_N, of_trees_N, choice)

    def _with_law(
        self,
        rows: Rows,
        choice: BlendChoice,
        judge: Judge,
        of_process_N: Float[np.ndarray, " N"],
        asked: float,
        several: bool,
        ways: Sequence[bool],
    ) -> tuple[BlendChoice, Float[np.ndarray, " N"] | None]:
        """The law's part beside the process, and what it predicts of held-out runs.

        Args:
            ways: whether it may be fitted to all runs, or to the target's alone.
        """
        found = [
            (judge.missed(prediction.mean_N), of_target, prediction.mean_N)
            for of_target in ways
            if (prediction := hold_out(rows, self.fewest_runs, self._law_predicts(of_target))) is not None
        ]
        misses, of_target, of_law_N = min(found, key=lambda each: each[0])
        assert self.least_share is not None
        proved = float(np.clip((1 - misses / judge.spread - LEAST_R2) / (FULL_R2 - LEAST_R2), 0, 1))
        # The prior leans to the law on one fidelity: where noise hides who is right, the simpler one is. On several it
        # leans to the process: what differs between them the law cannot say.
        prior_P = (1 - SHARES_P) ** 2 if several else SHARES_P
        share = judge.share(of_process_N, of_law_N, prior_P)
        part = asked * max(share, self.least_share * proved)
        return replace(choice, law_part=part, law_of_target=of_target), of_law_N

    def _with_trees(
        self, rows: Rows, choice: BlendChoice, judge: Judge, together_N: Float[np.ndarray, " N"], asked: float
    ) -> tuple[BlendChoice, Float[np.ndarray, " N"] | None]:
        """The trees' part beside the process and the law together, and what they predict of held-out runs."""
        surrogate = self._trees()
        if not asked or not rows.folds(surrogate.fewest_runs):
            return choice, None
        trees = surrogate.fit_rows(rows).choice
        found = hold_out(rows, surrogate.fewest_runs, lambda known: surrogate.fit_rows(known, trees).predict)
        assert found is not None
        # Steps are the odd ones: they are not believed before they have shown themselves.
        part = asked * judge.share(together_N, found.mean_N, 1 - SHARES_P)
        return replace(choice, law_part=choice.law_part * (1 - part), trees_part=part, trees=trees), found.mean_N

    def _law_predicts(self, of_target: bool) -> Callable[[Rows], Predict]:
        return lambda known: self._fit_law(known, of_target).predict


class FarBlend(Blend):
    """For a target a hundred times as large as the runs, or larger."""

    least_share = 0.5


class WarpedGP(Blend):
    """The process alone."""

    least_share = None


def _joined(
    of_process: Prediction,
    of_law_N: Float[np.ndarray, " N"] | None,
    of_trees_N: Float[np.ndarray, " N"] | None,
    choice: BlendChoice,
) -> Prediction:
    """The variance is the process's, and what the members disagree by, widened; None is a member without a part."""
    gap_KN = np.array(
        [
            np.zeros(len(of_process.mean_N)) if each is None else each - of_process.mean_N
            for each in (of_law_N, of_trees_N)
        ]
    )
    part_K = np.array([choice.law_part, choice.trees_part])
    gap_N = part_K @ gap_KN
    variance_N = of_process.sd_N**2 + part_K @ gap_KN**2 - gap_N**2
    return Prediction(of_process.mean_N + gap_N, np.sqrt(choice.widening * variance_N))


def robust_variance(error_N: Float[np.ndarray, " N"]) -> float:
    """By how much variances have to grow for these standardised errors to be as expected.

    A few runs are always far off (a domain alone, an unlucky seed), so errors have heavier tails than a normal
    distribution, and their variance would make most intervals too wide. The scale is that of a Student t, pulled to 1
    as if by PRIOR_RUNS further runs that say so.
    """
    scale = 1.0
    for _ in range(50):
        weight_N = (TAIL + 1) / (TAIL + error_N**2 / scale)
        scale = (float((weight_N * error_N**2).sum()) + PRIOR_RUNS / TAIL_WIDTH**2) / (len(error_N) + PRIOR_RUNS)
        scale = max(scale, 1e-6)
    return float(np.clip(TAIL_WIDTH**2 * scale, LEAST_WIDENING, MOST_WIDENING))
