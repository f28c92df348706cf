"""The recorder of a study: entries go into the journal at once, and to MLflow when MLflow takes them.

A thread sends what the journal has, in order, and tries again where MLflow is away; the driver never waits for it.
Between entries it renews the copy of the journal that MLflow keeps, from which the study can be read and resumed
anywhere, and shows by a heartbeat that the study is being run, and by whom. Losses in the middle of a run, and the
study's description, are for the dashboard alone: they are not in the journal, and are left out while MLflow is behind,
since the end of the trial brings its whole curve.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from search.trial import Failure, Loss, Measurement, Trial
from tracking import keys
from tracking.entries import Closed, Entry, Finished, Opened, Reported, Restarted, Written
from tracking.errors import TrackingAway, TrackingError, TrackingRefused
from tracking.journal import Journal
from tracking.mlflow_store import StudyRun
from tracking.record import Record

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 15.0
# A refusal may be a database that is just coming up; one that lasts is somebody's decision.
REFUSED_FOR_SECONDS = 120.0
# With more waiting MLflow is behind, and what is for the moment is left out.
MOST_WAITING = 100
# The copy of the journal is renewed at most so often, and takes no more than this part of the thread's time.
COPY_SECONDS = 5.0
COPY_SHARE = 0.05
HEARTBEAT_SECONDS = 10.0
# A driver that has shown no heartbeat for so long is dead, or cut off, and finds out by its next one.
SILENT_SECONDS = 25.0
# How long the end of a driver that did not finish waits for the request under way and the last copy.
CLOSE_SECONDS = 5.0


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


class _Wake:
    """Something is due earlier than the thread thought."""


class Recorder:
    """A context: what MLflow does not have at its end stays in the journal for the next driver.

    Every method but `attach`, `drain` and `close` returns at once, and raises the TrackingError for which the recorder
    gave up, if it did: MLflow refused for long, or another driver has taken the study over.

    Attributes:
        run_id: of the study's run in MLflow.
        experiment_id: of the MLflow experiment that it is in.
        begun: what the journal said when the recorder began.
    """

    def __init__(self, run: StudyRun, journal: Journal) -> None:
        self.run_id = run.run_id
        self.experiment_id = run.store.experiment_id
        self._run = run
        self._journal = journal
        # From now on any other driver finds out that it is one too many.
        run.set_tags({keys.JOURNAL: journal.id, keys.SENT: str(journal.sent), keys.DRIVER: _driver(0)})
        self._queue: SimpleQueue[Entry | _Passing | _Wake | None] = SimpleQueue()  # None: there will be no more
        self._unsent = 0
        self._counting = threading.Lock()
        self._ending = threading.Event()
        self._trouble: TrackingError | None = None
        self._troubles = 0
        self._given_up = False
        self.begun = Record.of(journal.subject, self._unsent_queued())
        self._copied = 0  # so many entries the copy has
        self._copy_due = self._beat_due = time.monotonic()
        self._beats = 0
        self._pause = FIRST_PAUSE
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
        self._run.attach(text, file)

    def drain(self, seconds: float) -> bool:
        """Wait for MLflow to take everything, the copy of the journal too, until it takes nothing for so long.

        Returns whether it did.
        """
        self._copy_due = time.monotonic()
        self._queue.put(_Wake())
        unsent, deadline = self._unsent, time.monotonic() + seconds
        while self._is_behind and time.monotonic() < deadline:
            self._complain()
            time.sleep(0.02)
            if self._unsent < unsent:
                unsent, deadline = self._unsent, time.monotonic() + seconds
        return not self._is_behind

    def close(self, status: str | None = None) -> None:
        """Let go of the journal, without waiting for more than the request under way.

        Args:
            status: how the study ends where it has not finished, in MLflow's words.
        """
        self._ending.set()
        self._queue.put(None)
        self._thread.join(timeout=CLOSE_SECONDS)
        if self._trouble is None and not self._thread.is_alive():
            # Where these do not arrive, the next driver elsewhere waits for a heartbeat first.
            with suppress(TrackingError):
                if self._copied < self.entries:
                    self._run.keep(self._journal)
                self._run.set_tags({keys.DRIVER: ""})
                if status is not None:
                    self._run.end(status)
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")

    @property
    def _is_behind(self) -> bool:
        return bool(self._unsent) or self._copied < self.entries

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
        try:
            while not self._ending.is_set():
                self._look_after_store()
                try:
                    entry = self._queue.get(timeout=max(0.02, self._next_due() - time.monotonic()))
                except Empty:
                    continue
                if entry is None:
                    return
                if not isinstance(entry, _Wake):
                    self._send(entry)
        except Exception as error:
            # The driver raises it: a thread's own death would be seen by nobody.
            self._trouble = error if isinstance(error, TrackingError) else _unexpected(error)
            self._given_up = True

    def _next_due(self) -> float:
        """When something has to be done though no entry comes."""
        return min(self._beat_due, self._copy_due) if self._copied < self.entries else self._beat_due

    def _look_after_store(self) -> None:
        """The heartbeat and the copy of the journal, where they are due.

        Raises:
            TrackingError: another driver has taken the study over.
        """
        now = time.monotonic()
        if self._trouble is None or now >= self._beat_due:
            with self._troubled():
                if now >= self._beat_due:
                    self._beat_due = now + HEARTBEAT_SECONDS
                    self._beats += 1
                    beat(self._run, self._journal.id, self._beats)
                if now >= self._copy_due and self._copied < self.entries:
                    self._copied = self._run.keep(self._journal)
                    took = time.monotonic() - now
                    self._copy_due = now + max(COPY_SECONDS, took / COPY_SHARE)
                if self._queue.empty():
                    self._trouble = None
                self._pause = FIRST_PAUSE

    @contextmanager
    def _troubled(self) -> Iterator[None]:
        """A store that is away is the recorder's trouble, and no end; what was due is due again soon."""
        try:
            yield
        except TakenOver:
            raise
        except (TrackingError, OSError) as error:
            # OSError: the journal cannot be read for a moment, or there is no room for a temporary file.
            self._trouble = (
                error if isinstance(error, TrackingError) else TrackingAway(f"no copy of the journal: {error}")
            )
            self._troubles += 1
            self._copy_due = self._beat_due = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

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
                self._run.open(trial, trial.id not in self._known and not again, at)
                self._known.add(trial.id)
            case Restarted(trial, start, reason):
                self._run.restarted(trial, start, reason)
            case _Progress(trial, tokens, losses):
                self._run.progress(trial, tokens, losses)
            case _Described(markdown):
                self._run.set_tags({keys.NOTE: markdown})
            case Closed(trial, outcome, objective, at):
                self._run.close(trial, outcome, objective, at)
            case Reported(metrics, step, at, tags):
                self._run.report(metrics, step, at, {**tags, keys.SENT: str(self._journal.sent)})
            case Written(_, data, file):
                self._run.attach(json.dumps(data, indent=2, allow_nan=False), file)
            case Finished():
                self._run.end("FINISHED")


