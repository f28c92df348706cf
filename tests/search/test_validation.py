from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import Float

from search.errors import SearchError
from search.evidence import Evidence, gather
from search.history import History
from search.recommendation.caveats import of_validation
from search.recommendation.validation import Validation, cross_validate, objective_sd, score
from search.strategies.random import Random
from search.surrogates.loss_model import LossModel
from search.surrogates.ridge import Linear
from search.trial import Measurement, Trial
from tests.search.worlds import LARGE, completed, measure, problem


def evidence(trials: int, noise: float = 0.01) -> Evidence:
    question = problem(trials=(trials,))
    asked = Random(question).ask(History(), 1000)
    return gather(question, completed(asked, lambda trial: measure(trial, noise)))


def validated(found: Evidence) -> Validation:
    return cross_validate(LossModel.fit(Linear(), found.runs), found)


def with_losses(real: Evidence, losses: Float[np.ndarray, "N M"]) -> Evidence:
    return Evidence(replace(real.runs, values_NM=losses), real.objective)


def test_a_learnable_world_is_trusted_and_its_intervals_hold() -> None:
    validation = validated(evidence(40))
    assert validation.trustworthy
    assert validation.objective.spearman is not None and validation.objective.spearman > 0.7
    assert set(validation.metrics) == {"prose", "programs"}
    for found in (validation.objective, *validation.metrics.values()):
        assert found.r2 is not None and found.r2 > 0.5
        assert found.coverage_95 > 0.8


def test_a_world_of_noise_is_not_trusted() -> None:
    trusted = validated(evidence(12, noise=100.0)).trustworthy
    assert not trusted


def test_predictions_in_validation_come_from_other_runs() -> None:
    """Losses drawn at random carry nothing to learn, so an honest held-out fit explains none of their variance."""
    real = evidence(60)
    random_losses = np.random.default_rng(0).standard_normal(real.runs.values_NM.shape)
    found = validated(with_losses(real, random_losses)).objective
    assert found.r2 is not None and found.r2 < 0.1


def test_a_constant_metric_has_no_correlation_and_is_not_trusted() -> None:
    real = evidence(12)
    same = np.full_like(real.runs.values_NM, 3.0)
    validation = validated(with_losses(real, same))
    assert validation.objective.spearman is None
    assert validation.objective.r2 is None
    assert not validation.trustworthy


@pytest.mark.parametrize("at_target", [2, 12], ids=["agreement", "scores at the target"])
@pytest.mark.parametrize("seed", range(3))
def test_a_cheap_proxy_that_says_nothing_about_the_target_is_not_trusted(at_target: int, seed: int) -> None:
    question = problem(trials=(60, at_target), seed=seed)

    def misleading(trial: Trial) -> Measurement:
        return measure(trial, noise=100.0 if trial.fidelity == LARGE else 0.001)

    found = gather(question, completed(Random(question).ask(History(), 1000), misleading))
    validation = validated(found)
    assert validation.at_target == at_target + 4
    assert not validation.trustworthy


@pytest.mark.parametrize(("trials", "runs"), [((23, 7), 11), ((20, 2), 24)], ids=["scores at the target", "agreement"])
def test_a_faithful_cheap_proxy_is_trusted_with_few_runs_at_the_target(trials: tuple[int, int], runs: int) -> None:
    question = problem(trials=trials)
    validation = validated(gather(question, completed(Random(question).ask(History(), 1000))))
    assert validation.runs == runs
    assert validation.shared >= 4
    assert validation.trustworthy


def test_one_run_at_the_target_is_no_evidence_of_agreement() -> None:
    question = problem(trials=(20, 0))
    first, *rest = Random(question).ask(History(), 1000)
    at_target = next(trial for trial in rest if trial.fidelity == LARGE)
    cheap = [trial for trial in (first, *rest) if trial.fidelity != LARGE]
    validation = validated(gather(question, completed([*cheap, at_target])))
    assert (validation.at_target, validation.agreement) == (1, None)
    assert not validation.trustworthy


@pytest.mark.parametrize("at_target", [1, 4])
def test_predictions_are_at_the_target_however_few_runs_there_are(at_target: int) -> None:
    """Runs at the target are known to every fold: without them a fold predicts losses of the small proxy."""
    question = problem(trials=(30, 0))
    trials = Random(question).ask(History(), 1000)
    large = [trial for trial in trials if trial.fidelity == LARGE][:at_target]
    small = [trial for trial in trials if trial.fidelity != LARGE]
    found = gather(question, completed([*small, *large]))
    validation = validated(found)
    assert validation.at_target == at_target
    assert not (validation.scored_N & found.runs.at_target_N).any()
    assert validation.objective.rmse < 0.5


