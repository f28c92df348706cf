"""Bayesian optimisation in worlds whose optimum is known."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import Float
from scipy.optimize import minimize

from search.designs.tempered_dirichlet import tempered_dirichlet
from search.errors import SearchError
from search.fidelity import Fidelity
from search.history import Completed, Failed, History
from search.mixture import Mixture
from search.objective import WeightedMean, WorstCase
from search.problem import Rung
from search.strategies.base import Settings, Strategy
from search.strategies.bayes import Bayes, Carried, warm_start
from search.strategies.random import Random
from search.trial import Failure, FailureKind, Trial
from tests.search.worlds import DOMAINS, LARGE, SMALL, SPACE, TIGHT, completed, losses, measure, problem

PROSE = WeightedMean({"prose": 1.0})
QUESTION = problem(trials=(16, 12), objective=PROSE)


def run(strategy: Strategy, slots: int = 4) -> History:
    """Ask and complete until nothing is left."""
    history = History()
    while trials := strategy.ask(history, slots):
        assert len(trials) <= slots
        history = more(history, trials)
    return history


def more(history: History, trials: list[Trial]) -> History:
    return History((*history.completed, *(Completed(trial, measure(trial)) for trial in trials)))


def best_at_target(history: History) -> float:
    return min(float(losses(entry.trial.mixture).mean()) for entry in history.at(LARGE))


def origins(history: History, fidelity: Fidelity) -> Counter[str]:
    return Counter(entry.trial.origin for entry in history.at(fidelity))


@pytest.fixture(scope="module")
def warmed() -> History:
    """The baselines, their repeats and the warm start, done."""
    strategy = Bayes(QUESTION)
    asked = strategy.ask(History(), 1000)
    assert Counter(trial.origin for trial in asked if trial.fidelity == SMALL)["warm"] == 16
    history = completed(asked)
    repeated = [trial for trial in strategy.ask(history, 4) if trial.origin.startswith("repeat:")]
    return completed([*asked, *repeated])


def test_few_target_trials_reach_what_random_search_does_not_in_many() -> None:
    def reached(logits: Float[np.ndarray, " D"]) -> float:
        return float(losses(Mixture.from_array(DOMAINS, np.exp(logits))).mean())

    optimum = min(float(minimize(reached, start).fun) for start in np.random.default_rng(0).standard_normal((5, 4)))
    found = best_at_target(run(Bayes(problem(trials=(16, 4))))) - optimum
    by_chance = best_at_target(run(Random(problem(trials=(40,))))) - optimum
    assert found < 0.5 * by_chance


def test_without_a_cheap_rung_it_opens_with_a_small_design_and_then_learns() -> None:
    history = run(Bayes(problem(trials=(20,), space=TIGHT, objective=PROSE)), slots=5)
    counts = origins(history, LARGE)
    repeated = counts["repeat:baseline:proportional"] + counts["repeat:baseline:uniform"]
    assert counts["design"] == 7 and repeated <= 2
    assert counts["control"] + counts["log_ei"] <= 20 - 7 - repeated
    assert all(TIGHT.contains(entry.trial.mixture) for entry in history.completed)
    by_origin = {
        origin: min(losses(entry.trial.mixture)[0] for entry in history.at(LARGE) if entry.trial.origin == origin)
        for origin in ("design", "log_ei")
    }
    assert by_origin["log_ei"] < by_origin["design"] - 0.02


def test_it_asks_the_same_in_any_order_of_arrival_after_a_restart_and_one_by_one(warmed: History) -> None:
    first, second = Bayes(QUESTION).ask(warmed, 2)
    assert first.origin == second.origin == "log_ei"
    strategy = Bayes(QUESTION)
    assert strategy.ask(History(tuple(reversed(warmed.completed))), 1) == [first]
    [next_one] = strategy.ask(warmed.opened(first), 1)
    assert next_one.mixture.total_variation(second.mixture) < 0.01


def test_a_large_batch_spreads(warmed: History) -> None:
    asked = Bayes(QUESTION).ask(warmed, 7)
    mixtures = [trial.mixture for trial in asked]
    gaps = [one.total_variation(other) for place, one in enumerate(mixtures) for other in mixtures[:place]]
    assert min(gaps) > 0.009
    assert max(gaps) > 0.04


def test_target_trials_wait_for_the_warm_start_but_not_for_stragglers(warmed: History) -> None:
    strategy = Bayes(QUESTION)
    cheap = [entry.trial for entry in warmed.completed if entry.trial.origin == "warm"]
    assert strategy.ask(warmed.opened(*cheap[:8]), 5) == []
    assert len(strategy.ask(warmed.opened(*cheap[:2]), 2)) == 2


def test_a_warm_start_that_failed_leaves_the_design_at_the_target(warmed: History) -> None:
    strategy = Bayes(replace(QUESTION, rungs=(QUESTION.rungs[0], Rung(LARGE, 4))))
    tried = [entry.trial for entry in warmed.completed if not entry.trial.origin.startswith("repeat:")]
    failed = tuple(Failed(trial, Failure(FailureKind.ERROR, "")) for trial in tried)
    asked = strategy.ask(History(failed=failed), 9)
    assert [trial.fidelity for trial in asked] == [LARGE] * 4


def test_a_rung_between_gets_what_one_target_run_pays_for(warmed: History) -> None:
    question = problem(trials=(16, 2), objective=PROSE)
    middle = Fidelity("middle", params=3 * 10**5, tokens=3 * 10**6, flops=LARGE.flops / 5)
    cheapest, target = question.rungs
    history = run(Bayes(replace(question, rungs=(cheapest, Rung(middle, 30), target))), slots=10)
    assert origins(history, middle)["log_ei"] == 5
    assert origins(history, LARGE)["log_ei"] == 2


def test_it_never_asks_for_more_than_it_said() -> None:
    strategy = Bayes(problem(trials=(10, 3), objective=PROSE))
    asked = Counter(entry.trial.fidelity for entry in run(strategy).completed)
    assert all(asked[fidelity] <= most for fidelity, most in strategy.expected.items())


def test_a_pool_is_trained_the_best_first_and_to_its_end() -> None:
    pool = tuple(tempered_dirichlet(SPACE, 40, np.random.default_rng(0)))
    question = replace(
        problem(trials=(12, 30), objective=PROSE), pool={"small": pool, "large": pool[:30]}, baselines={}
    )
    strategy, history, order = Bayes(question), History(), list[Trial]()
    while trials := strategy.ask(history, 3):
        order += [trial for trial in trials if trial.fidelity == LARGE]
        history = more(history, trials)
    assert {trial.mixture for trial in order} == set(pool[:30])
    assert len(order) == 30
    best = min(pool[:30], key=lambda mixture: losses(mixture)[0])
    assert best in [trial.mixture for trial in order[:5]]


def test_it_waits_for_the_baseline_that_the_objective_needs() -> None:
    question = problem(trials=(16, 4), objective=WorstCase(("prose", "programs")))
    strategy = Bayes(question)
    opening = strategy.ask(History(), 1000)
    needed = Trial(question.baselines["proportional"], LARGE, 0)
    history = completed(trial for trial in opening if trial != needed).opened(needed)
    assert strategy.ask(history, 3) == []
    failed = History(history.completed, (), (Failed(needed, Failure(FailureKind.ERROR, "")),))
    with pytest.raises(SearchError, match="proportional baseline, which has no measurement"):
        strategy.ask(failed, 3)


def test_hypervolume_wants_a_pareto_objective() -> None:
    with pytest.raises(SearchError, match="hypervolume is for a pareto objective"):
        Bayes(problem(), Settings(acquisition="hypervolume"))


def test_the_warm_start_is_what_a_target_run_costs_and_follows_what_it_carries() -> None:
    assert warm_start(60, domains=17) == 60
    assert warm_start(1000, domains=17) == 68
    assert warm_start(1.5, domains=17) == 0
    assert warm_start(60, domains=17, carried=Carried(0.1, 0.9)) == 0
    assert warm_start(60, domains=17, carried=Carried(0.7, 0.6)) == 120
    assert warm_start(60, domains=17, carried=Carried(0.9, 0.95)) == 60
    assert warm_start(60, domains=17, carried=Carried(0.4, 0.8)) == 60


def test_towards_its_end_a_local_stage_is_around_one_mixture_whatever_the_slots() -> None:
    settings = Settings(stop_when_resolved=False)
    found = []
    for slots in (1, 3):
        history = run(Bayes(problem(trials=(24,), objective=PROSE), settings), slots)
        refined = sorted(
            (entry.trial.mixture.array for entry in history.completed if entry.trial.origin == "refine"),
            key=lambda weights_D: tuple(weights_D),
        )
        assert len(refined) == 7
        found.append(np.array(refined))
        assert np.abs(found[-1] - found[-1].mean(axis=0)).sum(axis=1).max() < 0.6
    without = run(Bayes(problem(trials=(24,), objective=PROSE), replace(settings, refine=False)), 3)
    assert not any(entry.trial.origin == "refine" for entry in without.completed)
