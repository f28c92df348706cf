"""The recorder of a study: entries go into the journal at once, and to MLflow when MLflow takes them.

A thread sends what the journal has, in order, and tries again where MLflow is away; the driver never waits for it.
Losses in the middle of a run, and the study's description, are for the dashboard alone: they are not in the journal,
and are left out while MLflow is behind, since the end of the trial brings its whole curve.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from search.trial import Failure, Loss, Measurement, Trial
from tracking import names
from tracking.errors import TrackingError, TrackingRefused
from tracking.journal import (
    Closed,
    Contents,
    Entry,
    Finished,
    Journal,
    Opened,
    Reported,
    Restarted,
    Written,
    contents,
)
from tracking.store import StudyRecord

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 15.0
# A refusal may be a database that is just coming up; one that lasts is somebody's decision.
REFUSED_FOR_SECONDS = 120.0
# With more waiting MLflow is behind, and what is for the moment is left out.
MOST_WAITING = 100


@dataclass(frozen=True)
class _Progress:
    trial: Trial
    tokens: int
    losses: Mapping[str, Loss]


@dataclass(frozen=True)
class _Described:
    markdown: str


# For the dashboard alone: neither kept in the journal nor sent again.
_Passing = _Progress | _Described


class Recorder:
    """A context: what MLflow does not have at its end stays in the journal for the next driver.

    Every method but `attach`, `drain` and `close` returns at once, and raises the TrackingError for which the recorder
    gave up, if it did.

    Attributes:
        run_id: of the study's run in MLflow.
        experiment_id: of the MLflow experiment that it is in.
        begun: what the journal said when the recorder began.
    """

    def __init__(self, record: StudyRecord, journal: Journal) -> None:
        self.run_id = record.run_id
        self.experiment_id = record.store.experiment_id
        self._record = record
        self._journal = journal
        self._queue: SimpleQueue[Entry | _Passing | None] = SimpleQueue()  # None: there will be no more
        self._unsent = 0
        self._counting = threading.Lock()
        self._ending = threading.Event()
        self._trouble: TrackingError | None = None
        self._troubles = 0
        self._given_up = False
        self.begun: Contents = contents(self._unsent_queued())
        self._known = {trial.id for trial in self.begun.history.trials}
        self._thread = threading.Thread(target=self._send_all, name="recorder", daemon=True)
        self._thread.start()

    @property
    def unsent(self) -> int:
        """How many entries MLflow does not have yet."""
        return self._unsent

    @property
    def entries(self) -> int:
        """How many there are, sent or not, since the journal began."""
        return self._journal.sent + self._unsent

    @property
    def trouble(self) -> str | None:
        """Why MLflow does not take what it is sent, while it does not."""
        trouble = self._trouble  # the thread may set it to None at any moment
        return None if trouble is None else trouble.message

    @property
    def troubles(self) -> int:
        """How often MLflow did not take what it was sent, since the recorder began."""
        return self._troubles

    def open(self, trial: Trial) -> None:
        self._enter(Opened(trial, _now()))

    def restarted(self, trial: Trial, start: int, reason: str) -> None:
        self._enter(Restarted(trial, start, reason))

    def close_trial(self, trial: Trial, outcome: Measurement | Failure, objective: float | None) -> None:
        self._enter(Closed(trial, outcome, objective, _now()))

    def report(self, metrics: Mapping[str, float], step: int, tags: Mapping[str, str]) -> None:
        self._enter(Reported(metrics, step, _now(), tags))

    def write(self, key: str, data: Mapping[str, Any], file: str) -> None:
        self._enter(Written(key, data, file))

    def finish(self) -> None:
        self._enter(Finished())

    def progress(self, trial: Trial, tokens: int, losses: Mapping[str, Loss]) -> None:
        self._pass(_Progress(trial, tokens, losses))

    def describe(self, markdown: str) -> None:
        """What stands at the head of the study's page until there is something newer."""
        self._pass(_Described(markdown))

    def attach(self, text: str, file: str) -> None:
        """A file of what can be made again: sent at once, and not kept for a store that is away.

        Raises:
            TrackingError: the store did not take it.
        """
        self._record.attach(text, file)

    def drain(self, seconds: float) -> bool:
        """Wait for MLflow to take everything, until it takes nothing for so long; returns whether it did."""
        unsent, deadline = self._unsent, time.monotonic() + seconds
        while self._unsent and time.monotonic() < deadline:
            self._complain()
            time.sleep(0.02)
            if self._unsent < unsent:
                unsent, deadline = self._unsent, time.monotonic() + seconds
        return not self._unsent

    def close(self, status: str | None = None) -> None:
        """Let go of the journal, without waiting for more than the request under way.

        Args:
            status: how the study ends where it has not finished, in MLflow's words.
        """
        self._ending.set()
        self._queue.put(None)
        self._thread.join(timeout=2)
        self._journal.close()
        if status is not None and self._trouble is None and not self._thread.is_alive():
            # For the dashboard alone, which would otherwise show a study that runs for ever.
            with suppress(TrackingError):
                self._record.end(status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")

    def _unsent_queued(self) -> Iterator[Entry]:
        for number, entry in enumerate(self._journal.entries()):
            if number >= self._journal.sent:
                self._enqueue(entry)
            yield entry

    def _enter(self, entry: Entry) -> None:
        self._journal.append(entry)
        self._enqueue(entry)
        self._complain()

    def _pass(self, message: _Passing) -> None:
        if self._trouble is None and self._queue.qsize() < MOST_WAITING:
            self._queue.put(message)

    def _enqueue(self, entry: Entry) -> None:
        with self._counting:
            self._unsent += 1
        self._queue.put(entry)

    def _complain(self) -> None:
        if self._given_up:
            assert self._trouble is not None, "it is the reason"
            raise self._trouble

    # What follows runs in the recorder's thread.

    def _send_all(self) -> None:
        while (entry := self._queue.get()) is not None and not self._ending.is_set():
            try:
                self._send(entry)
            except Exception as error:
                # The driver raises it: a thread's own death would be seen by nobody.
                self._trouble = error if isinstance(error, TrackingError) else _unexpected(error)
                self._given_up = True
                return

    def _send(self, entry: Entry | _Passing) -> None:
        """
        Raises:
            TrackingRefused: the store goes on refusing it.
        """
        pause, again, first_refused = FIRST_PAUSE, False, None
        while True:
            try:
                self._apply(entry, again)
                break
            except TrackingError as error:
                now = time.monotonic()
                first_refused = (first_refused or now) if isinstance(error, TrackingRefused) else None
                if first_refused is not None and now - first_refused > REFUSED_FOR_SECONDS:
                    raise
                self._trouble = error
                self._troubles += 1
            if self._ending.wait(pause) or isinstance(entry, _Passing):
                return
            pause, again = min(2 * pause, LONGEST_PAUSE), True
        self._trouble = None
        if not isinstance(entry, _Passing):
            self._journal.mark_sent(self._journal.sent + 1)
            with self._counting:
                self._unsent -= 1

    def _apply(self, entry: Entry | _Passing, again: bool) -> None:
        match entry:
            case Opened(trial, at):
                self._record.open(trial, trial.id not in self._known and not again, at)
                self._known.add(trial.id)
            case Restarted(trial, start, reason):
                self._record.restarted(trial, start, reason)
            case _Progress(trial, tokens, losses):
                self._record.progress(trial, tokens, losses)
            case _Described(markdown):
                self._record.set_tags({names.NOTE: markdown})
            case Closed(trial, outcome, objective, at):
                self._record.close(trial, outcome, objective, at)
            case Reported(metrics, step, at, tags):
                self._record.report(metrics, step, at, {**tags, names.SENT: str(self._journal.sent)})
            case Written(key, data, file):
                self._record.write(key, data, file)
            case Finished():
                self._record.finish()


def _now() -> int:
    """In ms of Unix time, for people who look: nothing is decided by it."""
    return int(time.time() * 1000)


def _unexpected(error: Exception) -> TrackingError:
    return TrackingError(
        f"a record could not be sent to MLflow: {type(error).__name__}: {error}",
        hint="nothing recorded is lost; mend the cause, then run the same command to resume",
    )