class TakenOver(TrackingError):
    """Another driver runs the study now."""


def await_silence(run: StudyRun, journal_id: str | None, remark: Callable[[str], None]) -> None:
    """Make sure that no other driver runs the study.

    One that holds the same journal is excluded by the lock of its folder; one elsewhere shows a heartbeat in MLflow.

    Args:
        journal_id: of the journal that is here, if there is one.
        remark: told what is waited for.

    Raises:
        TakenOver: another one runs it.
    """
    driver = run.tags.get(keys.DRIVER)
    if not driver or run.tags.get(keys.JOURNAL) == journal_id:
        return
    host, process, *_ = (*driver.split(), "?", "?")
    remark(f"study {run.study} was last run on {host}: waiting whether its driver is alive")
    deadline = time.monotonic() + SILENT_SECONDS
    while time.monotonic() < deadline:
        time.sleep(min(1.0, SILENT_SECONDS / 10))
        run.refresh()
        now = run.tags.get(keys.DRIVER)
        if not now:
            return
        if now != driver:
            raise TakenOver(
                f"study {run.study} is being run by process {process} on {host}",
                hint="wait for it or end it there; mixopt status shows how far it is",
            )


def beat(run: StudyRun, journal_id: str, number: int) -> None:
    """Show that the driver of this journal is alive.

    Raises:
        TakenOver: the study goes on with another journal.
    """
    run.refresh()
    if run.tags.get(keys.JOURNAL) != journal_id:
        where = (run.tags.get(keys.DRIVER) or "somewhere else").split()[0]
        raise TakenOver(
            f"study {run.study} was taken over by another driver, on {where}; this one stops",
            hint="what it recorded is kept here, and is sent where the study is run here again",
        )
    run.set_tags({keys.DRIVER: _driver(number)})


def _driver(beats: int) -> str:
    """Who runs the study, and that it is alive: the number grows."""
    return f"{socket.gethostname() or '?'} {os.getpid()} {beats}"


def _now() -> int:
    """In ms of Unix time, for people who look: nothing is decided by it."""
    return int(time.time() * 1000)


def _unexpected(error: Exception) -> TrackingError:
    return TrackingError(
        f"a record could not be sent to MLflow: {type(error).__name__}: {error}",
        hint="nothing recorded is lost; mend the cause, then run the same command to resume",
    )
