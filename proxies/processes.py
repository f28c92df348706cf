"""Processes that compute beside this one, on its machine.

They are started afresh, not forked: a fork inherits the locks of threads that it does not inherit. Such a child of
`multiprocessing` imports the program's main file again; for a script without `if __name__ == "__main__":` that means
running it again, in each child. Those that are started here do not, so what they are given to do has to come from a
module that can be imported. And they end when this process does, even if it is killed.

This module imports nothing numerical: the number of threads has to be set before NumPy is loaded.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, TypeVar

Given = TypeVar("Given")
Result = TypeVar("Result")

_STARTING = threading.Lock()


class Process(SpawnProcess):
    """As `multiprocessing.Process`, begun by spawning, without the program's main file."""

    def start(self) -> None:
        with _interrupts_blocked():  # it is known to have begun before anything interrupts this process
            super().start()

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        with _STARTING, _main_without_file(), _safe_path():
            return SpawnProcess._Popen(process_obj)


class Context(SpawnContext):
    """Of `Process`es, which it remembers."""

    def __init__(self) -> None:
        super().__init__()
        with _STARTING, _safe_path():
            resource_tracker.ensure_running()  # else the first lock starts its process
        self.started: list[Process] = []

    def Process(self, *arguments: Any, **options: Any) -> Process:  # type: ignore[override]  # a class elsewhere
        process = Process(*arguments, **options)
        self.started.append(process)
        return process


@contextmanager
def process_pool(
    count: int, begin: Callable[..., object] | None = None, *arguments: Any, threads: int | None = None
) -> Iterator[ProcessPoolExecutor]:
    """Up to `count` processes, started when there is work and ended with the block; at once if it ends with an error.

    Args:
        begin: called with the arguments in each process before its first task.
        threads: of numerical libraries, in each process.
    """
    context = Context()
    pool = ProcessPoolExecutor(count, context, _begin, (threads, begin, arguments))
    try:
        yield pool
    except BaseException:
        for process in context.started:
            if process.is_alive():
                process.kill()
        # What they were sending, or were being sent, would be waited for: these are the last ends of their pipes.
        pool._result_queue._writer.close()  # type: ignore[attr-defined]
        pool._call_queue._reader.close()  # type: ignore[attr-defined]
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def in_order(submitted: Iterable[tuple[Given, Future[Result]]], ahead: int) -> Iterator[tuple[Given, Result]]:
    """What was submitted with its result, in order, while so many more are under way.

    Args:
        submitted: is read only as far as that.

    Raises:
        BrokenProcessPool: one of the processes was killed.
    """
    running: deque[tuple[Given, Future[Result]]] = deque()
    for each in submitted:
        running.append(each)
        if len(running) > ahead:
            given, result = running.popleft()
            yield given, result.result()
    for given, result in running:
        yield given, result.result()


def _begin(threads: int | None, begin: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
    begin_as_child(threads)
    if begin is not None:
        begin(*arguments)


def begin_as_child(threads: int | None = None) -> None:
    """What each child does first: limit its threads, leave Ctrl-C to its parent, and watch for the parent's end."""
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    # Ctrl-C reaches every process of the terminal; the one that started this one answers it, and ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, name="parent's end", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a child has one"
    wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _safe_path() -> Iterator[None]:
    """For this moment, Python starts without the current folder on its path: it may be one of data, and a file in it
    that is called as one of Python's own modules would be run in its place."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """For this moment, Ctrl-C waits. A child inherits that; else it would answer one with a traceback until
    `begin_as_child`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _main_without_file() -> Iterator[None]:
    """For this moment, the main module seems to be typed at a prompt: there is no file that a child could import."""
    main = vars(sys.modules["__main__"])
    hidden: dict[str, Any] = {name: main.pop(name) for name in ("__file__", "__spec__") if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(hidden)
