"""What BoTorch is told of the fitted processes, and what each acquisition makes of it."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from jaxtyping import Float

from search.acquisitions import ACQUISITIONS
from search.acquisitions.fitting import MetricFit, fit_metrics
from search.acquisitions.maximise import climb, rank
from search.acquisitions.outlook import Outlook
from search.acquisitions.posterior import Belief
from search.acquisitions.propose import Proposals
from search.designs.factorial import signs
from search.designs.tempered_dirichlet import tempered_dirichlet
from search.evidence import Evidence, gather
from search.gaussian_process.hyperparameters import Hyperparameters
from search.gaussian_process.process import GaussianProcess
from search.history import History
from search.mixture import NEAR, Mixture
from search.objective import Pareto, WeightedMean
from search.problem import Problem
from search.strategies.base import Settings
from search.strategies.bayes import Bayes
from search.strategies.random import Random
from search.trust_region import TrustRegion
from tests.search.worlds import DOMAINS, LARGE, SPACE, TIGHT, completed, losses, problem

RNG = np.random.default_rng(0)
RUNS = RNG.dirichlet(np.full(4, 0.4), size=40)
RUNS[:10, 0] = 0
RUNS /= RUNS.sum(axis=1, keepdims=True)
UNSEEN = RNG.dirichlet(np.full(4, 0.4), size=30)
LEVELS = np.arange(40) % 3 // 2
EVERY = list(ACQUISITIONS)


@cache
def process() -> GaussianProcess:
    values_N = (RUNS @ np.array([0.1, 1.0, 0.4, 0.2]) + 0.1) ** -0.5 + LEVELS + 0.02 * RNG.standard_normal(40)
    return GaussianProcess.fit(RUNS, values_N, LEVELS, start=Hyperparameters.start(4, 2))


@pytest.mark.parametrize("level", [0, 1])
def test_botorch_sees_the_process_as_it_is(level: int) -> None:
    mean_N, variance_N = process().predict(UNSEEN, level)
    belief = Belief.of(process(), level, widening=1.0)
    single_N1, single_N11 = belief.moments(torch.as_tensor(UNSEEN)[:, None], observation_noise=True)
    joint_N, joint_NN = belief.moments(torch.as_tensor(UNSEEN))
    np.testing.assert_allclose(single_N1[:, 0], mean_N, atol=1e-6)
    np.testing.assert_allclose(single_N11[:, 0, 0], variance_N, atol=1e-6)
    np.testing.assert_allclose(joint_N, mean_N, atol=1e-6)
    np.testing.assert_allclose(joint_NN, belief.covariance(torch.as_tensor(UNSEEN), torch.as_tensor(UNSEEN)), atol=1e-6)


def test_a_running_trial_leaves_expectations_alone_and_takes_doubt_away() -> None:
    belief = Belief.of(process(), 1, widening=1.0)
    before_N, doubt_NN = belief.moments(torch.as_tensor(UNSEEN))
    belief = belief.believing(UNSEEN[:3], np.ones(3, dtype=np.int64))
    after_N, less_doubt_NN = belief.moments(torch.as_tensor(UNSEEN))
    np.testing.assert_allclose(after_N, before_N, atol=1e-9)
    shrunk_N = np.diag(less_doubt_NN) / np.diag(doubt_NN)
    assert (shrunk_N < 1).all()
    assert shrunk_N[:3].max() < 0.5

    grown = process()
    runs, levels = np.vstack([RUNS, UNSEEN[:3]]), np.append(LEVELS, [1, 1, 1])
    conditioned = GaussianProcess.fit(runs, np.zeros(43), levels, start=grown.hyperparameters, iterations=0)
    variance_N = conditioned.predict(UNSEEN, 1)[1] - conditioned.data.sd**2 * grown.hyperparameters.noise_L[1]
    np.testing.assert_allclose(
        np.diag(less_doubt_NN) / grown.data.sd**2, variance_N / conditioned.data.sd**2, atol=1e-6
    )


def test_slopes_are_right_inside_the_space_and_finite_where_a_domain_has_nothing() -> None:
    belief = Belief.of(process(), 1, widening=1.0)
    inside = torch.tensor([[0.3, 0.3, 0.2, 0.2]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda weights: belief.moments(weights), inside)
    corner = torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    mean, variance = belief.moments(corner)
    [slope] = torch.autograd.grad(mean.sum() + variance.sum(), corner)
    assert torch.isfinite(slope).all()


@cache
def known() -> tuple[Problem, Evidence, tuple[MetricFit, ...]]:
    """A tight space with a design measured at both fidelities."""
    question = problem(trials=(20, 6), space=TIGHT)
    evidence = gather(question, completed(Random(question).ask(History(), 100)))
    return question, evidence, fit_metrics(evidence.runs, 0)


def test_the_outlook_is_in_the_units_of_the_target() -> None:
    question, evidence, fits = known()
    outlook = Outlook.of(fits, evidence, question, seed=0)
    unseen = tempered_dirichlet(TIGHT, 30, np.random.default_rng(1))
    weights_ND = torch.as_tensor(np.array([mixture.array for mixture in unseen]))
    seen_NM = outlook.model.posterior(weights_ND[:, None]).mean[:, 0]
    truth_NM = np.array([losses(mixture) for mixture in unseen])
    error_NM = outlook.metrics(seen_NM).numpy() - truth_NM
    assert (error_NM**2).mean() < 0.1 * truth_NM.var()
    np.testing.assert_allclose(outlook.worth(seen_NM), -outlook.metrics(seen_NM).mean(dim=-1))


def test_climbing_ends_in_the_space_and_higher_than_it_began() -> None:
    question, evidence, fits = known()
    candidates_ND = np.array([mixture.array for mixture in question.baselines.values()])
    function = ACQUISITIONS["posterior_mean"]().function(Outlook.of(fits, evidence, question, seed=0), candidates_ND)
    ranked_ND = rank(function, candidates_ND)
    found_D = climb(function, question, ranked_ND[0])
    assert TIGHT.feasible(found_D[None]).all()
    began, ended = function(torch.as_tensor(np.stack([ranked_ND[0], found_D]))[:, None]).tolist()
    assert ended > began + 0.01


def test_domains_that_keep_their_relative_weights_keep_them() -> None:
    question, evidence, fits = known()
    kept = Mixture.of({"code": 0.3, "books": 0.7})
    proposals = Proposals.of(
        replace(question, space=SPACE, kept=kept), ACQUISITIONS["log_ei"](), evidence, fits, TrustRegion()
    )
    best = proposals.best(LARGE, [])
    assert best is not None
    assert best["code"] * 0.7 == pytest.approx(best["books"] * 0.3)
    assert losses(best).mean() < losses(question.baselines["uniform"]).mean()


@pytest.mark.parametrize("name", EVERY)
def test_every_acquisition_proposes_new_feasible_mixtures_apart_from_each_other(name: str) -> None:
    mean = WeightedMean({"prose": 1.0, "programs": 1.0} if name == "hypervolume" else {"prose": 1.0})
    question = problem(trials=(16, 4), space=TIGHT, objective=Pareto(mean) if name == "hypervolume" else mean)
    strategy = Bayes(question, Settings(acquisition=name))
    history = completed(strategy.ask(History(), 100))
    proposed = [trial.mixture for trial in strategy.ask(history, 100) if trial.origin == name]
    assert len(proposed) == 4
    assert all(TIGHT.contains(mixture) for mixture in proposed)
    taken = [entry.trial.mixture for entry in history.at(LARGE)]
    for place, mixture in enumerate(proposed):
        assert min(mixture.total_variation(other) for other in [*taken, *proposed[:place]]) >= 0.99 * NEAR


def test_a_mixture_outside_the_space_is_no_incumbent() -> None:
    question, evidence, fits = known()
    outside = replace(evidence.runs, weights_ND=np.roll(evidence.runs.weights_ND, 1, axis=1))
    evaluated_ED = Outlook.of(fits, replace(evidence, runs=outside), question, seed=0).evaluated_ED.numpy()
    assert len(evaluated_ED) < outside.at_target_N.sum()
    assert TIGHT.feasible(evaluated_ED).all()


def test_the_random_state_around_it_changes_nothing() -> None:
    question, evidence, fits = known()
    found: list[Float[np.ndarray, " D"]] = []
    for state in (1, 2):
        torch.manual_seed(state)
        np.random.seed(state)
        best = Proposals.of(question, ACQUISITIONS["log_ei"](), evidence, fits, TrustRegion()).best(LARGE, [])
        assert best is not None
        found.append(best.array)
    np.testing.assert_array_equal(found[0], found[1])


def proposals(trials: int = 24) -> Proposals:
    question = problem(trials=(trials,), space=TIGHT)
    history = completed(Random(question).ask(History(), 1000))
    evidence = gather(question, history)
    fits = fit_metrics(evidence.runs, question.seed)
    return Proposals.of(question, ACQUISITIONS["log_ei"](), evidence, fits, TrustRegion())


def test_what_is_left_to_gain_is_less_than_the_noise_once_much_is_known() -> None:
    many = proposals(60).prospect
    assert 0 <= many.gain < many.run_sd
    assert set(many.baselines) == set(problem(space=TIGHT).baselines)
    assert many.beyond_baselines >= many.gain - 1e-9
    # A loss is measured with a standard deviation of .01, the mean of two with .007.
    assert 0.003 < many.run_sd < 0.02


def test_a_control_is_far_from_all_that_was_trained_and_not_hopeless() -> None:
    known_ones = proposals()
    taken = [Mixture.from_array(DOMAINS, weights_D) for weights_D in known_ones.trained_KD]
    control = known_ones.control(taken)
    assert control is not None and TIGHT.contains(control)
    assert min(control.total_variation(mixture) for mixture in taken) >= 0.01
    values_N = [float(losses(Mixture.from_array(DOMAINS, each)).mean()) for each in known_ones.sampled_ND[:500]]
    assert float(losses(control).mean()) < np.median(values_N)


def test_a_refinement_steps_around_the_best_mixture() -> None:
    known_ones = proposals()
    runs = np.array([known_ones.refinement(number).array for number in range(7)])
    assert TIGHT.feasible(runs).all()
    assert len(np.unique(np.round(runs, 6), axis=0)) == 7
    assert np.abs(runs - runs.mean(axis=0)).sum(axis=1).max() / 2 < 0.4


@pytest.mark.parametrize("domains", [2, 3, 7, 9, 17, 64])
def test_a_factorial_says_of_every_domain_as_if_it_were_alone(domains: int) -> None:
    rows_ND = signs(domains)
    assert domains <= len(rows_ND) <= 2 * domains + 3
    with_centre_ND = np.vstack([rows_ND, -np.ones(domains)])
    np.testing.assert_array_equal(with_centre_ND.T @ with_centre_ND, len(with_centre_ND) * np.eye(domains))


def test_what_is_most_worth_training_may_be_what_was_trained() -> None:
    known_ones = proposals()
    best = known_ones.best(LARGE, [])
    assert best is not None
    assert known_ones.best(LARGE, [best], repeatable=[best]) == best
    other = known_ones.best(LARGE, [best])
    assert other is not None and other.total_variation(best) >= 0.009
