"""What failed is tried again as often as was said, and only where that may help."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from proxies.retry import pauses_within, retry


def failing(times: int, error: Exception) -> Callable[[], int]:
    """An action that fails so often, and then returns how often it was tried."""
    tries = 0

    def action() -> int:
        nonlocal tries
        tries += 1
        if tries <= times:
            raise error
        return tries

    return action


def is_away(error: Exception) -> bool:
    return isinstance(error, ConnectionError)


def test_it_is_tried_until_it_works() -> None:
    told: list[Exception] = []
    away = ConnectionError("away")
    assert retry(failing(2, away), [0, 0, 0], is_away, told.append) == 3
    assert told == [away, away]


def test_the_last_failure_is_raised() -> None:
    with pytest.raises(ConnectionError):
        retry(failing(3, ConnectionError("away")), [0, 0], is_away)


def test_what_will_not_pass_is_not_waited_for() -> None:
    with pytest.raises(ValueError, match="wrong"):
        retry(failing(1, ValueError("wrong")), [60], is_away)


def test_pauses_end_with_the_time_that_was_given() -> None:
    began = time.monotonic()
    with pytest.raises(ConnectionError):
        retry(failing(1_000, ConnectionError("away")), pauses_within(0.3, 0.05), is_away)
    assert 0.3 <= time.monotonic() - began < 5
