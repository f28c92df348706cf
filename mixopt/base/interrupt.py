"""Ctrl-C and SIGTERM, which do the same: they end what runs, in good order.

    what is needed is loaded    nothing was begun: one line, and the process is gone        leaving_at_once
    a study runs                KeyboardInterrupt in the main thread, wherever it stands    Interrupts
    Ray starts, or ends         not now: what is cut off in the middle of it may crash      held_back

Only the main thread may handle signals; in others none of this does anything.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from math import inf
from types import TracebackType
from typing import Any, Self

INTERRUPTED = 130  # exit status
SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A terminal tells all its processes of a Ctrl-C, and one of them that stands above may hand it on: that is one.
SAME_WITHIN_SECONDS = 1.0


def interrupt(*_: object) -> None:
    """A handler of SIGTERM.

    Raises:
        KeyboardInterrupt: always.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: what follows is the way out
    raise KeyboardInterrupt


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """While libraries are loaded and nothing is written: one line, and the process is gone.

    An exception would be raised in the middle of an import, where some libraries swallow it and others are left half
    loaded. There is nothing to be put in order either, so the process ends without its last rites.
    """

    def leave(*_: object) -> None:
        sys.stdout.flush()
        os.write(2, b"interrupted; nothing was begun\n")
        os._exit(INTERRUPTED)

    with _handled(leave):
        yield


@contextmanager
def held_back(say: Callable[[], object] = lambda: None) -> Iterator[None]:
    """While the block runs, nothing is interrupted; what came meanwhile interrupts at its end.

    Whatever the block does to the handlers of these signals is undone.

    Args:
        say: called at once where one comes, for a person who waits.
    """
    came: list[int] = []

    def remember(number: int, _: object) -> None:
        if not came:
            say()
        came.append(number)

    try:
        with _handled(remember):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])


class Interrupts(AbstractContextManager["Interrupts"]):
    """While the block runs, Ctrl-C and SIGTERM raise KeyboardInterrupt, wherever the main thread stands.

    Attributes:
        came: whether one came. Libraries swallow exceptions here and there, so whoever goes on looks.
        are_heard: whether this is the main thread.
    """

    def __init__(self) -> None:
        self.came = False
        self.are_heard = threading.current_thread() is threading.main_thread()
        self._at = -inf
        self._handled = _handled(self._interrupt)

    def __enter__(self) -> Self:
        self._handled.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handled.__exit__(kind, error, trace)

    def check(self) -> None:
        """
        Raises:
            KeyboardInterrupt: one came.
        """
        if self.came:
            raise KeyboardInterrupt

    def _interrupt(self, number: int, _: object) -> None:
        now = time.monotonic()
        # Since the last that was heard: whoever presses on and on is heard once in this time.
        is_new = now - self._at > SAME_WITHIN_SECONDS
        if not self.came or (is_new and number == signal.SIGINT):
            self.came, self._at = True, now
            raise KeyboardInterrupt


@contextmanager
def _handled(by: Callable[[int, Any], object]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A handler that was not installed from Python cannot be put back.
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, by)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
