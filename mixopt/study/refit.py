"""The surrogate of a study's answer, fitted and validated again."""

from __future__ import annotations

from mixopt.base.errors import ConfigError
from mixopt.study.plan import Plan
from search.evidence import gather
from search.history import History
from search.recommendation.predictor import Predictor
from search.recommendation.recommendation import BEST_OBSERVED


def refit(plan: Plan, history: History, method: str | None) -> Predictor:
    """
    Args:
        method: of the answer; the study's own surrogate where there is none, or where it rests on no prediction.

    Raises:
        TooFewMixtures: no surrogate could be believed.
        ConfigError: the study's strategy predicts nothing.
        SearchError: nothing was measured at the target.
    """
    problem, settings = plan.problem, plan.strategy.settings
    if plan.file.search.strategy == "random":
        raise ConfigError("search.strategy random predicts nothing", hint="choose another strategy for predictions")
    surrogate = settings.surrogate if method in (None, BEST_OBSERVED) else method
    return Predictor.fit(problem, gather(problem, history), surrogate, settings.trust)
