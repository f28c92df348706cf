"""The predicted optimum while a study runs: what its strategy would answer now, computed beside it.

For the eyes alone: the driver never waits for it, and nothing that the study does depends on it. This module imports
nothing numerical: in the process that computes, the number of threads has to be set before NumPy is loaded.
"""

from __future__ import annotations

import os
import pickle
import threading
from contextlib import AbstractContextManager
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TYPE_CHECKING

from proxies.processes import Process, begin_as_child
from search.errors import SearchError

if TYPE_CHECKING:
    from search.history import Completed, History
    from search.recommendation.recommendation import Recommendation
    from search.strategies.base import Strategy

FEWEST_COMPLETED = 8
# A fit takes the longer the more trials there are: so seldom, all of them take little more than the last few.
GROWTH = 1.5
# The machine has better things to do first.
NICENESS = 10
UNFINISHED = "the search ended before the first was computed"


class Forecaster(AbstractContextManager["Forecaster"]):
    """At most one process, which lives as long as a forecast takes, and ends with the block at the latest.

    Attributes:
        latest: what the strategy last recommended; None before the first time.
        remark: why there is none, or none that is newer; "" where nothing is to be said.
    """

    def __init__(self, strategy: Strategy) -> None:
        self.latest: Recommendation | None = None
        self.remark = f"the first comes after {FEWEST_COMPLETED} completed trials"
        self._strategy = strategy
        self._seen = 0
        self._thread: threading.Thread | None = None
        self._process: Process | None = None
        self._closed = False
        self._closing = threading.Lock()

    def consider(self, history: History) -> None:
        """Begin a forecast if enough trials have completed since the last one began; returns at once."""
        completed = len(history.completed)
        if self._closed:
            return
        if completed < max(FEWEST_COMPLETED, GROWTH * self._seen) or (self._thread and self._thread.is_alive()):
            return
        if self.latest is None:
            self.remark = f"the first is being computed, from {completed} completed trials"
        self._seen = completed
        # To hand over a long history takes seconds, so a thread does it.
        self._thread = threading.Thread(target=self._forecast, args=(history,), name="forecast", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End a forecast that is still being computed."""
        with self._closing:
            self._closed = True
            self.remark = UNFINISHED
            if self._process is not None:
                self._process.kill()
        if self._thread is not None:
            self._thread.join()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What follows runs in the forecaster's thread.

    def _forecast(self, history: History) -> None:
        try:
            found, self.remark = self._computed(history)
        except Exception as error:
            # Nobody would see the death of a thread.
            found, self.remark = None, f"{type(error).__name__}: {error}"
        self.latest = found or self.latest

    def _computed(self, history: History) -> tuple[Recommendation | None, str]:
        here, there = Pipe()
        with here, there:
            with self._closing:
                if self._closed:
                    return None, UNFINISHED
                process = Process(target=_compute, args=(there,), daemon=True)
                process.start()
                self._process = process
            there.close()
            try:
                here.send(self._strategy)
                _send(history, here)
                answer: tuple[Recommendation | None, str] = here.recv()
            except (EOFError, ConnectionError):
                process.join()
                if self._closed:
                    return None, UNFINISHED
                return None, f"its process ended with status {process.exitcode}, as when memory runs out"
            process.join()
            return answer


def _send(history: History, connection: Connection) -> None:
    """One trial after the other: while one is pickled, no other thread can run."""
    ends = {entry.measurement.stopped_at for entry in history.stopped}
    for entries in (history.completed, history.stopped):
        connection.send(len(entries))
        for entry in entries:
            connection.send(_evidence(entry, ends))
    connection.send(history.failed)


def _evidence(entry: Completed, ends: set[int | None]) -> Completed:
    """What strategies look at: losses at the end, and where others were stopped, with which they are compared."""
    curve = tuple(point for point in entry.measurement.curve if point.tokens in ends)
    slim = replace(entry.measurement, curve=curve, domain_tokens={}, domain_epochs={}, diagnostics={}, environment={})
    return replace(entry, measurement=slim)


def _compute(connection: Connection) -> None:
    """What the process does; if the other end is closed meanwhile, the study has ended."""
    begin_as_child(threads=1)
    os.nice(NICENESS)
    try:
        connection.send_bytes(_recommend(connection))
    except (EOFError, ConnectionError):
        return


def _recommend(connection: Connection) -> bytes:
    """The pickled recommendation, or None, and a remark."""
    from search.history import History

    strategy: Strategy = connection.recv()
    completed, stopped = (tuple(connection.recv() for _ in range(connection.recv())) for _ in range(2))
    history = History(completed, failed=connection.recv(), stopped=stopped)
    try:
        return pickle.dumps((strategy.recommend(history), ""))
    except SearchError as error:
        return pickle.dumps((None, error.message))
    except Exception as error:
        return pickle.dumps((None, f"{type(error).__name__}: {error}"))
