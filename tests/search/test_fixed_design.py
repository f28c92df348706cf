"""Strategies whose trials, or the first of them, are a design that is known beforehand."""

from collections import Counter

import pytest

from search.errors import SearchError
from search.history import History
from search.space import DomainLimits, Space
from search.strategies import STRATEGIES
from tests.search.worlds import SPACE, problem

FIXED = ("random", "regmix")


@pytest.mark.parametrize("name", FIXED)
def test_all_that_is_expected_is_asked_at_once_each_rung_its_design(name: str) -> None:
    question = problem(trials=(12, 4))
    strategy = STRATEGIES[name](question)
    asked = strategy.ask(History(), 1000)
    assert Counter(trial.fidelity for trial in asked) == strategy.expected
    designs = [
        [trial.mixture for trial in asked if trial.fidelity == rung.fidelity and trial.origin == "design"]
        for rung in question.rungs
    ]
    assert [len(design) for design in designs] == [12, 4]
    assert designs[0][:4] == designs[1], "rungs share mixtures"


@pytest.mark.parametrize("name", (*FIXED, "climb"))
def test_a_space_of_one_mixture_holds_no_design(name: str) -> None:
    pinned = Space(tuple(DomainLimits(limit.name, limit.tokens, 0.25, 0.25) for limit in SPACE.limits))
    with pytest.raises(SearchError, match="holds only about 1 distinct mixtures, 24 trials"):
        STRATEGIES[name](problem(space=pinned))
