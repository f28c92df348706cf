"""Work on runs, split over the cores of this machine: fits, replays."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Generic, TypeVar

from joblib import cpu_count

from mixopt.base.errors import ConfigError
from proxies.processes import process_pool

# A process starts in about a second: so few tasks are done by then.
FEW_TASKS = 4

Key = TypeVar("Key", bound=Hashable)


def processes_for(tasks: int) -> AbstractContextManager[Executor | None]:
    """A process for each core, of one thread; none where one process is as soon done."""
    processes = min(cpu_count(), tasks)
    return process_pool(processes, threads=1) if processes > 1 and tasks > FEW_TASKS else nullcontext()


class Work(Generic[Key]):
    """Calls of functions, made by a pool or one by one by this process; results may be the reason for further calls.

    Args:
        hint: what a user can do where memory runs out.
    """

    def __init__(self, pool: Executor | None, hint: str) -> None:
        self._pool = pool
        self._hint = hint
        self._waiting: deque[tuple[Key, Callable[..., Any], tuple[Any, ...]]] = deque()
        self._running: dict[Future[Any], Key] = {}

    def add(self, key: Key, function: Callable[..., Any], *arguments: Any) -> None:
        """
        Raises:
            ConfigError: a process was killed.
        """
        if self._pool is None:
            self._waiting.append((key, function, arguments))
            return
        with self._explained():
            self._running[self._pool.submit(function, *arguments)] = key

    def results(self) -> Iterator[tuple[Key, Any]]:
        """What the calls return, whichever is done first, those of calls that are added meanwhile too.

        Raises:
            ConfigError: a process was killed.
        """
        while self._waiting:
            key, function, arguments = self._waiting.popleft()
            yield key, function(*arguments)
        while self._running:
            done, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in done:
                with self._explained():
                    found = future.result()
                yield self._running.pop(future), found

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except BrokenProcessPool as error:
            raise ConfigError(
                "a process that computes beside this one was killed",
                hint=f"most likely memory ran out: {self._hint}",
            ) from error
