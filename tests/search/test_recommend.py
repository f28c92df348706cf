from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import Float
from scipy.optimize import minimize

from search.errors import SearchError
from search.evidence import gather
from search.history import Failed, History
from search.mixture import Mixture
from search.objective import Pareto, WeightedMean
from search.problem import Problem
from search.recommendation.predictor import Predictor
from search.recommendation.recommend import recommend_predicted
from search.recommendation.recommendation import Recommendation
from search.recommendation.validation import cross_validate
from search.space import DomainLimits, Space
from search.strategies.base import Settings
from search.strategies.random import Random
from search.strategies.regmix import RegMix
from search.surrogates.loss_model import LossModel
from search.surrogates.ridge import Linear
from search.trial import Failure, FailureKind
from search.trust_region import TrustRegion, divergence
from tests.search.worlds import LARGE, SPACE, completed, losses, measure, problem


def answer(question: Problem, noise: float = 0.01) -> Recommendation:
    strategy = RegMix(question)
    return strategy.recommend(completed(strategy.ask(History(), 1000), lambda trial: measure(trial, noise)))


def regret(question: Problem, recommendation: Recommendation) -> float:
    """True objective of the answer above the true optimum, which an optimiser finds."""

    def reached(logits: Float[np.ndarray, " D"]) -> float:
        return true_objective(question, Mixture.from_array(SPACE.domains, np.exp(logits)))

    starts = np.random.default_rng(0).standard_normal((5, len(SPACE.domains)))
    optimum = min(float(minimize(reached, start).fun) for start in starts)
    return true_objective(question, recommendation.mixture) - optimum


def true_objective(question: Problem, mixture: Mixture) -> float:
    return float(question.objective.value(losses(mixture)[None])[0])


@pytest.mark.slow
def test_regmix_finds_a_known_optimum_says_so_and_what_it_expects() -> None:
    question = problem(trials=(36,))
    found = answer(question)
    assert found.method == "blend"
    assert found.validation is not None and found.validation.trustworthy
    gain = found.baselines["proportional"] - float(question.objective.value(losses(found.mixture)[None])[0])
    assert regret(question, found) < 0.15 * gain
    assert found.predicted is not None
    assert found.predicted.lower < question.objective.value(losses(found.mixture)[None])[0] < found.predicted.upper
    assert set(found.predicted_losses) == {"prose", "programs"}
    for domain, (low, high) in found.ranges.items():
        assert low <= found.mixture[domain] <= high
    labels = [candidate.label for candidate in found.candidates]
    assert labels[:2] == ["proposed", "best tried"]
    assert set(found.baselines) == set(question.baselines)


@pytest.mark.slow
def test_regmix_leaves_a_domain_that_dwarfs_the_others() -> None:
    limits = tuple(DomainLimits(name, 10**12 if name == "web" else 5 * 10**9) for name in SPACE.domains)
    question = problem(trials=(48,), space=Space(limits))
    found = answer(question)
    assert found.method == "blend"
    uniform = Recommendation(question.baselines["uniform"], "", {}, (), (), 0)
    assert regret(question, found) < regret(question, uniform)
    assert true_objective(question, found.mixture) < found.baselines["proportional"] - 0.3


def test_losses_that_are_noise_leave_the_best_observed_mixture_and_a_reason() -> None:
    found = answer(problem(trials=(10,), objective=WeightedMean({"prose": 1})), noise=100.0)
    assert found.method == "best observed"
    assert found.predicted is None
    assert "does not show that the regression ranks" in found.warnings[0]
    assert found.validation is not None and not found.validation.trustworthy


def test_few_runs_leave_the_best_observed_mixture_and_a_reason() -> None:
    found = answer(problem(trials=(3,)))
    assert found.method == "best observed"
    assert "too few for a regression" in found.warnings[0]


def test_the_best_observed_mixture_is_the_best_at_the_target() -> None:
    question = problem(trials=(20, 5))
    strategy = Random(question)
    history = completed(strategy.ask(History(), 1000))
    found = strategy.recommend(history)
    best = min(history.at(LARGE), key=lambda entry: question.objective.losses(entry.measurement).mean())
    assert found.mixture == best.trial.mixture


def recommended(question: Problem, mixture: Mixture) -> Recommendation:
    """What is said of an answer that averages nothing but `mixture`."""
    history = completed(Random(question).ask(History(), 1000))
    evidence = gather(question, history)
    model = LossModel.fit(Linear(), evidence.runs)
    validation = cross_validate(model, evidence)
    return recommend_predicted(
        Predictor(question, evidence, "linear", model, validation, TrustRegion()), mixture.array[None]
    )


