"""The parametric surrogates, in worlds where the law is known."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float

from search.surrogates.base import Surrogate
from search.surrogates.bimix import BiMix
from search.surrogates.effective_data import EffectiveData
from search.surrogates.law import Law
from search.surrogates.lightgbm import LightGBM, RegMixLightGBM
from search.surrogates.log_linear import LogLinear
from search.surrogates.ridge import Linear, Quadratic

RNG = np.random.default_rng(0)
WEIGHTS = RNG.dirichlet(np.full(4, 0.7), size=80)
UNSEEN = RNG.dirichlet(np.full(4, 0.7), size=200)
CORNERS = np.eye(4)

WORTH = np.array([0.1, 1.0, 0.4, 0.03])


def effective_data(weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
    return np.asarray(2 + (weights_ND @ WORTH) ** -0.4)


def log_linear(weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
    return np.asarray(2 + np.exp(weights_ND @ np.array([1.0, -2.0, 0.3, 0.5])))


def bimix(weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
    return np.asarray(1 + ((weights_ND + 0.02) ** -0.3) @ np.array([0.1, 0.5, 1.0, 0.0]))


def quadratic(weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
    return np.asarray(3 + weights_ND @ WORTH - 2 * weights_ND[:, 0] * weights_ND[:, 1])


LAWS: dict[type[Law], Callable[[Float[np.ndarray, "N D"]], Float[np.ndarray, " N"]]] = {
    EffectiveData: effective_data,
    LogLinear: log_linear,
    BiMix: bimix,
}
every_law = pytest.mark.parametrize("kind", LAWS)
every_kind = pytest.mark.parametrize("kind", [*LAWS, Linear, Quadratic])


def unexplained(kind: type[Surrogate[Any]], world: Float[np.ndarray, " N"], truth: Float[np.ndarray, " Q"]) -> float:
    """The share of the variance over unseen mixtures that is not predicted."""
    mean_N = kind().fit(WEIGHTS, world).mean(UNSEEN)
    return float(((mean_N - truth) ** 2).mean() / truth.var())


@pytest.mark.parametrize(("kind", "world"), [*LAWS.items(), (Quadratic, quadratic)])
def test_a_world_of_its_own_form_is_learned_whichever_way_is_better(
    kind: type[Surrogate[Any]], world: Callable[[Float[np.ndarray, "N D"]], Float[np.ndarray, " N"]]
) -> None:
    assert unexplained(kind, world(WEIGHTS), world(UNSEEN)) < 0.002
    assert unexplained(kind, -world(WEIGHTS), -world(UNSEEN)) < 0.002


def test_a_law_knows_more_than_a_line_and_a_quadratic_sees_pairs() -> None:
    line = unexplained(Linear, effective_data(WEIGHTS), effective_data(UNSEEN))
    assert unexplained(EffectiveData, effective_data(WEIGHTS), effective_data(UNSEEN)) < line / 10
    line = unexplained(Linear, quadratic(WEIGHTS), quadratic(UNSEEN))
    assert unexplained(Quadratic, quadratic(WEIGHTS), quadratic(UNSEEN)) < line / 10


@every_kind
@settings(max_examples=8, deadline=None)
@given(unit=st.sampled_from([1e-6, 0.01, 100.0, 1e6]), up=st.booleans(), zero=st.floats(-100, 100))
def test_the_unit_of_the_values_and_their_sign_do_not_matter(
    kind: type[Surrogate[Any]], unit: float, up: bool, zero: float
) -> None:
    factor = unit if up else -unit
    values = effective_data(WEIGHTS[:30]) + 0.05 * np.sin(np.arange(30))
    once = kind().fit(WEIGHTS[:30], values).predict(UNSEEN)
    again = kind().fit(WEIGHTS[:30], factor * (values + zero)).predict(UNSEEN)
    spread = once.mean_N.std()
    assert np.allclose(again.mean_N / factor - zero, once.mean_N, atol=1e-3 * spread, rtol=0)
    assert np.allclose(again.sd_N / unit, once.sd_N, atol=0, rtol=1e-2)


@every_kind
def test_a_domain_that_was_never_used_changes_nothing_until_it_is(kind: type[Surrogate[Any]]) -> None:
    values = effective_data(WEIGHTS) + 0.02 * np.sin(np.arange(80))
    without = kind().fit(WEIGHTS, values).predict(UNSEEN)
    fitted = kind().fit(np.pad(WEIGHTS, ((0, 0), (0, 1))), values)
    unused = fitted.predict(np.pad(UNSEEN, ((0, 0), (0, 1))))
    # The law's noise takes one parameter more into account.
    assert np.corrcoef(unused.mean_N, without.mean_N)[0, 1] > 0.999
    assert np.allclose(unused.sd_N, without.sd_N, rtol=0.2)
    only_the_new = fitted.predict(np.eye(5)[4:])
    assert only_the_new.sd_N > 1.5 * unused.sd_N.mean()
    assert np.isfinite(only_the_new.mean_N).all()


@every_kind
def test_mixtures_with_zero_weights_are_predicted_and_fitted_without_a_warning(kind: type[Surrogate[Any]]) -> None:
    sparse = np.vstack([CORNERS, np.where(WEIGHTS < 0.2, 0, WEIGHTS)])
    sparse /= sparse.sum(axis=1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prediction = kind().fit(sparse, log_linear(sparse)).predict(CORNERS)
    assert np.array_equal(np.argsort(prediction.mean_N), np.argsort(log_linear(CORNERS)))


@every_kind
def test_runs_of_one_mixture_teach_its_value_and_nothing_else(kind: type[Surrogate[Any]]) -> None:
    values = np.array([2.0, 2.1, 2.2, 2.1, 2.05, 2.15])
    fitted = kind().fit(np.tile(WEIGHTS[0], (6, 1)), values)
    there = fitted.predict(WEIGHTS[:1])
    assert there.mean_N == pytest.approx(2.1, abs=0.01)
    assert 0.03 < there.sd_N < 0.3
    assert (fitted.predict(UNSEEN).sd_N >= there.sd_N).all()


@every_kind
@pytest.mark.parametrize("row", range(5))
def test_one_absurd_value_leaves_predictions_and_doubts_finite(kind: type[Surrogate[Any]], row: int) -> None:
    values = effective_data(WEIGHTS[:30])
    values[row] = 1e6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prediction = kind().fit(WEIGHTS[:30], values).predict(np.vstack([CORNERS, UNSEEN]))
    assert np.isfinite(prediction.mean_N).all()
    assert (np.isfinite(prediction.sd_N) & (prediction.sd_N > 0)).all()


@every_law
def test_with_many_runs_only_the_noise_is_left_and_where_few_were_there_is_more(kind: type[Law]) -> None:
    rng = np.random.default_rng(3)
    weights = rng.dirichlet(np.full(4, 5), size=400)
    values = effective_data(weights) + 0.1 * rng.standard_normal(400)
    fitted = kind().fit(weights, values)
    assert 0.09 < fitted.predict(weights).sd_N.mean() < 0.12
    assert fitted.predict(CORNERS).sd_N.mean() > 0.15


def test_regmix_leaves_need_forty_runs_and_ours_do_not() -> None:
    weights, values = WEIGHTS[:39], effective_data(WEIGHTS[:39])
    assert np.ptp(RegMixLightGBM().fit(weights, values).mean(UNSEEN)) == 0
    assert np.ptp(LightGBM().fit(weights, values).mean(UNSEEN)) > 0
