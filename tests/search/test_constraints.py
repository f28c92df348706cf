"""A search under constraints: the best of what keeps them, in what is asked, proposed and observed."""

import numpy as np
import pytest
import torch

from search.acquisitions import ACQUISITIONS
from search.acquisitions.fitting import fit_metrics
from search.acquisitions.propose import Proposals
from search.errors import SearchError
from search.evidence import gather
from search.history import History
from search.mixture import Mixture
from search.objective import NoWorse, WeightedMean
from search.problem import PROPORTIONAL
from search.recommendation.predictor import Predictor
from search.strategies import STRATEGIES
from search.strategies.base import Settings
from search.trust_region import TrustRegion
from tests.search.worlds import completed, losses, problem

# Prose wants books and nothing else, which programs pay for.
GUARDED = NoWorse(WeightedMean({"prose": 1.0, "programs": 0.0}), allowance=0.0)
QUESTION = problem((24,), objective=GUARDED)
NATURAL = QUESTION.baselines[PROPORTIONAL]


def searched(strategy: str) -> tuple[History, Mixture]:
    found = STRATEGIES[strategy](QUESTION, Settings("effective_data"))
    history = History()
    while trials := found.ask(history, 4):
        history = History((*history.completed, *completed(trials).completed))
    return history, found.recommend(history).mixture


def excess(mixture: Mixture) -> float:
    """By how much programs are truly worse than under the natural mixture."""
    return float(GUARDED.excess(losses(mixture)[None], losses(NATURAL))[0, 1])


@pytest.mark.parametrize("strategy", ["regmix", "climb", pytest.param("bayes", marks=pytest.mark.slow)])
def test_what_is_proposed_keeps_the_constraint_and_gains(strategy: str) -> None:
    _, mixture = searched(strategy)
    assert excess(mixture) < 0.01
    assert losses(mixture)[0] < losses(NATURAL)[0] - 0.02


def test_what_breaks_a_constraint_is_worth_what_the_baseline_is() -> None:
    history, _ = searched("regmix")
    evidence = gather(QUESTION, history)
    proposals = Proposals.of(
        QUESTION, ACQUISITIONS["log_ei"](), evidence, fit_metrics(evidence.runs, 0), TrustRegion(near_evidence=False)
    )
    only_books = torch.tensor([[[0.0, 0.0, 1.0, 0.0]]], dtype=torch.float64)
    natural = torch.tensor(NATURAL.array)[None, None]
    with torch.no_grad():
        worth = [float(proposals.outlook.expected(each)) for each in (only_books, natural)]
    assert worth[0] == pytest.approx(worth[1], abs=0.02)
    assert losses(QUESTION.baselines["uniform"])[0] < losses(NATURAL)[0]


def test_the_baseline_itself_always_keeps_the_constraints_about_it() -> None:
    history, _ = searched("regmix")
    predictor = Predictor.fit(QUESTION, gather(QUESTION, history), "linear", TrustRegion())
    weights_ND = np.vstack([NATURAL.array, [0, 0, 1, 0]])
    natural, books = predictor.order(weights_ND, sure=0.9)
    assert natural == predictor.objective(weights_ND)[0] < books


def test_an_acquisition_that_sees_no_metric_keeps_no_constraint() -> None:
    with pytest.raises(SearchError, match="cannot keep its constraints"):
        STRATEGIES["bayes"](QUESTION, Settings(acquisition="knowledge_gradient"))
