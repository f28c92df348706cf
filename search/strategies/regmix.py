"""RegMix: train a design, regress each metric on the mixture, average the best predicted mixtures.

Q. Liu et al., "RegMix: Data Mixture as Regression for Language Model Pre-training", ICLR 2025.

Beyond RegMix: runs of several fidelities are joined; the regression has to prove itself in cross-validation, or the
best observed mixture is the answer; candidates keep the space's constraints, so the average does too; and any
surrogate can be the regression.
"""

from __future__ import annotations

from search.evidence import gather
from search.history import History
from search.recommendation.recommend import recommend
from search.recommendation.recommendation import Recommendation
from search.strategies.fixed_design import FixedDesign


class RegMix(FixedDesign):
    def recommend(self, history: History) -> Recommendation:
        return recommend(self.problem, gather(self.problem, history), self.settings.surrogate, self.settings.trust)
