"""Trying again, after a while, what failed for a reason that may pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Result = TypeVar("Result")


def retry(
    action: Callable[[], Result],
    pauses: Iterable[float],
    may_pass: Callable[[Exception], bool],
    before_pause: Callable[[Exception], object] = lambda error: None,
) -> Result:
    """What `action` returns, as soon as it does.

    Args:
        pauses: seconds to wait after the first failure, the second, and so on; after the last pause it is tried once
            more.
        may_pass: whether to try again after this error.
        before_pause: told of each error that is waited for.

    Raises:
        Exception: of the last attempt.
    """
    for pause in pauses:
        try:
            return action()
        except Exception as error:
            if not may_pass(error):
                raise
            before_pause(error)
        time.sleep(pause)
    return action()


def pauses_within(limit: float, pause: float) -> Iterator[float]:
    """Pauses of so many seconds, until `limit` seconds have passed since the first was asked for."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        yield pause
