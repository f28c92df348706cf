"""The noise floor: what seeds do, found again in made-up runs of which it is known."""

from dataclasses import replace

import numpy as np
import pytest

from search.history import Completed, History
from search.noise import Layout, by_seed, measure_noise, seed_shifts
from search.objective import WeightedMean, WorstCase
from search.problem import Problem
from search.seeds import is_of_search, of_confirmation, of_repeat
from search.strategies.bayes import Bayes
from search.strategies.reserved import repeats
from search.trial import DocumentGroups, Loss, Measurement, Trial
from tests.search.worlds import LARGE, completed, measure, problem


def layout(mixtures: int, seeds: int, run_sd: float, seed_sd: float) -> Layout:
    rng = np.random.default_rng(0)
    of_seed_S = seed_sd * rng.standard_normal(seeds)
    return by_seed(
        [
            {seed: 10.0 * mixture + of_seed_S[seed] + run_sd * rng.standard_normal() for seed in range(seeds)}
            for mixture in range(mixtures)
        ]
    )


def test_both_parts_of_the_noise_are_found() -> None:
    found = layout(mixtures=60, seeds=30, run_sd=0.01, seed_sd=0.05).noise
    assert found is not None
    assert found.run_sd == pytest.approx(0.01, rel=0.05)
    assert found.seed_sd == pytest.approx(0.05, rel=0.3)
    assert found.freedom == 59 * 29


def test_four_times_the_seeds_resolve_half_the_difference() -> None:
    found = layout(mixtures=6, seeds=3, run_sd=0.01, seed_sd=0.05).noise
    assert found is not None
    assert found.resolves(12) == pytest.approx(found.resolves(3) / 2)
    assert found.seeds_for(found.resolves(3) / 2) == 12


def test_without_a_repeat_nothing_is_known() -> None:
    question = problem()
    trials = [Trial(mixture, LARGE, 0) for mixture in question.baselines.values()]
    assert measure_noise(question.objective, completed(trials).completed) is None


def test_the_noise_of_an_objective_against_a_baseline_is_within_seeds() -> None:
    """A shift that a seed does to all is no noise of the excess over the baseline of that seed."""
    question = problem(objective=WorstCase(("prose", "programs")))
    trials = [Trial(mixture, LARGE, seed) for mixture in question.baselines.values() for seed in (1, 2, 3)]

    def shifted(trial: Trial) -> Measurement:
        clean = measure(trial, noise=0.0)
        losses = {name: Loss(loss.nats_per_token + trial.seed, 1.0) for name, loss in clean.losses.items()}
        return Measurement(losses, (), {}, {}, 1.0, 1.0)

    found = measure_noise(question.objective, completed(trials, shifted).completed, question.baselines["proportional"])
    assert found is not None and found.objective.run_sd == pytest.approx(0, abs=1e-9)
    assert found.metrics["prose"].seed_sd == pytest.approx(1.0)


def test_other_documents_of_the_confirmation_are_no_noise() -> None:
    """Each mixture is off by something else on other documents, and always by the same."""
    question = problem()
    mixtures = list(question.baselines.values())
    trials = [Trial(mixture, LARGE, seed) for mixture in mixtures for seed in (0, 1001, 1, 2)]

    def on_others(trial: Trial) -> Measurement:
        clean = measure(trial, noise=0.0)
        if is_of_search(trial.seed):
            return clean
        off = 0.1 + 0.1 * mixtures.index(trial.mixture)
        losses = {name: Loss(loss.nats_per_token + off, 1.0) for name, loss in clean.losses.items()}
        return replace(clean, losses=losses, documents={"prose": DocumentGroups((30.0, 20.0), (10, 8), (40, 30))})

    found = measure_noise(question.objective, completed(trials, on_others).completed)
    assert found is not None and found.mixtures == len(mixtures)
    assert found.objective.run_sd == pytest.approx(0, abs=1e-9)
    assert found.objective.freedom == 2 * (len(mixtures) - 1)


def test_seeds_of_the_search_and_of_the_confirmation_are_never_the_same() -> None:
    assert all(map(is_of_search, (0, *map(of_repeat, range(1, 20)))))
    assert not any(map(is_of_search, of_confirmation(200)))


def test_repeats_are_moved_to_where_the_seed_of_the_search_would_have_put_them() -> None:
    values_NM = np.array([[3.0], [3.4], [4.0], [4.5], [5.0]])
    seed_N = np.array([0, 1001, 0, 1001, 0])
    shift_NM = seed_shifts(["a", "a", "b", "b", "c"], seed_N, values_NM)
    # The other's difference, of .5 and .4, and one taken to be none: a's own luck is not the seed's.
    np.testing.assert_allclose(shift_NM[:, 0], [0, 0.25, 0, 0.2, 0])


def test_means_over_different_seeds_are_compared_without_what_the_seeds_did() -> None:
    """The third seed is one nat higher for all, and only the first mixture has it."""
    layout = by_seed([{1: 3.0, 2: 3.1, 3: 4.0}, {1: 3.2, 2: 3.3}, {1: 3.4, 2: 3.5, 3: 4.4}, {}])
    assert layout.mean_K[1] - layout.mean_K[0] == pytest.approx(0.2)
    assert layout.mean_K[2] - layout.mean_K[1] == pytest.approx(0.2)
    assert np.isnan(layout.mean_K[3])


def baselines_of(question: Problem) -> History:
    return completed([Trial(mixture, LARGE, 0) for mixture in question.baselines.values()])


def test_proportional_and_the_best_of_the_others_are_repeated_once_all_are_known() -> None:
    question = problem(trials=(24,))
    history = baselines_of(question)
    asked = repeats(question, history)
    best = min(
        (name for name in question.baselines if name != "proportional"),
        key=lambda name: question.objective_of(Trial(question.baselines[name], LARGE, 0), history) or 0.0,
    )
    assert [trial.origin for trial in asked] == 2 * ["repeat:baseline:proportional", f"repeat:baseline:{best}"]
    assert [trial.seed for trial in asked] == [1001, 1001, 1002, 1002]
    assert repeats(question, history.opened(history.completed[0].trial)) == []
    assert len(repeats(problem(trials=(12,)), history)) == 2
    assert repeats(problem(trials=(8,)), history) == []


def test_what_all_baselines_are_worth_alike_ends_the_search_early_and_says_so() -> None:
    """Where every mixture is as good, the search finds out before its trials are spent."""
    question = problem(trials=(40,), objective=WeightedMean({"prose": 1.0}))

    def flat(trial: Trial) -> Measurement:
        noisy = measure(Trial(trial.mixture, LARGE, trial.seed), noise=0.01).losses["prose"].nats_per_token
        truth = measure(trial, noise=0.0).losses["prose"].nats_per_token
        return Measurement({"prose": Loss(3.0 + noisy - truth, 1.0)}, (), {}, {}, 1.0, 1.0)

    strategy, history = Bayes(question), History()
    while trials := strategy.ask(history, 4):
        history = History((*history.completed, *(Completed(trial, flat(trial)) for trial in trials)))
    assert len(history.completed) < 30
    why = strategy.why_over(history)
    assert why is not None and "of anything that is left to find" in why