def test_a_domain_held_back_by_its_cap_is_named() -> None:
    limits = [replace(limit, maximum=0.15) if limit.name == "books" else limit for limit in SPACE.limits]
    question = problem(trials=(12,), space=Space(tuple(limits)))
    found = recommended(question, Mixture.of({"web": 0.45, "code": 0.3, "books": 0.15, "chat": 0.1}))
    [warning] = [warning for warning in found.warnings if "at the most" in warning]
    assert warning.startswith("domain books is at the most that it may have, 0.15")


def test_an_answer_far_from_every_trial_is_flagged_and_one_among_them_is_not() -> None:
    question = problem(trials=(40,))
    tried = [trial.mixture for trial in Random(question).ask(History(), 1000)]
    pool = [
        Mixture.from_array(SPACE.domains, row) for row in np.random.default_rng(0).dirichlet(np.full(4, 0.3), size=300)
    ]
    far = max(pool, key=lambda mixture: min(mixture.total_variation(other) for other in tried))
    assert any("outside the evidence" in warning for warning in recommended(question, far).warnings)
    assert not any("outside the evidence" in warning for warning in recommended(question, tried[-1]).warnings)


TRUST = TrustRegion(max_kl=0.1)


def kl(mixture: Mixture) -> float:
    return float(divergence(mixture.array[None], SPACE.natural.array)[0])


@pytest.mark.parametrize(("trials", "noise"), [(36, 0.0), (16, 100.0), (4, 0.0)], ids=["fit", "noise", "few runs"])
def test_an_answer_is_never_further_from_the_natural_mixture_than_it_may_be(trials: int, noise: float) -> None:
    question = problem(trials=(trials,))
    strategy = RegMix(question, Settings(surrogate="quadratic", trust=TRUST))
    history = completed(strategy.ask(History(), 1000), lambda trial: measure(trial, noise))
    found = strategy.recommend(history)
    assert (found.method == "quadratic") == (trials == 36)
    assert all(kl(candidate.mixture) <= 0.1 for candidate in found.candidates)


def test_a_bound_that_random_mixtures_hardly_keep_still_has_an_answer() -> None:
    strategy = RegMix(problem(trials=(36,)), Settings(surrogate="quadratic", trust=TrustRegion(max_kl=1e-4)))
    found = strategy.recommend(completed(strategy.ask(History(), 1000)))
    assert kl(found.mixture) <= 1e-4


def test_a_bound_that_the_space_cannot_keep_is_an_error() -> None:
    limits = [replace(limit, maximum=0.3) if limit.name == "web" else limit for limit in SPACE.limits]
    question = problem(trials=(36,), space=Space(tuple(limits)))
    strategy = RegMix(question, Settings(surrogate="quadratic", trust=TRUST))
    with pytest.raises(SearchError, match=r"within max_kl 0.1 of the natural one; the one nearest to it has"):
        strategy.recommend(completed(strategy.ask(History(), 1000)))


@pytest.mark.parametrize(("trials", "noise"), [(36, 0.0), (16, 100.0)], ids=["fit", "noise"])
def test_no_answer_breaks_the_ratios_that_are_kept(trials: int, noise: float) -> None:
    question = replace(problem(trials=(trials,)), kept=Mixture.of({"web": 1.0, "chat": 1.0}))
    strategy = RegMix(question, Settings(surrogate="quadratic"))
    found = strategy.recommend(completed(strategy.ask(History(), 1000), lambda trial: measure(trial, noise)))
    for candidate in found.candidates:
        assert candidate.mixture["web"] == pytest.approx(candidate.mixture["chat"], abs=1e-6)


def test_the_front_is_feasible_and_within_the_bound() -> None:
    objective = Pareto(WeightedMean({"prose": 1.0, "programs": 1.0}))
    question = problem(trials=(36,), objective=objective)
    earlier = replace(
        gather(question, completed(Random(question).ask(History(), 1000))).runs,
        fidelities=(replace(LARGE, proxy="earlier", flops=1e13),),
    )
    limits = [replace(limit, maximum=0.6) if limit.name == "web" else limit for limit in SPACE.limits]
    tight = replace(problem(trials=(36,), space=Space(tuple(limits)), objective=objective), earlier=earlier)
    trust = TrustRegion(max_kl=0.6)
    strategy = RegMix(tight, Settings(surrogate="quadratic", trust=trust))
    found = strategy.recommend(completed(strategy.ask(History(), 1000)))
    assert len(found.front) > 1
    assert all(tight.space.contains(point.mixture) and kl(point.mixture) <= 0.6 for point in found.front)


def test_failed_trials_are_counted() -> None:
    question = problem(trials=(6,))
    first, *rest = reversed(Random(question).ask(History(), 1000))
    history = History(completed(rest).completed, (), (Failed(first, Failure(FailureKind.DIVERGED, "")),))
    assert any(warning.startswith("1 trial failed") for warning in Random(question).recommend(history).warnings)
