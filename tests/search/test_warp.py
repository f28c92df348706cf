"""Values seen through a logarithm, and back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search.surrogates.warp import GAPS, Warp, all_warps

VALUES = np.random.default_rng(0).standard_normal(30)
gaps = st.sampled_from([*GAPS, np.inf])
signs = st.sampled_from([1, -1])


@given(gap=gaps, sign=signs, values=st.lists(st.floats(-5, 5), min_size=1, max_size=10))
def test_back_and_forth_gives_the_value_below_the_floor_too(gap: float, sign: int, values: list[float]) -> None:
    warp, values_N = Warp.of(gap, sign, VALUES), np.array(values)
    np.testing.assert_allclose(warp.inverse(warp.forward(values_N)), values_N, atol=1e-9)
    in_torch = warp.inverse(torch.as_tensor(warp.forward(values_N)), torch)
    np.testing.assert_allclose(in_torch, values_N, atol=1e-9)


@given(gap=gaps, sign=signs)
def test_without_doubt_moments_are_the_inverse_and_with_it_those_of_samples(gap: float, sign: int) -> None:
    warp = Warp.of(gap, sign, VALUES)
    warped_N = warp.forward(VALUES)
    mean_N, variance_N = warp.moments(warped_N, np.zeros(30))
    np.testing.assert_allclose(mean_N, VALUES, atol=1e-9)
    np.testing.assert_allclose(variance_N, 0, atol=1e-12)
    # Where the logarithm holds, not its tangent.
    high = np.array([sign * float((sign * VALUES).max())])
    drawn = warp.inverse(warp.forward(high) + 0.1 * np.random.default_rng(1).standard_normal(100_000))
    mean_1, variance_1 = warp.moments(warp.forward(high), np.array([0.01]))
    assert mean_1[0] == pytest.approx(drawn.mean(), abs=0.01)
    assert variance_1[0] == pytest.approx(drawn.var(), rel=0.03)


def test_the_slope_is_that_of_differences() -> None:
    for warp in all_warps(VALUES):
        step = 1e-6
        slopes_N = (warp.forward(VALUES + step) - warp.forward(VALUES - step)) / (2 * step)
        assert warp.log_slope(VALUES) == pytest.approx(np.log(slopes_N).sum(), abs=1e-4)
        assert (slopes_N > 0).all()
