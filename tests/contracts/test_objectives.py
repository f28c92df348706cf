"""What every objective must do."""

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jaxtyping import Float

from search.errors import SearchError
from search.objective import Hinge, NoWorse, Objective, Pareto, WeightedMean, WorstCase

MEAN = WeightedMean({"prose": 3.0, "unread": 0.0, "programs": 1.0})
SCORES = WeightedMean({"prose": 3.0, "programs": 1.0}, maximised=frozenset({"programs"}))
OBJECTIVES: dict[str, Objective] = {
    "mean": MEAN,
    "mean with a score": SCORES,
    "worst case": WorstCase(("prose", "programs")),
    "worst case of scores": WorstCase(("prose", "programs"), maximised=frozenset({"prose", "programs"})),
    "no worse": NoWorse(WeightedMean({"prose": 3.0, "programs": 1.0}), allowance=0.1),
    "no worse with a score": NoWorse(SCORES, allowance=0.0),
    "hinge": Hinge(MEAN),
    "hinge with a score": Hinge(SCORES, times=3.0),
    "pareto": Pareto(MEAN),
    "pareto with a score": Pareto(SCORES),
}
BASELINE_M = np.array([3.0, 2.0])

every_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
# Halves, so that equal values, where ties have to be right, come up often.
halves = st.integers(0, 20).map(lambda halves: halves / 2)
tables = arrays(np.float64, st.tuples(st.integers(1, 6), st.just(2)), elements=halves)


def concrete(kind: type[object]) -> set[type[object]]:
    below = {found for child in kind.__subclasses__() for found in concrete(child)}
    return below if inspect.isabstract(kind) else {kind, *below}


def test_every_objective_is_under_contract() -> None:
    assert {type(objective) for objective in OBJECTIVES.values()} == concrete(Objective)


@every_objective
def test_the_metrics_are_those_that_matter(objective: Objective) -> None:
    assert objective.metrics == ("prose", "programs")


@every_objective
@settings(max_examples=30, deadline=None)
@given(values_NM=tables, gain_M=arrays(np.float64, 2, elements=halves))
def test_better_metrics_are_never_worse(
    objective: Objective, values_NM: Float[np.ndarray, "N M"], gain_M: Float[np.ndarray, " M"]
) -> None:
    value_N = objective.value(values_NM, BASELINE_M)
    assert value_N.shape == (len(values_NM),)
    better_N = objective.value(values_NM - objective.sign_M * gain_M, BASELINE_M)
    assert (better_N <= value_N + 1e-9).all()


@every_objective
@settings(max_examples=30, deadline=None)
@given(values_NM=tables, gain=halves)
def test_a_gain_on_all_metrics_alike_is_that_gain_in_their_own_unit(
    objective: Objective, values_NM: Float[np.ndarray, "N M"], gain: float
) -> None:
    # Better than the baseline everywhere, where Hinge counts nothing twice.
    good_NM = BASELINE_M - objective.sign_M * values_NM
    better_N = objective.value(good_NM - objective.sign_M * gain, BASELINE_M)
    assert better_N == pytest.approx(objective.value(good_NM, BASELINE_M) - gain, abs=1e-9)


@every_objective
@pytest.mark.parametrize("leading", [(), (4,), (3, 1, 5)])
def test_tensors_have_the_same_value_under_any_leading_axes(objective: Objective, leading: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).uniform(0, 5, size=(*leading, 2))
    expected_N = objective.value(values.reshape(-1, 2), BASELINE_M)
    found = objective.tensor_value(torch.tensor(values), torch.tensor(BASELINE_M))
    assert found.shape == leading
    np.testing.assert_allclose(found.numpy().reshape(-1), expected_N, rtol=1e-12)


def test_a_weighted_mean_is_one_and_what_is_maximised_counts_negatively() -> None:
    assert WeightedMean({"a": 3.0, "b": 1.0}).value(np.array([[1.0, 5.0]])) == pytest.approx([2.0])
    assert SCORES.value(np.array([[1.0, 5.0]])) == pytest.approx([-0.5])


@pytest.mark.parametrize("weights", [{}, {"a": 0.0}, {"a": -1.0, "b": 2.0}])
def test_weights_that_cannot_be_averaged_with_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(SearchError, match="cannot be averaged"):
        WeightedMean(weights)


def test_the_worst_case_is_the_metric_that_is_furthest_behind_the_baseline() -> None:
    values_NM = np.array([[3.5, 1.0], [2.0, 1.9]])
    assert WorstCase(("a", "b")).value(values_NM, BASELINE_M) == pytest.approx([0.5, -0.1])
    scores = WorstCase(("a", "b"), maximised=frozenset({"b"}))
    assert scores.value(values_NM, BASELINE_M) == pytest.approx([1.0, 0.1])