def test_the_scores_are_over_the_runs_that_are_said_to_be_scored() -> None:
    question = problem(trials=(20, 12))
    found = gather(question, completed(Random(question).ask(History(), 1000)))
    validation = validated(found)
    assert validation.scored_N.tolist() == found.runs.at_target_N.tolist()
    assert np.isfinite(validation.residual_NM).all(axis=1).tolist() == validation.scored_N.tolist()


def test_metrics_that_no_run_measured_together_cannot_be_validated() -> None:
    real = evidence(20)
    apart = real.runs.values_NM.copy()
    apart[::2, 0], apart[1::2, 1] = np.nan, np.nan
    with pytest.raises(SearchError, match="no run to validate predictions with measured every metric of prose, prog"):
        validated(with_losses(real, apart))


def test_a_metric_too_few_measured_for_folds_is_said_so_beforehand() -> None:
    real = evidence(20)
    rare = real.runs.values_NM.copy()
    rare[Linear.fewest_runs :, 0] = np.nan
    with pytest.raises(SearchError, match="metric prose: 4 runs measured it, too few for cross-validation"):
        validated(with_losses(real, rare))


def test_scores_of_a_known_case() -> None:
    found = score(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 4.0, 3.0]), np.full(4, 0.6))
    assert found.spearman == pytest.approx(0.8)
    assert found.rmse == pytest.approx(0.5**0.5)
    assert found.r2 == pytest.approx(1 - 0.5 / 1.25)
    # 1.28 * 0.6 is below the error of 1 and 1.96 * 0.6 above it.
    assert (found.coverage_80, found.coverage_95) == (0.5, 1.0)


def test_metrics_that_err_together_leave_more_doubt_than_ones_that_err_apart() -> None:
    objective, mean, sd = problem().objective, np.array([3.0, 3.0]), np.array([0.1, 0.1])
    together = np.tile([[1.0, 1.0], [-1.0, -1.0]], (5, 1))
    apart = np.tile([[1.0, -1.0], [-1.0, 1.0]], (5, 1))
    assert objective_sd(objective, mean, sd, together, None) == pytest.approx(0.1)
    assert objective_sd(objective, mean, sd, apart, None) == pytest.approx(0.0)


def repeated(real: Evidence, repeats: int, seed: int) -> Evidence:
    """Each mixture measured several times, with losses that have nothing to do with its weights."""
    rng = np.random.default_rng(seed)
    mixtures = np.unique(real.runs.mixture_N, return_index=True)[1]
    runs = real.runs.select(np.repeat(mixtures, repeats))
    of_mixture = np.repeat(rng.standard_normal((len(mixtures), 2)), repeats, axis=0)
    values_NM = of_mixture + 0.01 * rng.standard_normal((len(runs), 2))
    return Evidence(replace(runs, values_NM=values_NM), real.objective)


def test_repeated_runs_of_a_mixture_are_no_further_evidence_of_the_ranking() -> None:
    real = evidence(12)
    validation = validated(repeated(real, 5, 0))
    assert validation.runs == len(np.unique(real.runs.mixture_N))
    # As a number of rows, five times as many, chance would be taken for skill in a fifth of these worlds.
    assert sum(validated(repeated(real, 5, seed)).trustworthy for seed in range(40)) <= 5


def test_a_rank_correlation_is_over_mixtures() -> None:
    measured, predicted = np.array([1.0, 1.2, 3.0, 2.0]), np.array([2.0, 2.0, 1.0, 3.0])
    mixture = np.array([0, 0, 1, 2])
    # The mixtures' means are ranked 1, 3, 2 and predicted 2, 1, 3.
    assert score(measured, predicted, np.ones(4), mixture).spearman == pytest.approx(-0.5)


def test_a_surrogate_that_finds_the_basin_but_does_not_order_it_is_trusted_with_a_caveat() -> None:
    """Half of the domain's range is a slope; in the other half, where losses are low, they are noise."""
    real = evidence(60)
    share_N, noise = real.runs.weights_ND[:, 0], np.random.default_rng(0).standard_normal((len(real.runs), 2))
    low_N = share_N < np.quantile(share_N, 0.4)
    flat = with_losses(real, np.where(low_N[:, None], 0.001 * noise, 1 + share_N[:, None]))
    validation = validated(flat)
    assert validation.trustworthy
    assert not validation.orders_basin
    [warning] = of_validation(flat, validation)
    assert warning.startswith(f"the surrogate ranks all {validation.runs} mixtures with 0.")
    assert "it finds the basin" in warning

    learnable = evidence(60)
    validation = validated(learnable)
    assert validation.orders_basin
    assert of_validation(learnable, validation) == []
