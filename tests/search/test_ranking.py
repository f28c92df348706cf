"""Scores of a ranking, over all mixtures and in the basin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float

from search.recommendation.ranking import BasinScore, pairwise_accuracy, score_basin
from search.recommendation.validation import score

# Values a rounding apart stay so when they are shifted.
VALUES = st.lists(st.integers(-1000, 1000).map(float), min_size=20, max_size=60, unique=True).map(np.array)
TIED = st.lists(st.integers(0, 3).map(float), min_size=2, max_size=20).map(np.array)


def basin(measured: Float[np.ndarray, " N"], predicted: Float[np.ndarray, " N"]) -> BasinScore:
    found = score_basin(measured, predicted)
    assert found is not None
    return found


@settings(deadline=None)
@given(VALUES)
def test_a_perfect_order_has_full_scores_and_no_regret_whatever_its_scale(measured: Float[np.ndarray, " N"]) -> None:
    found = basin(measured, measured**3 / 7)
    assert found.spearman == pytest.approx(1)
    assert (found.pairwise, found.regret) == (1, 0)
    assert found.mixtures == -(-len(measured) // 4)


@settings(deadline=None)
@given(VALUES)
def test_the_reversed_order_has_none_and_picks_the_worst(measured: Float[np.ndarray, " N"]) -> None:
    found = basin(measured, -measured)
    assert found.spearman == pytest.approx(-1)
    assert (found.pairwise, found.regret) == (0, np.ptp(measured))


@settings(deadline=None)
@given(VALUES)
def test_a_constant_prediction_has_half_of_the_pairs_and_the_mean_regret(measured: Float[np.ndarray, " N"]) -> None:
    found = basin(measured, np.zeros_like(measured))
    assert found.spearman is None
    assert found.pairwise == 0.5
    assert found.regret == pytest.approx(measured.mean() - measured.min())


@settings(deadline=None)
@given(TIED, st.data())
def test_pairs_of_both_orders_are_all_pairs(measured: Float[np.ndarray, " N"], data: st.DataObject) -> None:
    predicted = np.array(data.draw(st.permutations(list(measured))))
    right = pairwise_accuracy(measured, predicted)
    assert right + pairwise_accuracy(measured, -predicted) == pytest.approx(1)
    assert right == pytest.approx(pairwise_accuracy(predicted, measured))


@settings(deadline=None)
@given(VALUES)
def test_what_lies_outside_the_basin_changes_its_regret_alone(
    measured: Float[np.ndarray, " N"],
) -> None:
    order = np.argsort(measured)
    inside = order[: -(-len(measured) // 4)]
    predicted = measured.copy()
    predicted[inside] = np.random.default_rng(len(measured)).permutation(measured[inside])
    other = predicted.copy()
    other[np.setdiff1d(order, inside)] += 5000
    one, two = basin(measured, predicted), basin(measured, other)
    assert (one.spearman, one.pairwise, one.regret) == (two.spearman, two.pairwise, two.regret)


def test_few_mixtures_have_no_basin() -> None:
    values = np.arange(16.0)
    assert score_basin(values, values) is None
    assert basin(np.arange(17.0), np.arange(17.0)).mixtures == 5


def test_where_more_is_better_the_basin_is_at_the_top() -> None:
    """The upper half is ordered rightly, the lower not at all."""
    measured = np.arange(40.0)
    predicted = np.where(measured < 20, -measured, measured)
    found = score(measured, predicted, np.ones(40), sign=-1.0).basin
    assert found is not None
    assert found.spearman == pytest.approx(1)
    assert (found.pairwise, found.regret) == (1, 0)


def test_repeated_runs_of_a_mixture_are_one_in_the_basin() -> None:
    mixture = np.repeat(np.arange(20), 3)
    measured = mixture + np.tile([-0.4, 0.0, 0.4], 20)
    found = score(measured, mixture.astype(float), np.ones(60), mixture).basin
    assert found is not None
    assert (found.mixtures, found.pairwise) == (5, 1)
    assert found.regret == pytest.approx(0)
