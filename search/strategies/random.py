"""The control: train the design, take the best that was measured."""

from __future__ import annotations

from search.evidence import gather
from search.history import History
from search.recommendation.recommend import recommend_observed
from search.recommendation.recommendation import Recommendation
from search.strategies.fixed_design import FixedDesign


class Random(FixedDesign):
    def recommend(self, history: History) -> Recommendation:
        return recommend_observed(self.problem, gather(self.problem, history), trust=self.settings.trust)
