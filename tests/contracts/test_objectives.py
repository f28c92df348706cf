"""What every objective must do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.errors import SearchError
from search.objective import Objective, WeightedMean, WorstCase

OBJECTIVES: list[Objective] = [WeightedMean({"prose": 3.0, "programs": 1.0}), WorstCase(("prose", "programs"))]
BASELINE = np.array([3.0, 2.0])

every_objective = pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)


def test_every_objective_is_under_contract() -> None:
    assert {type(objective) for objective in OBJECTIVES} == set(Objective.__subclasses__())


@every_objective
@given(losses=st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20)), min_size=1, max_size=5), gain=st.floats(0, 5))
def test_lower_losses_are_never_worse(objective: Objective, losses: list[tuple[float, float]], gain: float) -> None:
    losses_NM = np.array(losses)
    value_N = objective.value(losses_NM, BASELINE)
    assert value_N.shape == (len(losses),)
    assert (objective.value(losses_NM - gain, BASELINE) <= value_N).all()
    # A gain on all metrics alike is that gain: objectives keep the unit of the losses.
    assert objective.value(losses_NM - gain, BASELINE) == pytest.approx(value_N - gain, abs=1e-9)


@every_objective
def test_the_metrics_are_those_that_matter(objective: Objective) -> None:
    assert objective.metrics == ("prose", "programs")


def test_a_weighted_mean_is_one() -> None:
    assert WeightedMean({"a": 3.0, "b": 1.0}).value(np.array([[1.0, 5.0]])) == pytest.approx([2.0])


@pytest.mark.parametrize("weights", [{}, {"a": 0.0}, {"a": -1.0, "b": 2.0}])
def test_weights_that_cannot_be_averaged_with_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(SearchError, match="cannot be averaged"):
        WeightedMean(weights)


def test_the_worst_case_is_the_largest_loss_above_the_baseline() -> None:
    values = WorstCase(("a", "b")).value(np.array([[3.5, 1.0], [2.0, 1.9]]), BASELINE)
    assert values == pytest.approx([0.5, -0.1])


def test_the_worst_case_needs_its_baseline() -> None:
    with pytest.raises(SearchError, match="proportional baseline, which has no measurement"):
        WorstCase(("a",)).value(np.array([[1.0]]))
