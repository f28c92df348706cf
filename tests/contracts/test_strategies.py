"""What every listed strategy must do."""

import json

import pytest

from search.confirm import confirmation_trials
from search.errors import SearchError
from search.history import Completed, Failed, History
from search.objective import WeightedMean, WorstCase
from search.problem import Problem
from search.recommend import Recommendation
from search.space import DomainLimits, Space
from search.strategies import STRATEGIES
from search.trial import Failure, FailureKind, Trial
from tests.search.worlds import LARGE, SPACE, TIGHT, completed, measure, problem

every_strategy = pytest.mark.parametrize("name", list(STRATEGIES))


def run(name: str, question: Problem, slots: int) -> History:
    """Ask and complete until nothing is left, with a new strategy each time, as after a restart."""
    entries: list[Completed] = []
    while trials := STRATEGIES[name](question).ask(History(tuple(entries)), slots):
        assert len(trials) <= slots
        entries += [Completed(trial, measure(trial)) for trial in trials]
    return History(tuple(entries))


@every_strategy
def test_every_baseline_and_trial_is_asked_once_at_every_rung_and_is_feasible(name: str) -> None:
    question = problem(trials=(12, 4), space=TIGHT)
    history = run(name, question, slots=5)
    for rung in question.rungs:
        for mixture in question.baselines.values():
            assert history.measured(mixture, rung.fidelity, seed=0) is not None
        asked = [entry.trial.mixture for entry in history.at(rung.fidelity)]
        assert len(asked) >= rung.trials
        assert all(TIGHT.contains(mixture) for mixture in asked)


@every_strategy
def test_a_plan_is_what_is_asked_baselines_first(name: str) -> None:
    question = problem(trials=(12, 4))
    planned = STRATEGIES[name](question).planned
    if planned is not None:
        asked = STRATEGIES[name](question).ask(History(), 1000)
        assert asked == list(planned)
        assert all(trial.origin.startswith("baseline:") for trial in asked[: 2 * len(question.baselines)])


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
    history = run(name, problem(trials=(4,)), slots=100)
    more = STRATEGIES[name](problem(trials=(7,))).ask(history, 100)
    assert len(more) == 3


@every_strategy
def test_the_answer_beats_proportional_and_neither_confirming_nor_arrival_changes_it(name: str) -> None:
    question = problem(trials=(16, 6), space=TIGHT, objective=WeightedMean({"programs": 1}))
    history = run(name, question, slots=100)
    answer = STRATEGIES[name](question).recommend(history)
    check(answer, question)
    reached = question.objective.losses(measure(Trial(answer.mixture, LARGE, 0), noise=0))
    assert question.objective.value(reached[None])[0] < answer.baselines["proportional"]

    confirmations = confirmation_trials(question, answer.candidates, seeds=2)
    later = completed([*reversed(confirmations), *(entry.trial for entry in reversed(history.completed))])
    assert STRATEGIES[name](question).recommend(later).as_dict() == answer.as_dict()


@every_strategy
def test_two_completed_trials_and_constant_losses_still_give_an_answer(name: str) -> None:
    question = problem(trials=(12,))
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
    with pytest.raises(SearchError, match="holds only about 1 distinct mixtures, 24 trials"):
        STRATEGIES[name](problem(space=pinned))


def check(answer: Recommendation, question: Problem) -> None:
    assert question.space.violations(answer.mixture) == []
    assert answer.candidates[0].mixture == answer.mixture
    assert json.loads(json.dumps(answer.as_dict(), allow_nan=False))["trials"] == answer.trials
    if answer.predicted is not None:
        assert answer.predicted.lower < answer.predicted.mean < answer.predicted.upper
