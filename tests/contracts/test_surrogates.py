"""What every listed surrogate must do."""

from typing import Any

import numpy as np
import pytest
from jaxtyping import Float, TypeCheckError
from scipy.stats import spearmanr

from search.errors import SearchError
from search.surrogates import SURROGATES
from search.surrogates.base import Surrogate

RNG = np.random.default_rng(0)
WEIGHTS = RNG.dirichlet(np.full(4, 0.7), size=120)
LOSSES = 2 + (WEIGHTS @ np.array([0.1, 1.0, 0.4, 0.2]) + 0.05) ** -0.3 + 0.01 * RNG.standard_normal(120)
TRAIN, TEST = slice(0, 60), slice(60, 120)

every_surrogate = pytest.mark.parametrize("kind", [SURROGATES[name] for name in SURROGATES], ids=list(SURROGATES))


@every_surrogate
def test_it_ranks_unseen_mixtures_and_its_intervals_hold(kind: type[Surrogate[Any]]) -> None:
    prediction = kind(seed=1).fit(WEIGHTS[TRAIN], LOSSES[TRAIN]).predict(WEIGHTS[TEST])
    assert spearmanr(prediction.mean_N, LOSSES[TEST]).statistic > 0.85
    assert (np.abs(prediction.mean_N - LOSSES[TEST]) <= 1.96 * prediction.sd_N).mean() >= 0.8
    # An interval as wide as the data would hold too, and say nothing.
    assert prediction.sd_N.mean() < LOSSES.std()


@every_surrogate
def test_the_same_seed_and_runs_give_the_same_numbers_and_fitting_again_changes_nothing(
    kind: type[Surrogate[Any]],
) -> None:
    once = kind(seed=3).fit(WEIGHTS[:20], LOSSES[:20]).predict(WEIGHTS[TEST])
    surrogate = kind(seed=3)
    again = surrogate.fit(WEIGHTS[:20], LOSSES[:20])
    surrogate.fit(WEIGHTS[:30], -LOSSES[:30])
    assert np.array_equal(once.mean_N, again.predict(WEIGHTS[TEST]).mean_N)
    assert np.array_equal(once.sd_N, again.predict(WEIGHTS[TEST]).sd_N)
    assert np.array_equal(once.mean_N, again.mean(WEIGHTS[TEST]))


@every_surrogate
def test_the_fewest_runs_suffice(kind: type[Surrogate[Any]]) -> None:
    prediction = kind().fit(WEIGHTS[: kind.fewest_runs], LOSSES[: kind.fewest_runs]).predict(WEIGHTS[TEST])
    assert np.isfinite(prediction.mean_N).all()
    assert (prediction.sd_N > 0).all()


@every_surrogate
def test_a_constant_is_predicted_as_that_constant(kind: type[Surrogate[Any]]) -> None:
    prediction = kind().fit(WEIGHTS[:15], np.full(15, 2.5)).predict(WEIGHTS[TEST])
    assert np.allclose(prediction.mean_N, 2.5)
    assert np.allclose(prediction.sd_N, 0, atol=1e-6)


@every_surrogate
@pytest.mark.parametrize(
    ("weights", "losses"),
    [(WEIGHTS[:10], np.full(10, np.nan)), (WEIGHTS[:10], LOSSES[:9]), (WEIGHTS[:2], LOSSES[:2])],
    ids=["nan", "shapes", "too few"],
)
def test_it_refuses_what_is_no_observation(
    kind: type[Surrogate[Any]], weights: Float[np.ndarray, "N D"], losses: Float[np.ndarray, " K"]
) -> None:
    with pytest.raises((AssertionError, TypeCheckError)):
        kind().fit(weights, losses)


@every_surrogate
def test_a_cheap_fidelity_that_contradicts_the_target_does_not_make_predictions_explode(
    kind: type[Surrogate[Any]],
) -> None:
    values = np.where(np.arange(60) < 40, 5 - LOSSES[:60], LOSSES[:60])
    level = (np.arange(60) >= 40).astype(np.int64)
    prediction = kind().fit(WEIGHTS[TRAIN], values, level).predict(WEIGHTS[TEST])
    assert (np.abs(prediction.mean_N - LOSSES.mean()) < 12 * LOSSES.std()).all()
    assert (prediction.sd_N > 0).all()


def test_an_unknown_surrogate_is_named_with_those_that_exist() -> None:
    with pytest.raises(SearchError) as error:
        SURROGATES["oracle"]
    assert "'oracle'" in error.value.message
    assert "lightgbm" in error.value.hint
