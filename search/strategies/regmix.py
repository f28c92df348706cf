"""RegMix (2407.01492): train a design, regress each metric on the mixture, average the best predicted mixtures.

Beyond RegMix: runs of several fidelities are pooled; the regression has to prove itself in cross-validation, or the
best observed mixture is the answer; candidates keep the space's constraints, so the average does too.
"""

from __future__ import annotations

import numpy as np

from search.designs.candidates import feasible_candidates
from search.history import History
from search.pooling import gather
from search.randomness import generator
from search.recommend import Recommendation, best_observed, recommend_observed, recommend_predicted
from search.strategies.fixed_design import FixedDesign
from search.surrogates import SURROGATES
from search.surrogates.loss_model import LossModel
from search.validation import FEWEST_RUNS, cross_validate

SURROGATE = "lightgbm"
CANDIDATES = 30_000
AVERAGED = 32


class RegMix(FixedDesign):
    def recommend(self, history: History) -> Recommendation:
        problem = self.problem
        evidence = gather(problem, history)
        if len(evidence.mixtures) < FEWEST_RUNS:
            reason = (
                f"{len(evidence.mixtures)} completed mixtures are too few for a regression, {FEWEST_RUNS} the least"
            )
            return recommend_observed(problem, history, evidence, reason)

        kind = SURROGATES[SURROGATE]
        model = LossModel.fit(kind, problem.seed, evidence.weights_ND, evidence.losses_NM)
        validation = cross_validate(model, problem.seed, evidence, problem.objective)
        if not validation.trustworthy:
            reason = (
                "cross-validation does not show that the regression ranks mixtures at the target better than chance"
            )
            return recommend_observed(problem, history, evidence, reason, validation)

        candidates_ND = feasible_candidates(
            problem.space, evidence.weights_ND, CANDIDATES, generator(problem.seed, "candidates")
        )
        predicted_N = problem.objective.value(model.mean(candidates_ND), evidence.baseline_M)
        best_KD = candidates_ND[np.argsort(predicted_N, kind="stable")[:AVERAGED]]
        # Both by the regression: the measurement of the best of many mixtures looks better than it is.
        rivals_2D = np.array([best_KD.mean(axis=0), best_observed(evidence).array])
        average, observed = problem.objective.value(model.mean(rivals_2D), evidence.baseline_M)
        if observed < average:
            reason = "the regression expects nothing better than the best observed mixture"
            return recommend_observed(problem, history, evidence, reason, validation)
        return recommend_predicted(problem, history, evidence, SURROGATE, model, validation, best_KD)
