from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.trial import Failure, Measurement, Trial
from tests.tracking.strategies import failures, measurements, trials
from tracking import codec
from tracking.errors import TrackingError


def through_json(plain: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(codec.to_json(plain))
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


@given(st.text(max_size=30_000))
def test_text_of_any_length_fits_into_tags(text: str) -> None:
    tags = codec.to_tags("key", text)
    assert all(len(value) <= codec.TAG_LENGTH for value in tags.values())
    assert codec.from_tags("key", tags) == text


def test_shorter_text_replaces_longer_text() -> None:
    tags = codec.to_tags("key", "x" * 3 * codec.TAG_LENGTH) | codec.to_tags("key", "short")
    assert codec.from_tags("key", tags) == "short"


def test_a_lost_tag_is_noticed() -> None:
    tags = codec.to_tags("key", "x" * 2 * codec.TAG_LENGTH)
    del tags["key.1"]
    with pytest.raises(TrackingError, match=r"lacks the tag key\.1"):
        codec.from_tags("key", tags)
