"""Calls of one function side by side, in processes of one thread each.

This module imports nothing numerical: the number of threads has to be set before NumPy is loaded.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, TypeVar

from mixopt.base.errors import ConfigError
from search.errors import SearchError

Result = TypeVar("Result")

# Spawned, not forked: a fork inherits the locks of threads that it does not inherit.
SPAWN = multiprocessing.get_context("spawn")


class Workers(AbstractContextManager["Workers"]):
    """Up to `count` processes, started when there is work and ended with the block; none for a count of 1."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._processes: dict[Connection, BaseProcess] = {}

    def call(
        self, function: Callable[..., Result], tasks: Mapping[str, tuple[Any, ...]], on_done: Callable[[str], None]
    ) -> dict[str, Result]:
        """`function(*arguments)` of every task by its name, in the order of the tasks, whichever was done first.

        Args:
            function: of a module, so that a process can import it; what it takes and gives can be pickled.
            on_done: told the name of each task that is done.

        Raises:
            ConfigError: a process ended before its task, as when memory runs out.
            Exception: a task raised it; from a process, a bug comes as a RuntimeError with its traceback.
        """
        done = {}
        for name, result in self._results(function, tasks):
            done[name] = result
            on_done(name)
        return {name: done[name] for name in tasks}

    def _results(self, function: Callable[..., Any], tasks: Mapping[str, tuple[Any, ...]]) -> Iterator[tuple[str, Any]]:
        """Name and result of each task, as they are done."""
        if self._count == 1:
            for name, arguments in tasks.items():
                yield name, function(*arguments)
            return
        while len(self._processes) < min(self._count, len(tasks)):
            self._start()
        waiting, running = list(tasks), dict[Connection, str]()
        while waiting or running:
            for connection in self._processes.keys() - running.keys():
                if waiting:
                    running[connection] = waiting.pop(0)
                    self._send(connection, running[connection], function, tasks[running[connection]])
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                name = running.pop(ready)
                yield name, self._receive(ready, name)

    def _start(self) -> None:
        here, there = SPAWN.Pipe()
        process = SPAWN.Process(target=_serve, args=(there,), daemon=True)
        process.start()
        there.close()
        self._processes[here] = process

    def _send(self, connection: Connection, name: str, *task: Any) -> None:
        try:
            connection.send((name, *task))
        except (BrokenPipeError, ConnectionResetError):
            raise self._died(connection, name) from None

    def _receive(self, connection: Connection, name: str) -> Any:
        try:
            result, error = connection.recv()
        except (EOFError, ConnectionResetError):
            raise self._died(connection, name) from None
        if error is not None:
            raise error
        return result

    def _died(self, connection: Connection, name: str) -> ConfigError:
        process = self._processes.pop(connection)
        process.join()
        return ConfigError(
            f"{name} failed: its process ended with status {process.exitcode}, as when memory runs out",
            hint="leave it out, or give it more memory",
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.join()


def _serve(connection: Connection) -> None:
    """What a process does: tasks, until the other end is closed."""
    os.environ["OMP_NUM_THREADS"] = "1"
    # Ctrl-C reaches every process of the terminal; the one that started this one answers it, and ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            name, function, arguments = connection.recv()
        except EOFError:
            return
        connection.send_bytes(_attempt(name, function, arguments))


def _attempt(name: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """Result and error, one of them None, as bytes: whatever is returned, something can be sent."""
    try:
        return pickle.dumps((function(*arguments), None))
    except (ConfigError, SearchError) as mistake:
        return pickle.dumps((None, mistake))
    except Exception:
        return pickle.dumps((None, RuntimeError(f"{name} failed:\n{traceback.format_exc()}")))