@every_objective
@settings(max_examples=30, deadline=None)
@given(values_NM=tables)
def test_what_keeps_its_constraints_is_sorted_by_its_value_and_before_what_breaks_one(
    objective: Objective, values_NM: Float[np.ndarray, "N M"]
) -> None:
    order_N = objective.order(values_NM, BASELINE_M)
    kept_N = (objective.excess(values_NM, BASELINE_M) <= 0).all(axis=1)
    np.testing.assert_array_equal(order_N[kept_N], objective.value(values_NM, BASELINE_M)[kept_N])
    assert kept_N.all() or order_N[~kept_N].min() > order_N[kept_N].max(initial=-np.inf)
    assert objective.is_constrained or kept_N.all()


@every_objective
def test_tensors_have_the_same_excess(objective: Objective) -> None:
    values_NM = np.random.default_rng(0).uniform(0, 5, size=(6, 2))
    found = objective.tensor_excess(torch.tensor(values_NM), torch.tensor(BASELINE_M))
    np.testing.assert_allclose(found.numpy(), objective.excess(values_NM, BASELINE_M), rtol=1e-12)


@pytest.mark.parametrize("objective", [WorstCase(("a",)), Hinge(WeightedMean({"a": 1.0}))])
def test_what_is_judged_by_a_baseline_needs_it(objective: Objective) -> None:
    with pytest.raises(SearchError, match="proportional baseline, which has no measurement"):
        objective.value(np.array([[1.0]]))


def test_the_value_of_no_worse_is_the_mean_and_its_constraints_are_apart() -> None:
    objective = NoWorse(WeightedMean({"a": 1.0, "b": 1.0}), allowance=0.1)
    values_NM = np.array([[1.0, 2.1], [1.0, 2.2], [3.0, 2.15]])
    assert objective.value(values_NM, BASELINE_M) == pytest.approx([1.55, 1.6, 2.575])
    assert objective.excess(values_NM, BASELINE_M)[:, 1] == pytest.approx([0.0, 0.1, 0.05])
    within, beyond, least_beyond = objective.order(values_NM - 1e-9, BASELINE_M)
    assert within < least_beyond < beyond
    assert objective.order(values_NM, BASELINE_M, -np.full((3, 2), 0.2)) == pytest.approx([1.55, 1.6, 2.575])
    with pytest.raises(SearchError, match="proportional baseline, which has no measurement"):
        objective.excess(np.array([[1.0, 1.0]]))


def test_a_metric_without_weight_is_guarded_too() -> None:
    objective = NoWorse(WeightedMean({"a": 1.0, "b": 0.0}), allowance=0.1)
    assert objective.metrics == ("a", "b")
    within, beyond = objective.order(np.array([[1.0, 2.0], [0.5, 2.2]]), BASELINE_M)
    assert within == pytest.approx(1.0)
    assert beyond > within


def test_under_a_hinge_what_gets_worse_counts_twice() -> None:
    objective = Hinge(WeightedMean({"a": 1.0, "b": 1.0}))
    # A gain of .5 on one is worth a loss of .25 on the other.
    assert objective.value(np.array([[3.0, 2.0], [2.5, 2.25], [2.5, 2.0]]), BASELINE_M) == pytest.approx(
        [2.5, 2.5, 2.25]
    )
    with pytest.raises(SearchError, match=r"0\.5 times"):
        Hinge(MEAN, times=0.5)


def test_a_front_needs_two_metrics() -> None:
    with pytest.raises(SearchError, match="a front of a alone"):
        Pareto(WeightedMean({"a": 1.0, "b": 0.0}))


def test_an_allowance_below_0_is_refused() -> None:
    with pytest.raises(SearchError, match="below 0"):
        NoWorse(MEAN, allowance=-0.1)


@settings(max_examples=30, deadline=None)
@given(values_NM=arrays(np.float64, st.tuples(st.integers(1, 12), st.just(2)), elements=halves))
@pytest.mark.parametrize("objective", [Pareto(MEAN), Pareto(SCORES)], ids=["losses", "a loss and a score"])
def test_the_front_is_what_no_other_beats(objective: Pareto, values_NM: Float[np.ndarray, "N M"]) -> None:
    losses = [(prose, -programs if objective.maximised else programs) for prose, programs in values_NM.tolist()]
    expected = [
        not any(other != own and other[0] <= own[0] and other[1] <= own[1] for other in losses) for own in losses
    ]
    assert objective.front(values_NM).tolist() == expected
