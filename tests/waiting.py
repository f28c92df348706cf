"""Waiting for what other processes and threads bring about."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(
    condition: Callable[[], object],
    within: float = 120.0,
    every: float = 0.1,
    otherwise: Callable[[], object] = lambda: "it did not come",
) -> None:
    """
    Args:
        within: seconds.
        otherwise: what is said where it does not come.

    Raises:
        AssertionError: it did not come.
    """
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(every)
