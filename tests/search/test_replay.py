"""Replay: strategies order finished runs of a made-up world again."""

import math

import numpy as np
import pytest

from search.designs.tempered_dirichlet import tempered_dirichlet
from search.errors import SearchError
from search.fidelity import Fidelity
from search.mixture import Mixture
from search.objective import Objective, WeightedMean, WorstCase
from search.randomness import generator
from search.replay import Replay, Step, Trajectory
from search.runs import Runs
from search.strategies.base import Settings
from search.trial import Trial
from tests.search.worlds import DOMAINS, LARGE, SMALL, SPACE, WORTH, losses

FAST = Settings(surrogate="quadratic")
PROGRAMS = WeightedMean({"programs": 1})
METRICS = tuple(WORTH)
# Ten, and four, of these cost as much as one at LARGE.
CHEAP = Fidelity("small", SMALL.params, SMALL.tokens, LARGE.flops / 10)
BETWEEN = Fidelity("medium", SMALL.params, LARGE.tokens, LARGE.flops / 4)


def table(large: int = 40, small: int = 60, medium: int = 0, noise: float = 0.0) -> Runs:
    """Runs of other mixtures at each fidelity."""
    weights, levels, values = [], [], []
    for level, (count, world) in enumerate(((small, SMALL), (medium, SMALL), (large, LARGE))):
        for mixture in tempered_dirichlet(SPACE, count, generator("mixtures", level)):
            weights.append(mixture.array)
            levels.append(level)
            values.append(losses(mixture, world))
    return Runs(
        names=tuple(f"run {place}" for place in range(len(levels))),
        domains=DOMAINS,
        metrics=METRICS,
        fidelities=(CHEAP, BETWEEN, LARGE),
        weights_ND=np.array(weights),
        fidelity_N=np.array(levels),
        values_NM=np.array(values) + noise * generator("noise").standard_normal((len(levels), len(METRICS))),
    )


def played(strategy: str, runs: Runs, objective: Objective = PROGRAMS, seed: int = 0) -> Trajectory:
    return Replay(runs, objective).play(strategy, FAST, seed)


def test_random_trains_target_runs_in_an_order_of_the_seed_until_the_best() -> None:
    runs = table()
    at_target = runs.select(runs.at_target_N)
    ends = [played("random", runs, seed=seed) for seed in range(20)]
    for trajectory in ends:
        assert [step.cost for step in trajectory.steps] == list(range(1, len(trajectory.steps) + 1))
        assert len({step.trial.id for step in trajectory.steps}) == len(trajectory.steps)
        assert trajectory.steps[-1].value == trajectory.best == at_target.values_NM[:, 1].min()
        assert trajectory.cost_to_best == trajectory.steps[-1].cost
    assert len({trajectory.cost_to_best for trajectory in ends}) > 5
    assert ends[3].steps == played("random", runs, seed=3).steps


@pytest.mark.parametrize("strategy", ["regmix", "climb"])
def test_only_what_was_run_is_trained_and_the_warm_start_is_charged(strategy: str) -> None:
    runs = table()
    replay = Replay(runs, PROGRAMS, warm_start=15)
    trajectory = replay.play(strategy, FAST, seed=0)
    cheap = [step for step in trajectory.steps if step.trial.fidelity == CHEAP]
    assert len(cheap) == 15
    assert all(step.value is None for step in cheap)
    assert trajectory.regret_at(1.5) == math.inf
    assert trajectory.cost_to_best == pytest.approx(1.5 + len(trajectory.steps) - 15)
    run_at = {
        fidelity: {runs.mixture(run) for run in np.flatnonzero(runs.at(level)).tolist()}
        for level, fidelity in enumerate(runs.fidelities)
    }
    assert all(step.trial.mixture in run_at[step.trial.fidelity] for step in trajectory.steps)


@pytest.mark.parametrize("strategy", ["regmix", "climb"])
def test_a_strategy_that_learns_finds_the_best_sooner_than_chance(strategy: str) -> None:
    runs = table(noise=0.01)
    costs = [played(strategy, runs, seed=seed).cost_to_best for seed in range(5)]
    by_chance = [played("random", runs, seed=seed).cost_to_best for seed in range(20)]
    assert np.median(costs) < np.median(by_chance) / 2


def test_bayes_chooses_among_what_was_run() -> None:
    trajectory = played("bayes", table(noise=0.01))
    assert 0 < sum(step.trial.fidelity == CHEAP for step in trajectory.steps) <= 20
    assert trajectory.cost_to_best < 10


def test_a_fidelity_between_may_be_used() -> None:
    replay = Replay(table(large=20, medium=12), PROGRAMS)
    assert replay.costs == {"small": 0.1, "medium": 0.25, "large": 1.0}
    assert replay.play("climb", FAST, seed=0).cost_to_best < math.inf
    steps = replay.play("bayes", FAST, seed=0, budget=2).steps
    assert {step.trial.fidelity for step in steps} == {CHEAP, BETWEEN}


