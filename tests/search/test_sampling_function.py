from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.errors import SearchError
from search.sampling_function import SamplingFunctions

POINTS = 20_000


@st.composite
def functions(draw: st.DrawFn) -> SamplingFunctions:
    return SamplingFunctions.of(
        threshold=draw(st.floats(0.01, 1)),
        slope=draw(st.one_of(st.just(0.0), st.floats(0.01, 2000))),
        exponent=draw(st.floats(0, 5)),
        floor=draw(st.one_of(st.just(0.0), st.floats(0.001, 2))),
    )


tokens = st.lists(st.floats(1, 1000), min_size=1, max_size=8).map(np.array)


@settings(max_examples=60, deadline=None)
@given(function=functions(), tokens_L=tokens)
def test_a_better_level_is_read_at_least_as_often(function: SamplingFunctions, tokens_L: np.ndarray) -> None:
    shares_1L = function.shares(tokens_L)
    assert shares_1L.sum() == pytest.approx(1)
    assert (shares_1L >= 0).all()
    assert (np.diff(shares_1L[0] / tokens_L) <= 1e-12).all()


@settings(max_examples=40, deadline=None)
@given(function=functions(), tokens_L=tokens)
def test_the_mean_of_a_level_is_that_of_its_documents(function: SamplingFunctions, tokens_L: np.ndarray) -> None:
    edge_E = np.append(0.0, np.cumsum(tokens_L)) / tokens_L.sum()
    for level, (low, high) in enumerate(pairwise(edge_E)):
        rank_K = low + (high - low) * (np.arange(POINTS) + 0.5) / POINTS
        # The sum over documents is off by one of them at the threshold, where the function jumps.
        jump = 2 ** float(function.exponent_N[0]) / POINTS
        assert function.mean_copies(edge_E)[0, level] == pytest.approx(
            float(function.copies(rank_K).mean()), rel=1e-4, abs=1.5 * jump
        )


def test_its_corners() -> None:
    """2^exponent + floor well before the threshold, 1 + floor at it, floor beyond."""
    function = SamplingFunctions.of(threshold=0.5, slope=1000, exponent=2, floor=0.1)
    np.testing.assert_allclose(function.copies(np.array([0.0, 0.5, 0.500001, 1.0])), [[4.1, 1.1, 0.1, 0.1]])


def test_with_no_slope_and_no_threshold_a_pool_is_read_as_it_is() -> None:
    tokens_L = np.array([3.0, 1.0, 6.0])
    function = SamplingFunctions.of(threshold=1, slope=0, exponent=3, floor=0)
    np.testing.assert_allclose(function.shares(tokens_L), [tokens_L / 10])


def test_a_step_reads_what_is_before_it_alone() -> None:
    function = SamplingFunctions.of(threshold=0.4, slope=0, exponent=1, floor=0)
    np.testing.assert_allclose(function.shares(np.ones(5)), [[0.5, 0.5, 0, 0, 0]], atol=1e-12)


def test_functions_that_are_drawn_are_of_every_kind() -> None:
    drawn = SamplingFunctions.draw(2000, np.random.default_rng(0))
    best_N = drawn.shares(np.ones(5))[:, 0]
    assert best_N.min() < 0.25
    assert best_N.max() == pytest.approx(1)
    assert 0.1 < np.mean(best_N > 0.5) < 0.9


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ((0.0, 1.0, 1.0, 0.0), "threshold"),
        ((1.1, 1.0, 1.0, 0.0), "threshold"),
        ((0.5, -1.0, 1.0, 0.0), "slope"),
        ((0.5, 1.0, np.nan, 0.0), "exponent"),
        ((0.5, 1.0, 1.0, np.inf), "floor"),
    ],
)
def test_a_parameter_out_of_its_range_is_refused(parameters: tuple[float, float, float, float], message: str) -> None:
    with pytest.raises(SearchError, match=message):
        SamplingFunctions.of(*parameters)
