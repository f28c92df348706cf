"""CLIMB: rounds, each drawn from what the rounds before make look best."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.history import Completed, Failed, History
from search.objective import WeightedMean
from search.problem import Problem
from search.strategies.base import Settings
from search.strategies.climb import Climb, rounds
from search.trial import Failure, FailureKind, Trial
from tests.search.worlds import LARGE, SMALL, TIGHT, completed, losses, measure, problem

FAST = Settings(surrogate="quadratic")
PROGRAMS = WeightedMean({"programs": 1})


def climb(question: Problem) -> Climb:
    """Anew for every question, as after a restart."""
    return Climb(question, FAST)


def asked_in_rounds(question: Problem) -> list[list[Trial]]:
    """What is asked when all that was asked before is completed, time after time."""
    history, batches = History(), []
    while batch := climb(question).ask(history, 1000):
        batches.append(batch)
        history = completed([*(entry.trial for entry in history.completed), *batch])
    return batches


@given(st.integers(min_value=0, max_value=1000))
def test_rounds_share_out_all_trials_in_the_published_ratio(trials: int) -> None:
    first, second, third = rounds(trials)
    assert first + second + third == trials
    assert abs(first - 4 / 7 * trials) <= 1 and abs(second - 2 / 7 * trials) <= 1


def test_the_published_rounds() -> None:
    assert rounds(112) == (64, 32, 16)


def test_later_rounds_train_better_mixtures_than_the_design() -> None:
    known, *later = asked_in_rounds(problem((28,), objective=PROGRAMS))
    design = [trial for trial in known if trial.origin == "design"]
    assert [len(batch) for batch in (design, *later)] == [16, 8, 4]
    assert [{trial.origin for trial in batch} for batch in later] == [{"climb:1"}, {"climb:2"}]
    values = [[PROGRAMS.value(losses(trial.mixture)[None, 1:])[0] for trial in batch] for batch in (design, *later)]
    assert max(values[1] + values[2]) < np.quantile(values[0], 0.25)


def test_a_round_is_spread_over_the_best_and_all_of_it_is_feasible() -> None:
    _, second, third = asked_in_rounds(problem((28,), space=TIGHT, objective=PROGRAMS))
    assert len({trial.id for trial in second + third}) == 12
    assert all(TIGHT.contains(trial.mixture) for trial in second + third)
    assert max(one.mixture.total_variation(other.mixture) for one in second for other in second) > 0.02


def test_cheaper_runs_are_the_first_bootstrap() -> None:
    known, *later = asked_in_rounds(problem((20, 14), objective=PROGRAMS))
    assert {trial.fidelity for trial in known if trial.origin == "design"} == {SMALL}
    assert [len(batch) for batch in later] == [8, 4, 2]
    assert all(trial.fidelity == LARGE for batch in later for trial in batch)


def test_a_round_starts_only_when_the_one_before_is_closed() -> None:
    question = problem((14,))
    known = climb(question).ask(History(), 1000)
    still_running = completed(known[1:]).opened(known[0])
    assert climb(question).ask(still_running, 8) == []
    failed = History(still_running.completed, (), (Failed(known[0], Failure(FailureKind.DIVERGED, "loss 1e9")),))
    assert len(climb(question).ask(failed, 8)) == 4


def test_a_round_is_the_same_however_it_is_asked() -> None:
    question = problem((14,))
    before = completed(climb(question).ask(History(), 1000))
    whole = climb(question).ask(before, 1000)
    first, *others = whole
    part_done = History((*before.completed, Completed(first, measure(first))), (others[0],))
    assert climb(question).ask(part_done, 1000) == others[1:]
    assert climb(question).ask(before, 2) == whole[:2]


def test_a_round_follows_from_the_outcomes_and_not_from_what_was_asked_before() -> None:
    question = problem((14,))
    strategy = climb(question)
    known = strategy.ask(History(), 1000)
    other = completed(known, lambda trial: measure(trial, noise=1.0))
    assert strategy.ask(completed(known), 1000) != strategy.ask(other, 1000) == climb(question).ask(other, 1000)


def test_more_trials_keep_those_of_every_round() -> None:
    history = completed([trial for batch in asked_in_rounds(problem((28,))) for trial in batch])
    question, more = problem((42,)), 0
    while batch := climb(question).ask(history, 1000):
        more += len(batch)
        history = completed([*(entry.trial for entry in history.completed), *batch])
    assert more == 14


@pytest.mark.parametrize("survivors", [0, 6])
def test_where_too_little_was_measured_the_design_goes_on(survivors: int) -> None:
    question = problem((28,))
    known = climb(question).ask(History(), 1000)
    lost = tuple(Failed(trial, Failure(FailureKind.LOST_WORKER, "gone")) for trial in known[survivors:])
    asked = climb(question).ask(History(completed(known[:survivors]).completed, (), lost), 1000)
    assert len(asked) == 8
    assert not {trial.id for trial in asked} & {trial.id for trial in known}