@pytest.mark.parametrize("strategy", ["random", "regmix", "climb"])
def test_one_fidelity_will_do_and_every_order_ends_at_the_best(strategy: str) -> None:
    runs = table(small=0)
    # Nothing can be learnt from noise, so the best comes anywhere.
    values_NM = generator("only noise").standard_normal(runs.values_NM.shape)
    noise = Runs(runs.names, DOMAINS, METRICS, runs.fidelities, runs.weights_ND, runs.fidelity_N, values_NM)
    for seed in range(3):
        trajectory = played(strategy, noise, seed=seed)
        assert 1 <= trajectory.cost_to_best <= 40
        assert len({step.trial.id for step in trajectory.steps}) == len(trajectory.steps)


def test_batches_are_asked_for_without_their_results() -> None:
    replay = Replay(table(), PROGRAMS)
    one, eight = (replay.play("climb", FAST, seed=1, batch=batch) for batch in (1, 8))
    assert {step.trial.id for step in one.steps} == {step.trial.id for step in eight.steps}


def test_a_budget_ends_it_early() -> None:
    replay = Replay(table(), PROGRAMS)
    trajectory = replay.play("random", FAST, seed=0, budget=2)
    assert len(trajectory.steps) == 2
    assert trajectory.cost_to_best == math.inf
    assert trajectory.regret_at(2) == trajectory.regret_at(100) > 0


def test_regret_is_what_was_paid_for() -> None:
    trial = Trial(Mixture(("a", "b"), (0.5, 0.5)), LARGE, 0)
    costs, values = (0.5, 1.0, 2.0, 3.0, 4.0), (None, None, 5.0, 7.0, 3.0)
    steps = tuple(Step(trial, cost, value) for cost, value in zip(costs, values, strict=True))
    trajectory = Trajectory(steps, best=3.0)
    assert [trajectory.regret_at(cost) for cost in (1, 1.99, 2, 3, 4)] == [math.inf, math.inf, 2, 2, 0]
    assert trajectory.cost_to_best == 4


def test_ten_runs_at_a_tenth_are_one() -> None:
    trajectory = Replay(table(), PROGRAMS, warm_start=10).play("regmix", FAST, seed=0)
    assert [step.cost for step in trajectory.steps[9:]] == list(range(1, len(trajectory.steps) - 8))


def test_replicates_count_as_their_mean() -> None:
    runs = table(small=0)
    best = int(runs.values_NM[:, 1].argmin())
    # A second run of the best mixture shows that its value was luck.
    second = runs.select(np.array([best]))
    unlucky = Runs(
        ("again",), DOMAINS, METRICS, runs.fidelities, second.weights_ND, second.fidelity_N, second.values_NM + 100
    )
    replay = Replay(runs.before(unlucky), PROGRAMS)
    assert len(replay.runs) == 40
    assert replay.best == np.sort(runs.values_NM[:, 1])[1]
    assert any("1 runs repeat a mixture" in note for note in replay.notes)


def test_runs_that_cannot_be_used_are_told() -> None:
    runs = table(large=20, small=20)
    runs.values_NM[[0, 25], 1] = math.nan
    replay = Replay(runs, PROGRAMS)
    assert [int(replay.runs.at(level).sum()) for level in (0, 1)] == [19, 19]
    assert replay.notes == ("2 runs lack a metric of the objective and are left out",)
    cheap_target = Replay(table(large=20, small=20).targeting("small"), PROGRAMS)
    assert cheap_target.costs == {"small": 1.0}
    assert cheap_target.notes == ("20 runs cost no less than one at small and are left out",)


def test_what_cannot_be_replayed_is_refused() -> None:
    with pytest.raises(SearchError, match="9 mixtures measured every metric at large"):
        Replay(table(large=9), PROGRAMS)
    with pytest.raises(SearchError, match="strategy 'greedy' does not exist"):
        played("greedy", table())
    with pytest.raises(SearchError, match="metric 'poems' does not exist"):
        Replay(table(), WeightedMean({"poems": 1}))
    constant = table()
    constant.values_NM[:, 1] = 2.5
    with pytest.raises(SearchError, match="the same in every run at large"):
        Replay(constant, PROGRAMS)
    unmeasured = table()
    unmeasured.values_NM[:, 1] = math.nan
    with pytest.raises(SearchError, match="0 mixtures measured every metric"):
        Replay(unmeasured, PROGRAMS)


def test_an_objective_with_a_baseline_trains_that_first() -> None:
    replay = Replay(table(), WorstCase(METRICS))
    for strategy in ("random", "regmix"):
        trajectory = replay.play(strategy, FAST, seed=0)
        assert trajectory.steps[0].trial.origin == "baseline:proportional"
        assert trajectory.steps[0].value == 0
    assert replay.best <= 0


def test_more_of_a_maximised_metric_is_better() -> None:
    runs = table()
    turned = Replay(runs, WeightedMean({"programs": 1}, maximised=frozenset({"programs"})))
    worst = runs.select(runs.at_target_N).values_NM[:, 1].max()
    assert turned.best == -worst
    assert turned.play("regmix", FAST, seed=0).cost_to_best < 20
