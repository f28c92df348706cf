"""A surrogate at work on a problem: fitted to the evidence, validated, and asked what it expects of any mixture.

Shapes: N mixtures, D domains, M metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from search.errors import TooFewMixtures
from search.evidence import Evidence
from search.mixture import ROUNDING, Mixture
from search.problem import Problem
from search.recommendation.trusted_mixtures import TrustedMixtures
from search.recommendation.validation import FEWEST_RUNS, Validation, cross_validate, objective_of, objective_sd
from search.surrogates import SURROGATES
from search.surrogates.loss_model import LossModel
from search.trust_region import TrustRegion

Expected = tuple[float, float, Float[np.ndarray, " M"], Float[np.ndarray, " M"]]
# Of so many mixtures.
REMEMBERED = 64


@dataclass(frozen=True)
class Predictor:
    """A validated surrogate at work on a problem: what it expects of any mixture.

    Attributes:
        name: the surrogate's.
        trust: where its answer may lie.
    """

    problem: Problem
    evidence: Evidence
    name: str
    model: LossModel
    validation: Validation
    trust: TrustRegion

    @classmethod
    def fit(cls, problem: Problem, evidence: Evidence, surrogate: str, trust: TrustRegion) -> Predictor:
        """
        Raises:
            TooFewMixtures: no surrogate could be believed; SearchError: a metric was measured by too few runs.
        """
        distinct = len(np.unique(evidence.runs.mixture_N))
        if distinct < FEWEST_RUNS:
            raise TooFewMixtures(f"{distinct} completed mixtures are too few for a regression, {FEWEST_RUNS} the least")
        model = LossModel.fit(SURROGATES[surrogate](problem.seed), evidence.runs)
        validation = cross_validate(model, evidence)
        return cls(problem, evidence, surrogate, model, validation, trust)

    def at_runs(self) -> Predictor:
        """Of new runs at the target, where its surrogate predicts for the final run."""
        return replace(self, model=self.model.at_runs())

    @cached_property
    def baseline_M(self) -> Float[np.ndarray, " M"] | None:
        """What is predicted of the objective's baseline, [M]; None where it has none.

        Not what was measured: of a mixture and the baseline both are then predicted, at one scale, and the baseline is
        as good as itself.
        """
        return predicted_baseline(self.problem, self.model)

    def objective(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        """Predicted objective, [N]."""
        return self.problem.objective.value(self.model.mean(weights_ND), self.baseline_M)

    def order(self, weights_ND: Float[np.ndarray, "N D"], sure: float = 0.5) -> Float[np.ndarray, " N"]:
        """What mixtures are sorted by, [N]: the predicted objective; last those that may break a constraint.

        Args:
            sure: how likely each metric of a new run has to keep its constraint; the baseline that constraints are
                about always does.
        """
        objective, baseline_M = self.problem.objective, self.baseline_M
        if not objective.is_constrained:
            return self.objective(weights_ND)
        mean_NM, sd_NM = self.model.predict(weights_ND)
        doubt_NM = NormalDist().inv_cdf(sure) * sd_NM
        order_N = objective.order(mean_NM, baseline_M, doubt_NM)
        own_D = self.problem.baselines[str(objective.baseline)].array
        itself_N = np.abs(weights_ND - own_D).sum(axis=1) / 2 < ROUNDING
        return np.where(itself_N, objective.value(mean_NM, baseline_M), order_N)

    def expect(self, mixture: Mixture) -> Expected:
        """Mean and standard deviation of a new run's objective, and of its metrics, [M]."""
        return self._expected(mixture)

    @cached_property
    def _expected(self) -> Callable[[Mixture], Expected]:
        # Baselines are compared with again and again.
        return lru_cache(maxsize=REMEMBERED)(self._expect)

    def _expect(self, mixture: Mixture) -> Expected:
        mean_1M, sd_1M = self.model.predict(mixture.array[None])
        mean_1, sd_1 = objective_of(
            self.problem.objective, mean_1M, sd_1M, self.validation.residual_NM, self.baseline_M
        )
        return float(mean_1[0]), float(sd_1[0]), mean_1M[0], sd_1M[0]

    def gain(self, mixture: Mixture, over: Mixture) -> tuple[float, float]:
        """Mean and standard deviation of the objective of a new run of `over`, minus that of one of `mixture`.

        Surrogates predict one mixture at a time: the two errors are taken as independent, though those of mixtures
        that are alike are alike; but where the surrogate knows how they err together, as beyond the scales that were
        trained.
        """
        mean, sd, mean_M, _ = self.expect(mixture)
        other_mean, other_sd, *_ = self.expect(over)
        together = self._together(mixture, over, mean_M)
        return other_mean - mean, float(np.hypot(sd, other_sd)) if together is None else together

    def own_sd(self, mixture: Mixture) -> float:
        """How far the objective of a new run may be off in comparisons: without the error that all mixtures share."""
        _, sd, mean_M, _ = self.expect(mixture)
        together = self._together(mixture, self.problem.space.natural, mean_M)
        return sd if together is None else float(together / np.sqrt(2))

    def _together(self, one: Mixture, other: Mixture, mean_M: Float[np.ndarray, " M"]) -> float | None:
        sd_M = self.model.difference_sd_M(one.array, other.array)
        if sd_M is None:
            return None
        return objective_sd(self.problem.objective, mean_M, sd_M, self.validation.residual_NM, self.baseline_M)

    @cached_property
    def best_tried(self) -> Mixture | None:
        """Of the mixtures trained at the target that may be an answer, that of which most is expected, if there is one.

        Not the one that measured best: that was lucky, too.
        """
        runs = self.evidence.runs
        tried_N = np.isfinite(self.evidence.at_target_N) & self.trusted.allowed(runs.weights_ND)
        if not tried_N.any():
            return None
        places = np.flatnonzero(tried_N)
        return runs.mixture(int(places[self.order(runs.weights_ND[tried_N]).argmin()]))

    @cached_property
    def trusted(self) -> TrustedMixtures:
        """The mixtures that it may answer with."""
        return TrustedMixtures(self.problem, self.evidence, self.trust)


def predicted_baseline(problem: Problem, model: LossModel) -> Float[np.ndarray, " M"] | None:
    """The metrics that a model predicts of the objective's baseline, [M]; None where the objective has none."""
    if problem.objective.baseline is None:
        return None
    [baseline_M] = model.mean(problem.baselines[problem.objective.baseline].array[None])
    return np.asarray(baseline_M)
