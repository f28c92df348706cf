from __future__ import annotations

import json
from typing import Any

from hypothesis import given

from search.trial import Failure, Measurement, Trial
from tests.tracking.strategies import failures, measurements, trials
from tracking import codec


def through_json(plain: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(json.dumps(plain))
    return read


@given(trials)
def test_a_trial_reads_back_equal_with_the_same_id(trial: Trial) -> None:
    read = codec.trial_from_plain(through_json(codec.trial_to_plain(trial)))
    assert (read, read.id, read.origin) == (trial, trial.id, trial.origin)


@given(measurements)
def test_a_measurement_reads_back_to_the_bit(measurement: Measurement) -> None:
    assert codec.measurement_from_plain(through_json(codec.measurement_to_plain(measurement))) == measurement


@given(failures)
def test_a_failure_reads_back(failure: Failure) -> None:
    assert codec.failure_from_plain(through_json(codec.failure_to_plain(failure))) == failure
