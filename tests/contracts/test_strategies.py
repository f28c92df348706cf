"""What every listed strategy must do."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from mixopt.results.recommendation import Recommendation as Recommended
from search.errors import SearchError
from search.history import Completed, Failed, History
from search.objective import WeightedMean, WorstCase
from search.problem import Problem
from search.recommendation.confirmation_trials import next_confirmations
from search.recommendation.recommendation import Recommendation
from search.space import DomainLimits, Space
from search.strategies import STRATEGIES
from search.trial import Failure, FailureKind, Trial
from tests.search.worlds import LARGE, SPACE, TIGHT, completed, measure, problem

# One metric: each is fitted by itself, and fits are what takes time.
PROGRAMS = WeightedMean({"programs": 1})

every_strategy = pytest.mark.parametrize("name", list(STRATEGIES))


def run(name: str, question: Problem, slots: int = 100, history: History | None = None) -> History:
    """Ask and complete until nothing is left, with a new strategy each time, as after a restart."""
    history = history or History()
    while trials := STRATEGIES[name](question).ask(history, slots):
        assert len(trials) <= slots
        history = History((*history.completed, *(Completed(trial, measure(trial)) for trial in trials)))
    return history


@pytest.fixture(scope="module", params=list(STRATEGIES))
def finished(request: pytest.FixtureRequest) -> tuple[str, Problem, History]:
    """A strategy, a problem with narrow limits, and the history of its whole search."""
    question = problem(trials=(12, 5), space=TIGHT, objective=PROGRAMS)
    return request.param, question, run(request.param, question, slots=5)


def test_what_is_asked_is_feasible_holds_every_baseline_and_is_no_more_than_expected(
    finished: tuple[str, Problem, History],
) -> None:
    name, question, history = finished
    for rung in question.rungs:
        for mixture in question.baselines.values():
            assert history.measured(mixture, rung.fidelity, seed=0) is not None
    assert all(TIGHT.contains(trial.mixture) for trial in history.trials)
    asked = Counter(trial.fidelity for trial in history.trials)
    assert asked <= STRATEGIES[name](question).expected
    assert asked[question.target] >= question.rungs[-1].trials


def test_the_answer_beats_proportional_and_neither_confirming_nor_arrival_changes_it(
    finished: tuple[str, Problem, History],
) -> None:
    name, question, history = finished
    answer = STRATEGIES[name](question).recommend(history)
    check(answer, question)
    reached = question.objective.losses(measure(Trial(answer.mixture, LARGE, 0), noise=0))
    assert question.objective.value(reached[None])[0] < answer.baselines["proportional"]

    later = history
    while confirmations := next_confirmations(question, answer.candidates, 2, later):
        for trial in confirmations:
            later = later.closed(trial, measure(trial))
    assert STRATEGIES[name](question).recommend(later) == answer


def test_a_version_that_counts_flops_otherwise_asks_nothing_again(finished: tuple[str, Problem, History]) -> None:
    name, question, history = finished

    def recounted(upto: int) -> History:
        entries = history.completed[:upto]
        return History(tuple(replace(entry, trial=recount(entry.trial)) for entry in entries))

    strategy, everything = STRATEGIES[name](question), len(history.completed)
    assert strategy.ask(recounted(everything), 100) == []
    for upto in (everything // 3, everything - 1):
        asked = strategy.ask(recounted(upto), 100)
        assert asked == STRATEGIES[name](question).ask(History(history.completed[:upto]), 100)


def recount(trial: Trial) -> Trial:
    return replace(trial, fidelity=replace(trial.fidelity, flops=trial.fidelity.flops * 1.01))


@every_strategy
def test_baselines_are_asked_first_the_targets_before_all(name: str) -> None:
    question = problem(trials=(12, 4))
    baselines = 2 * len(question.baselines)
    asked = STRATEGIES[name](question).ask(History(), 1000)
    assert all(trial.origin.startswith("baseline:") for trial in asked[:baselines])
    assert all(trial.fidelity == question.target for trial in asked[: len(question.baselines)])
    assert STRATEGIES[name](question).ask(History(), 3) == asked[:3]


@every_strategy
def test_running_and_failed_trials_are_not_asked_again(name: str) -> None:
    strategy = STRATEGIES[name](problem(trials=(6,)))
    first, second, *_ = strategy.ask(History(), 2)
    history = History(running=(first,), failed=(Failed(second, Failure(FailureKind.DIVERGED, "loss 1e9")),))
    asked = {trial.id for trial in strategy.ask(history, 1000)}
    assert asked
    assert not asked & {first.id, second.id}


@every_strategy
def test_more_trials_keep_the_old_ones(name: str) -> None:
    history = run(name, problem(trials=(4,), objective=PROGRAMS))
    more = run(name, problem(trials=(7,), objective=PROGRAMS), history=history)
    assert len(more.trials) == len(history.trials) + 3


@every_strategy
def test_two_completed_trials_and_constant_losses_still_give_an_answer(name: str) -> None:
    question = problem(trials=(12,), objective=PROGRAMS)
    strategy = STRATEGIES[name](question)
    asked = strategy.ask(History(), 100)
    check(strategy.recommend(completed(asked[:2])), question)
    same = measure(asked[0])
    check(strategy.recommend(completed(asked, lambda trial: same)), question)


@every_strategy
def test_a_failed_baseline_that_the_objective_needs_is_named(name: str) -> None:
    question = problem(trials=(4,), objective=WorstCase(("prose", "programs")))
    strategy = STRATEGIES[name](question)
    needed = Trial(question.baselines["proportional"], LARGE, 0)
    rest = [trial for trial in strategy.ask(History(), 100) if trial.id != needed.id]
    history = History(completed(rest).completed, (), (Failed(needed, Failure(FailureKind.ERROR, "lost")),))
    with pytest.raises(SearchError, match="proportional baseline, which has no measurement"):
        strategy.recommend(history)


@every_strategy
def test_nothing_completed_is_said_so(name: str) -> None:
    with pytest.raises(SearchError, match="no trial of proxy large was completed"):
        STRATEGIES[name](problem()).recommend(History())


@every_strategy
def test_a_space_of_one_mixture_cannot_be_searched(name: str) -> None:
    pinned = Space(tuple(DomainLimits(limit.name, limit.tokens, 0.25, 0.25) for limit in SPACE.limits))
    with pytest.raises(SearchError, match=r"holds only about \d distinct mixtures, 24 trials"):
        STRATEGIES[name](problem(space=pinned))


def check(answer: Recommendation, question: Problem) -> None:
    assert question.space.violations(answer.mixture) == []
    assert answer.candidates[0].mixture == answer.mixture
    assert json.loads(Recommended.of(answer).json_text())["trials"] == answer.trials
    if answer.predicted is not None:
        assert answer.predicted.lower < answer.predicted.mean < answer.predicted.upper
