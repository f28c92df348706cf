"""Which members of the default predict, and by what they are judged."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float

from search.recommendation.ranking import score_basin
from search.surrogates.base import Fitted
from search.surrogates.blend import Blend, WarpedGP
from search.surrogates.compression import MOST_EXPONENT, REACH, Compression
from search.surrogates.effective_data import EffectiveData
from search.surrogates.lightgbm import LightGBM

DOMAINS = 6
UNSEEN = np.random.default_rng(99).dirichlet(np.full(DOMAINS, 0.7), 400)
NOISE = 0.02

World = Callable[[Float[np.ndarray, "N D"]], Float[np.ndarray, " N"]]


def thresholds(weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
    """Losses that step where a share passes a threshold, two of them only together."""
    one, two, three, four = weights_ND[:, :4].T
    return np.asarray(3 + 0.6 * (one < 0.1) + 0.4 * (two > 0.3) * (three < 0.15) + 0.3 * (four < 0.05))


def smooth(weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
    return np.asarray(2 + (weights_ND @ np.array([0.1, 1.0, 0.4, 0.2, 0.6, 0.05]) + 0.05) ** -0.4)


def runs(world: World, count: int, seed: int) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, " N"]]:
    rng = np.random.default_rng(seed)
    weights_ND = rng.dirichlet(np.full(DOMAINS, 0.7), count)
    return weights_ND, world(weights_ND) + NOISE * rng.standard_normal(count)


def error(fitted: Fitted[Any], world: World) -> float:
    return float(np.sqrt(((fitted.mean(UNSEEN) - world(UNSEEN)) ** 2).mean()))


def test_trees_are_taken_where_losses_have_thresholds() -> None:
    weights_ND, values_N = runs(thresholds, 128, 0)
    fitted = Blend().fit(weights_ND, values_N)
    assert fitted.choice.trees_part > 0.5
    assert error(fitted, thresholds) < 0.75 * error(WarpedGP().fit(weights_ND, values_N), thresholds)
    assert error(fitted, thresholds) < 1.1 * error(LightGBM().fit(weights_ND, values_N), thresholds)


@pytest.mark.parametrize("count", [32, 96])
def test_trees_are_left_where_losses_are_smooth(count: int) -> None:
    weights_ND, values_N = runs(smooth, count, 0)
    fitted = Blend().fit(weights_ND, values_N)
    assert fitted.choice.trees_part < 0.1
    assert error(fitted, smooth) < 0.5 * error(LightGBM().fit(weights_ND, values_N), smooth)


@pytest.mark.parametrize("seed", range(3))
def test_the_basin_is_ordered_where_losses_jump_by_the_hundredfold_of_what_differs_there(seed: int) -> None:
    """A domain that was never seen costs far more than all else does: that is known, and no error on it counts more."""
    rng = np.random.default_rng(seed)
    weights_ND = rng.dirichlet(np.full(DOMAINS, 0.7), 60)
    weights_ND[::6, 0] = 0
    weights_ND /= weights_ND.sum(axis=1, keepdims=True)
    jumps_N = np.where(weights_ND[:, 0] == 0, 10 + rng.standard_normal(60), 0)
    fitted = Blend().fit(weights_ND, smooth(weights_ND) + jumps_N + 0.01 * rng.standard_normal(60))
    basin = score_basin(smooth(UNSEEN), fitted.mean(UNSEEN))
    assert basin is not None and basin.spearman is not None and basin.spearman > 0.6
    assert fitted.mean(weights_ND[::6]).min() > smooth(UNSEEN).max()


def test_a_worth_may_be_as_small_as_the_tenth_of_a_millionth_of_another() -> None:
    worths_D = np.array([1.0, 1e-2, 1e-7, 1e-7, 1e-3, 1e-7])

    def world(weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        return np.asarray(2 + (weights_ND @ worths_D) ** -0.3)

    rng = np.random.default_rng(0)
    weights_ND = rng.dirichlet(np.full(DOMAINS, 0.7), 60)
    weights_ND[::6, :2] = 0
    weights_ND /= weights_ND.sum(axis=1, keepdims=True)
    fitted = EffectiveData().fit(weights_ND, world(weights_ND) + 0.01 * rng.standard_normal(60))
    basin = score_basin(world(UNSEEN), fitted.mean(UNSEEN))
    assert basin is not None and basin.pairwise > 0.97


VALUES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=80).map(np.array)


@given(VALUES)
@settings(deadline=None)
def test_compression_keeps_the_order_and_can_be_undone(values_N: Float[np.ndarray, " N"]) -> None:
    compression = Compression.of(values_N)
    compressed_N = compression.forward(values_N)
    assert (np.diff(compressed_N[np.argsort(values_N, kind="stable")]) >= 0).all()
    reach_N = np.where(values_N > compression.median, compression.above, compression.below)
    within_N = np.abs(values_N - compression.median) < reach_N * np.exp(MOST_EXPONENT)
    np.testing.assert_allclose(compression.inverse(compressed_N)[within_N], values_N[within_N], rtol=1e-9, atol=1e-9)


def test_compression_leaves_what_is_alike_on_both_sides_and_draws_in_what_is_far() -> None:
    values_N = np.linspace(-1, 1, 41)
    assert np.array_equal(Compression.of(values_N).forward(values_N), values_N)
    far_N = np.append(values_N, [16.0, 18.0])
    found_N = Compression.of(far_N).forward(far_N)
    assert np.array_equal(found_N[:41], values_N)
    assert REACH < found_N[41] < found_N[42] < 7
    assert np.allclose(Compression.of(-far_N).forward(-far_N), -found_N)
    stretch_N = Compression.of(far_N).stretch(found_N)
    assert np.array_equal(stretch_N[:41], np.ones(41)) and stretch_N[42] > stretch_N[41] > 5
