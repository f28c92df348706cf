import pytest

from search.errors import SearchError
from search.mixture import Mixture
from search.objective import WeightedMean, WorstCase
from search.problem import Problem, Rung
from tests.search.worlds import LARGE, SMALL, SPACE, TIGHT, problem

OBJECTIVE = WeightedMean({"prose": 1.0})
BASELINES = {"proportional": SPACE.natural}


def test_rungs_are_ordered_by_cost() -> None:
    with pytest.raises(SearchError) as error:
        Problem(SPACE, (Rung(LARGE, 4), Rung(SMALL, 4)), OBJECTIVE, BASELINES, 0)
    assert "proxy small costs 1e+12 FLOPs a trial, no more than large" in error.value.message
    assert "cheap to expensive" in error.value.hint


def test_a_rung_has_trials() -> None:
    with pytest.raises(SearchError, match="proxy small: 0 trials"):
        Rung(SMALL, 0)


def test_there_is_a_proxy() -> None:
    with pytest.raises(SearchError, match="no proxy"):
        Problem(SPACE, (), OBJECTIVE, BASELINES, 0)


def test_the_reference_and_the_objectives_baseline_are_there() -> None:
    with pytest.raises(SearchError, match="no baseline 'proportional'"):
        Problem(SPACE, (Rung(SMALL, 4),), OBJECTIVE, {}, 0)
    with pytest.raises(SearchError, match="no baseline 'uniform'"):
        Problem(SPACE, (Rung(SMALL, 4),), WorstCase(("prose",), baseline="uniform"), BASELINES, 0)


def test_baselines_are_feasible() -> None:
    with pytest.raises(SearchError, match="baseline mine is not feasible: .*chat"):
        Problem(
            TIGHT,
            (Rung(SMALL, 4),),
            OBJECTIVE,
            {**problem(space=TIGHT).baselines, "mine": Mixture.of({"web": 0, "code": 0.4, "books": 0.2, "chat": 0.4})},
            0,
        )


def test_the_answer_is_for_the_last_rung() -> None:
    assert problem(trials=(8, 2)).target == LARGE
