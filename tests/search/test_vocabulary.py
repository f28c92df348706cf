import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.errors import SearchError
from search.fidelity import Fidelity
from search.history import Completed, Failed, History
from search.mixture import Mixture
from search.objective import WeightedMean
from search.randomness import generator
from search.trial import Failure, FailureKind, Loss, Measurement, Trial
from tests.search.worlds import LARGE, SMALL, SPACE, measure

masses = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3), st.floats(1e-3, 1e9, allow_nan=False), min_size=1, max_size=20
)


@given(masses)
def test_a_mixture_sums_to_one_and_keeps_proportions(given_masses: dict[str, float]) -> None:
    mixture = Mixture.of(given_masses)
    assert math.fsum(mixture.weights) == pytest.approx(1)
    total = sum(given_masses.values())
    assert mixture.as_dict() == pytest.approx({name: mass / total for name, mass in given_masses.items()})
    assert Mixture(tuple(mixture.as_dict()), tuple(mixture.as_dict().values())) == mixture


@given(masses)
def test_the_order_of_domains_does_not_matter_to_a_trial(given_masses: dict[str, float]) -> None:
    mixture = Mixture.of(given_masses)
    turned = mixture.reordered(tuple(reversed(mixture.domains)))
    assert Trial(turned, SMALL, 0).id == Trial(mixture, SMALL, 0).id
    assert mixture.total_variation(turned) == 0


@pytest.mark.parametrize(
    ("domains", "weights", "message"),
    [
        (("a", "b"), (0.5, 0.6), "sum to 1.1, not 1"),
        (("a", "b"), (-0.5, 1.5), "domain a: weight -0.5"),
        (("a", "b"), (math.nan, 1.0), "domain a: weight nan"),
        (("a", "a"), (0.5, 0.5), "named twice"),
        (("a",), (0.5, 0.5), "1 domains but 2 weights"),
    ],
)
def test_what_is_no_mixture_is_refused(domains: tuple[str, ...], weights: tuple[float, ...], message: str) -> None:
    with pytest.raises(SearchError, match=message):
        Mixture(domains, weights)


def test_total_variation_is_the_share_of_tokens_that_move() -> None:
    assert Mixture.of({"a": 1, "b": 0}).total_variation(Mixture.of({"b": 0.25, "a": 0.75})) == pytest.approx(0.25)


def test_a_trial_is_known_by_mixture_fidelity_and_seed_not_by_its_origin() -> None:
    trial = Trial(SPACE.natural, SMALL, 0)
    assert Trial(SPACE.natural, SMALL, 0, "confirm").id == trial.id
    others = [Trial(SPACE.natural, LARGE, 0), Trial(SPACE.natural, SMALL, 1), Trial(Mixture.of({"web": 1}), SMALL, 0)]
    assert len({trial.id, *(other.id for other in others)}) == 4


def test_a_trial_has_the_same_id_in_another_process() -> None:
    code = "from tests.search.worlds import *; print(Trial(SPACE.natural, SMALL, 3).id)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == Trial(SPACE.natural, SMALL, 3).id


def test_randomness_depends_on_every_part_and_on_nothing_else() -> None:
    assert generator(1, "design").random() == generator(1, "design").random()
    others = [generator(1, "a"), generator(2, "a"), generator(1, "b"), generator("1", "a"), generator("1a")]
    assert len({other.random() for other in others}) == 5


def test_a_history_forgets_the_order_of_arrival() -> None:
    trials = [Trial(SPACE.natural, SMALL, seed) for seed in range(5)]
    entries = [Completed(trial, measure(trial)) for trial in trials]
    assert History(tuple(entries)) == History(tuple(reversed(entries)))


def test_no_trial_stands_twice_in_a_history() -> None:
    trial = Trial(SPACE.natural, SMALL, 0)
    with pytest.raises(SearchError, match="twice"):
        History(running=(trial,), failed=(Failed(trial, Failure(FailureKind.DIVERGED, "loss 1e9")),))


def test_only_what_was_never_asked_is_new() -> None:
    done, running, failed, fresh = (Trial(SPACE.natural, SMALL, seed) for seed in range(4))
    history = History(
        (Completed(done, measure(done)),), (running,), (Failed(failed, Failure(FailureKind.ERROR, "broken")),)
    )
    assert history.new([failed, fresh, done, running, fresh]) == [fresh]
    assert history.measured(SPACE.natural, SMALL, 0) == measure(done)
    assert history.measured(SPACE.natural, SMALL, 1) is None
    assert history.flops == SMALL.flops


def test_a_measurement_is_never_a_nan() -> None:
    with pytest.raises(SearchError, match="no measurement"):
        Loss(math.nan, 1.0)
    with pytest.raises(SearchError, match="without a loss"):
        Measurement({}, (), {}, {}, 1.0, 1.0)


def test_a_fidelity_costs_something() -> None:
    with pytest.raises(SearchError, match="proxy free"):
        Fidelity("free", 1, 1, 0)


def test_losses_are_read_in_the_objectives_unit_and_order() -> None:
    measurement = measure(Trial(SPACE.natural, SMALL, 0))
    read = WeightedMean({"programs": 1, "prose": 0, "nothing": 0}, unit="bits_per_byte").losses(measurement)
    assert np.array_equal(read, [measurement.losses["programs"].bits_per_byte])


def test_a_metric_that_was_not_measured_is_named_with_those_that_were() -> None:
    with pytest.raises(SearchError) as error:
        WeightedMean({"poetry": 1}).losses(measure(Trial(SPACE.natural, SMALL, 0)))
    assert "poetry" in error.value.message
    assert "prose, programs" in error.value.hint


def test_a_trial_is_running_or_closed_and_never_both() -> None:
    trial = Trial(SPACE.natural, SMALL, 0)
    failure = Failure(FailureKind.LOST_WORKER, "node gone")
    failed = History().opened(trial).closed(trial, failure)
    assert failed == History(failed=(Failed(trial, failure),))
    assert failed.opened(trial) == History(running=(trial,)), "a failed trial may be tried again"
    assert failed.opened(trial).closed(trial, measure(trial)) == History((Completed(trial, measure(trial)),))
