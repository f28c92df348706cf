import numpy as np
import pytest

from search.designs.choices import choices
from search.errors import SearchError
from search.mixture import Mixture
from search.objective import NoWorse, WeightedMean, WorstCase
from search.problem import Problem, Rung
from search.randomness import generator
from search.trial import Trial
from tests.search.worlds import LARGE, SMALL, SPACE, TIGHT, completed, problem

OBJECTIVE = WeightedMean({"prose": 1.0})
BASELINES = {"proportional": SPACE.natural}


def test_a_rung_of_less_than_no_trials_is_refused() -> None:
    with pytest.raises(SearchError, match="proxy small: -1 trials"):
        Rung(SMALL, -1)


def test_there_is_a_proxy() -> None:
    with pytest.raises(SearchError, match="no proxy"):
        Problem(SPACE, (), OBJECTIVE, BASELINES, 0)


def test_the_reference_and_the_objectives_baseline_are_there() -> None:
    with pytest.raises(SearchError, match="no baseline 'proportional'"):
        Problem(SPACE, (Rung(SMALL, 4),), OBJECTIVE, {}, 0)
    with pytest.raises(SearchError, match="no baseline 'uniform'"):
        Problem(SPACE, (Rung(SMALL, 4),), WorstCase(("prose",), baseline="uniform"), BASELINES, 0)


def test_baselines_are_feasible() -> None:
    with pytest.raises(SearchError, match="baseline mine is not feasible: domain chat"):
        Problem(
            TIGHT,
            (Rung(SMALL, 4),),
            OBJECTIVE,
            {**problem(space=TIGHT).baselines, "mine": Mixture.of({"web": 0, "code": 0.4, "books": 0.2, "chat": 0.4})},
            0,
        )


def test_mixtures_may_name_their_domains_in_any_order() -> None:
    backwards = SPACE.natural.reordered(SPACE.domains[::-1])
    rungs = (Rung(SMALL, 4),)
    found = Problem(SPACE, rungs, OBJECTIVE, {"proportional": backwards}, 0, pool={"small": (backwards,)})
    assert found.baselines["proportional"] == SPACE.natural
    assert choices(found).sample(np.empty((0, 4)), 1, generator("unused")).tolist() == [list(SPACE.natural.weights)]
    kept = Mixture.of({"chat": 1.0, "web": 3.0})
    frozen = Problem(SPACE, rungs, OBJECTIVE, BASELINES, 0, kept=kept)
    assert frozen.feasible(np.array([[0.6, 0.1, 0.1, 0.2], [0.2, 0.1, 0.1, 0.6]])).tolist() == [True, False]


def test_the_answer_is_for_the_last_rung() -> None:
    assert problem(trials=(8, 2)).target == LARGE


def test_the_objective_of_a_trial_is_known_once_it_and_what_it_is_judged_by_are_measured() -> None:
    question = problem(objective=WorstCase(("prose", "programs")))
    proportional, uniform = (Trial(question.baselines[name], LARGE, 1) for name in ("proportional", "uniform"))
    both = completed([proportional, uniform])
    excess = question.objective.losses(both.measurements[uniform.id]) - question.objective.losses(
        both.measurements[proportional.id]
    )
    assert question.objective_of(uniform, both) == pytest.approx(excess.max())
    assert question.objective_of(uniform, completed([uniform])) is None
    assert question.objective_of(uniform, completed([proportional])) is None


def test_a_trial_that_breaks_a_constraint_stands_behind_those_that_keep_it() -> None:
    mean = WeightedMean({"prose": 1.0, "programs": 0.0})
    question = problem(objective=NoWorse(mean, 0.0))
    proportional = Trial(question.baselines["proportional"], LARGE, 0)
    # More of what prose is about: better there, worse on programs.
    lopsided = Trial(Mixture.of({"web": 0.1, "code": 0.0, "books": 0.9, "chat": 0.0}), LARGE, 0)
    history = completed([proportional, lopsided])
    first, second = question.standing(proportional, history), question.standing(lopsided, history)
    assert first is not None and second is not None
    assert second.objective < first.objective and second.order > first.order
    assert first.allowed and not second.allowed
