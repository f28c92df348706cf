"""Strategies whose trials are a design that is known beforehand."""

from collections import Counter

import pytest

from search.history import History
from search.strategies import STRATEGIES
from tests.search.worlds import problem


@pytest.mark.parametrize("name", ["random", "regmix"])
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
