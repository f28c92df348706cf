import numpy as np
import pytest

from search.history import History
from search.pooling import Evidence, gather
from search.strategies.random import Random
from search.surrogates.linear import Linear
from search.validation import cross_validate, objective_sd, score
from tests.search.worlds import completed, measure, problem


def evidence(trials: int, noise: float = 0.01) -> Evidence:
    question = problem(trials=(trials,))
    asked = Random(question).ask(History(), 1000)
    return gather(question, completed(asked, lambda trial: measure(trial, noise)))


def test_a_learnable_world_is_trusted_and_its_intervals_hold() -> None:
    validation = cross_validate(Linear, 0, evidence(40), problem().objective)
    assert validation.trustworthy
    assert validation.objective.spearman is not None and validation.objective.spearman > 0.7
    assert set(validation.metrics) == {"prose", "programs"}
    for found in (validation.objective, *validation.metrics.values()):
        assert found.r2 is not None and found.r2 > 0.5
        assert found.coverage_95 > 0.8


def test_a_world_of_noise_is_not_trusted() -> None:
    trusted = cross_validate(Linear, 0, evidence(12, noise=100.0), problem().objective).trustworthy
    assert not trusted


def test_predictions_in_validation_come_from_other_runs() -> None:
    """Losses drawn at random carry nothing to learn, so an honest held-out fit explains none of their variance."""
    real = evidence(60)
    random_losses = np.random.default_rng(0).standard_normal(real.losses_NM.shape)
    noise = Evidence(real.mixtures, random_losses, real.at_target_N, None, random_losses.mean(axis=1), ())
    found = cross_validate(Linear, 0, noise, problem().objective).objective
    assert found.r2 is not None and found.r2 < 0.1


def test_a_constant_metric_has_no_correlation_and_is_not_trusted() -> None:
    real = evidence(12)
    same = np.full_like(real.losses_NM, 3.0)
    validation = cross_validate(
        Linear, 0, Evidence(real.mixtures, same, real.at_target_N, None, same[:, 0], ()), problem().objective
    )
    assert validation.objective.spearman is None
    assert validation.objective.r2 is None
    assert not validation.trustworthy


def test_scores_of_a_known_case() -> None:
    found = score(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 4.0, 3.0]), np.full(4, 0.6))
    assert found.spearman == pytest.approx(0.8)
    assert found.rmse == pytest.approx(0.5**0.5)
    assert found.r2 == pytest.approx(1 - 0.5 / 1.25)
    # 1.28 * 0.6 is below the error of 1 and 1.96 * 0.6 above it.
    assert (found.coverage_80, found.coverage_95) == (0.5, 1.0)


def test_metrics_that_err_together_leave_more_doubt_than_ones_that_err_apart() -> None:
    objective, mean, sd = problem().objective, np.array([3.0, 3.0]), np.array([0.1, 0.1])
    together = np.array([[1.0, 1.0], [-1.0, -1.0]])
    apart = np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert objective_sd(objective, mean, sd, together, None) == pytest.approx(0.1)
    assert objective_sd(objective, mean, sd, apart, None) == pytest.approx(0.0)
