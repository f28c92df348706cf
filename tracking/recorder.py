"""The recorder of a study: entries go into the journal at once, and to MLflow when MLflow takes them.

A thread sends what the journal has, in order, and tries again where MLflow is away; the driver never waits for it. It
goes by the number of each entry: what was sent is not sent again, and what it was not told of, since an interruption
came between, it reads from the journal.
Between entries it renews the copy of the journal that MLflow keeps, from which the study can be read and resumed
anywhere. Another shows by a heartbeat that the study is being run, and by whom (tracking/heartbeat.py).

A store that does not answer when a study begins is asked again and again by that thread, before it sends anything.

Losses in the middle of a run, the study's description, and what the driver is at this moment are for those who look
alone: they are not in the journal, and are left out while MLflow is behind, since the end of the trial brings its whole
curve.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from search.trial import Failure, Loss, Measurement, Trial
from tracking import keys
from tracking.entries import Closed, Entry, Finished, Opened, Restarted, StudyMetrics, Written
from tracking.errors import OtherSubject, TrackingAway, TrackingError, TrackingRefused, WentOnElsewhere
from tracking.heartbeat import Driver, Heartbeat, TakenOver
from tracking.journal import DamagedJournal, Journal
from tracking.mlflow_store import StudyRun
from tracking.record import Record

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 15.0
# A refusal may be a database that is just coming up; one that lasts is somebody's decision.
REFUSED_FOR_SECONDS = 120.0
# With more waiting MLflow is behind, and what is for the moment is left out.
MOST_WAITING = 100
# The copy of the journal is renewed at most so often, and takes no more than this part of the thread's time.
COPY_SECONDS = 5.0
COPY_SHARE = 0.05
# What MLflow says of the study when it is back that no waiting mends.
FINAL = (TakenOver, DamagedJournal, OtherSubject, WentOnElsewhere)
# How long the end of a driver that did not finish waits for the request under way and the last copy.
CLOSE_SECONDS = 5.0


@dataclass(frozen=True)
class _Entered:
    """An entry that the journal has, and its place in it, from 0."""

    number: int
    entry: Entry


@dataclass(frozen=True)
class _Progress:
    trial: Trial
    tokens: int
    losses: Mapping[str, Loss]


@dataclass(frozen=True)
class _Shown:
    """Tags of the study for the moment."""

    tags: Mapping[str, str]


# For the dashboard alone: neither kept in the journal nor sent again.
_Passing = _Progress | _Shown


class _Wake:
    """A look at what is due."""


@dataclass(frozen=True)
class Away:
    """A store that does not answer when the study begins.

    Attributes:
        trouble: why.
        find: the study's run, and how many entries of the journal it has, at most so many as were sent. Raises a
            TrackingError while the store does not answer; one of FINAL where the study must not go on.
        claim: send to the run what comes before any entry.
    """

    trouble: TrackingError
    find: Callable[[], tuple[StudyRun, int]]
    claim: Callable[[StudyRun], None]


class Recorder:
    """A context: what MLflow does not have at its end stays in the journal for the next driver.

    Every method but `attach`, `drain` and `close` returns at once, and raises the TrackingError for which the recorder
    gave up, if it did: MLflow refused for long, or another driver has taken the study over.

    Attributes:
        begun: what the journal said when the recorder began.
    """

    def __init__(self, run: StudyRun | Away, journal: Journal) -> None:
        self._journal = journal
        self._away = run if isinstance(run, Away) else None
        self._run: StudyRun | None = None  # where the store has answered
        self._heartbeat: Heartbeat | None = None
        self._queue: SimpleQueue[_Entered | _Passing | _Wake | None] = SimpleQueue()  # None: there will be no more
        self._entering = threading.Lock()
        self._ending = threading.Event()
        self._draining = threading.Event()
        self._trouble = None if self._away is None else self._away.trouble  # of entries
        self._copy_trouble: TrackingError | None = None
        self._given_up: TrackingError | None = None
        self._troubles = 0
        self._entries_before = 0
        self.begun = Record.of(journal.subject, self._counted(journal.entries()))
        self._copied = 0  # so many entries the copy has
        self._told_sent = 0  # so many were sent, as MLflow remembers it
        self._copy_due = time.monotonic()
        self._copy_pause = FIRST_PAUSE
        self._known = {trial.id for trial in self.begun.history.trials}
        self._running = {trial.id: trial for trial in self.begun.history.running}
        if not isinstance(run, Away):
            self._link(run)
        self._thread = threading.Thread(target=self._send_all, name="recorder", daemon=True)
        self._thread.start()

    @property
    def run_id(self) -> str:
        """Of the study's run in MLflow; where that has not answered, as the journal remembers it."""
        return self.begun.tags.get(keys.RUN, "") if self._run is None else self._run.run_id

    @property
    def experiment_id(self) -> str:
        """Of the MLflow experiment that it is in, likewise."""
        return self.begun.tags.get(keys.EXPERIMENT, "") if self._run is None else self._run.store.experiment_id

    @property
    def unsent(self) -> int:
        """How many entries MLflow does not have yet."""
        return max(0, self.entries - self._journal.sent)

    @property
    def entries(self) -> int:
        """How many there are, sent or not, since the journal began."""
        return self._entries_before + self._journal.appended

    @property
    def trouble(self) -> str | None:
        """Why MLflow does not take what it is sent, while it does not."""
        trouble = self._trouble or self._copy_trouble  # the thread may set them to None at any moment
        return None if trouble is None else trouble.message

    @property
    def is_behind(self) -> bool:
        """Whether MLflow lacks an entry, or its copy of the journal does."""
        return bool(self.unsent) or self._copied < self.entries

    def check(self) -> None:
        """
        Raises:
            TrackingError: the reason for which the recorder gave up, if it did.
        """
        if self._given_up is not None:
            raise self._given_up

    @property
    def troubles(self) -> int:
        """How often MLflow did not take what it was sent, since the recorder began."""
        return self._troubles

    def open(self, trial: Trial, foreseen: tuple[float, float] | None = None, client: str | None = None) -> None:
        """
        Args:
            foreseen: the objective that is expected of it, and its standard deviation.
            client: for whom it is opened.
        """
        self._running[trial.id] = trial
        self._enter(Opened(trial, _now(), foreseen, client))

    def restarted(self, trial: Trial, start: int, reason: str) -> None:
        self._enter(Restarted(trial, start, reason))

    def close_trial(self, trial: Trial, outcome: Measurement | Failure, objective: float | None) -> None:
        self._running.pop(trial.id, None)
        self._enter(Closed(trial, outcome, objective, _now()))

    def log_metrics(self, metrics: Mapping[str, float], step: int, tags: Mapping[str, str]) -> None:
        self._enter(StudyMetrics(metrics, step, _now(), tags))

    def tell(self, activity: str) -> None:
        """What the driver is at from now on, in the words of `keys.ACTIVITY`."""
        self._enter(StudyMetrics({}, 0, _now(), {keys.ACTIVITY: activity}))

    def write(self, key: str, data: Mapping[str, Any], file: str) -> None:
        self._enter(Written(key, data, file))

    def finish(self) -> None:
        self._enter(Finished())

    def progress(self, trial: Trial, tokens: int, losses: Mapping[str, Loss]) -> None:
        self._pass(_Progress(trial, tokens, losses))

    def describe(self, markdown: str) -> None:
        """What stands at the head of the study's page until there is something newer."""
        self._pass(_Shown({keys.NOTE: markdown}))

    def show_now(self, text: str) -> None:
        """What the driver is at this moment, in its own form, for whoever does not see its folder."""
        self._pass(_Shown({keys.NOW: text}))

    def attach(self, text: str, file: str) -> None:
        """A file of what can be made again: sent at once, and not kept for a store that is away.

        Raises:
            TrackingError: the store did not take it.
        """
        if self._run is None:
            raise TrackingAway(f"MLflow did not get {file}: {self.trouble}")
        self._run.attach(text, file)

    def drain(self, seconds: float) -> bool:
        """Wait for MLflow to take everything, the copy of the journal too, until it takes nothing for so long.

        Returns whether it did.
        """
        self._draining.set()
        self._queue.put(_Wake())
        unsent, deadline = self.unsent, time.monotonic() + seconds
        try:
            while self.is_behind and time.monotonic() < deadline:
                self.check()
                time.sleep(0.02)
                if self.unsent < unsent:
                    unsent, deadline = self.unsent, time.monotonic() + seconds
        finally:
            self._draining.clear()
        return not self.is_behind

    def leave(self, seconds: float) -> None:
        """Let go of a study that goes on without a driver: its open trials are trained elsewhere.

        Args:
            seconds: that MLflow has for what it was not sent yet; the next driver sends the rest.
        """
        deadline = time.monotonic() + seconds
        while self.unsent and self.trouble is None and self._given_up is None and time.monotonic() < deadline:
            time.sleep(0.01)
        self.close(trains_on=True)

    def close(self, status: str | None = None, trains_on: bool = False) -> None:
        """Let go of the journal. MLflow, if it answers, gets a last copy, and hears that nobody runs the study.

        Args:
            status: how the study ends where it has not finished, in MLflow's words.
            trains_on: open trials are trained elsewhere, and so not interrupted.
        """
        self._ending.set()
        self._queue.put(None)
        self._thread.join(timeout=CLOSE_SECONDS)
        run, heartbeat = self._run, self._heartbeat
        if heartbeat is not None:
            heartbeat.end()
        is_well = self.trouble is None and self._given_up is None and not self._thread.is_alive()
        if run is not None and heartbeat is not None and is_well:
            # Where these do not arrive, the next driver elsewhere waits for a heartbeat first.
            with suppress(TrackingError, OSError):
                if self._copied < self.entries:
                    run.keep(self._journal, heartbeat.check)
                if status is not None:
                    run.end(status)
                if not trains_on:
                    self._show_interrupted(run)
                run.set_tags({keys.SENT: str(self._journal.sent)})
                heartbeat.release()
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            # Whatever ends the driver is what is to be told, and not that this could not be written.
            with suppress(TrackingError, OSError):
                self.tell(keys.ACTIVITY_INTERRUPTED)
            self.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")

    def _show_interrupted(self, run: StudyRun) -> None:
        """In the dashboard no trial runs that nobody trains; of very many, those that there is time for."""
        deadline = time.monotonic() + CLOSE_SECONDS
        for trial in self._running.values():
            if time.monotonic() > deadline:
                return
            if trial.id in self._known:  # MLflow shows it
                run.interrupt(trial)

    def _counted(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            self._entries_before += 1
            yield entry

    def _enter(self, entry: Entry) -> None:
        with self._entering:  # the thread remembers a run that it found
            self._journal.append(entry)
            self._queue.put(_Entered(self.entries - 1, entry))
        self.check()

    def _pass(self, message: _Passing) -> None:
        self.check()
        if self._trouble is None and self._queue.qsize() < MOST_WAITING:
            self._queue.put(message)

    def _link(self, run: StudyRun) -> None:
        """From now on the study is this driver's in MLflow.

        Raises:
            TrackingError: the store does not answer.
        """
        run.set_tags({keys.JOURNAL: self._journal.id, keys.SENT: str(self._journal.sent)})
        self._told_sent = self._journal.sent
        heartbeat = Heartbeat(run, Driver.here(self._journal.path), self._give_up)
        heartbeat.begin()
        self._run, self._heartbeat = run, heartbeat
        where = {keys.RUN: run.run_id, keys.EXPERIMENT: run.store.experiment_id}
        if any(self.begun.tags.get(name) != value for name, value in where.items()):
            self._enter(StudyMetrics({}, 0, _now(), where))

    # What follows runs in the recorder's threads.

    def _give_up(self, error: TrackingError) -> None:
        """The driver raises it: a thread's own death would be seen by nobody."""
        self._given_up = error
        self._ending.set()

    def _send_all(self) -> None:
        try:
            if self._away is not None:
                self._reach(self._away)
            if self._run is None:
                return
            self._send_until(self.entries)
            while not self._ending.is_set():
                self._renew_copy()
                try:
                    message = self._queue.get(timeout=max(0.02, self._seconds_to_copy))
                except Empty:
                    self._send_until(self.entries)
                    continue
                match message:
                    case None:
                        return
                    case _Entered(number, entry):
                        self._send_until(number)
                        if number == self._journal.sent:
                            self._send(entry)
                    case _Wake():
                        self._send_until(self.entries)
                    case _Progress() | _Shown():
                        self._pass_on(message)
        except Exception as error:
            self._give_up(error if isinstance(error, TrackingError) else _unexpected(error))

    def _reach(self, away: Away) -> None:
        """Wait for the store, and link to the study's run, unless the driver ends meanwhile.

        Raises:
            TrackingError: one of FINAL; or TrackingRefused, where it goes on refusing.
        """

        def reach(_: bool) -> None:
            run, sent = away.find()
            if self._ending.is_set():
                return
            away.claim(run)
            # Whoever closed it meanwhile, as in a notebook that goes on, has let go of the study.
            if not self._ending.is_set():
                self._journal.mark_sent(sent)
                self._link(run)

        # From the beginning where any of it fails: another driver may have the study by then.
        if not self._until_taken(reach) or self._heartbeat is None:
            return
        if self._ending.is_set():
            self._heartbeat.end()
            with suppress(TrackingError):
                self._heartbeat.release()
            return
        log.info("MLflow answers, and gets what it lacks")

    def _send_until(self, count: int) -> None:
        """Send what the journal has, and MLflow lacks, of the first `count` entries.

        Raises:
            TrackingError: as `_send`; or the journal is damaged.
        """
        if self._journal.sent >= count:
            return
        try:
            for entry in islice(self._journal.entries(), self._journal.sent, count):
                self._send(entry)
                if self._ending.is_set():
                    return
                self._renew_copy()
        except OSError as error:  # on a volume that is away for a moment: they are sent when something is due next
            self._copy_trouble = TrackingAway(f"the journal cannot be read: {error}")
            self._troubles += 1

    @property
    def _seconds_to_copy(self) -> float:
        """Until the copy, and what MLflow knows of it, are to be renewed; long where nothing is new."""
        is_old = self._copied < self.entries
        if not is_old and self._told_sent >= self._journal.sent:
            return LONGEST_PAUSE
        # Who waits for it does not wait for its turn; but a store that has just not taken it is left alone.
        if is_old and self._draining.is_set() and self._copy_trouble is None:
            return 0.0
        return max(0.0, self._copy_due - time.monotonic())

    def _renew_copy(self) -> None:
        """The copy of the journal, where it is due. A store that does not take it is trouble, and no end.

        Raises:
            TakenOver, DamagedJournal: another driver has the study now, or the journal was changed on the disk.
        """
        began, run, heartbeat = time.monotonic(), self._run, self._heartbeat
        if self._seconds_to_copy > 0:
            return
        assert run is not None and heartbeat is not None, "the thread has reached the store"
        try:
            if self._copied < self.entries:
                self._copied = run.keep(self._journal, heartbeat.check)
            else:
                heartbeat.check()
            # From there the next driver goes on, whatever becomes of this one.
            sent = self._journal.sent
            run.set_tags({keys.SENT: str(sent)})
            self._told_sent = sent
        except (TakenOver, DamagedJournal):
            raise
        except (TrackingError, OSError) as error:
            # OSError: the journal cannot be read for a moment, or there is no room for a temporary file.
            self._copy_trouble = (
                error if isinstance(error, TrackingError) else TrackingAway(f"no copy is kept: {error}")
            )
            self._troubles += 1
            self._copy_due = time.monotonic() + self._copy_pause
            self._copy_pause = min(2 * self._copy_pause, LONGEST_PAUSE)
        else:
            self._copy_trouble, self._copy_pause = None, FIRST_PAUSE
            took = time.monotonic() - began
            self._copy_due = began + max(COPY_SECONDS, took / COPY_SHARE)

    def _send(self, entry: Entry) -> None:
        """
        Raises:
            TrackingRefused: the store goes on refusing it.
        """
        if self._until_taken(lambda again: self._apply(entry, again)):
            self._journal.mark_sent(self._journal.sent + 1)

    def _pass_on(self, message: _Passing) -> None:
        self._until_taken(lambda again: self._apply(message, again), once=True)

    def _until_taken(self, action: Callable[[bool], object], once: bool = False) -> bool:
        """Whether the store took it before the end of the driver, or, with `once`, at the first time.

        Args:
            action: told whether it was tried before.

        Raises:
            TrackingError: one of FINAL; or TrackingRefused, where the store goes on refusing.
        """
        pause, again, first_refused = FIRST_PAUSE, False, None
        while not self._ending.is_set():
            try:
                action(again)
            except FINAL:
                raise
            except TrackingError as error:
                now = time.monotonic()
                first_refused = (first_refused or now) if isinstance(error, TrackingRefused) else None
                if first_refused is not None and now - first_refused > REFUSED_FOR_SECONDS:
                    raise
                self._trouble = error
                self._troubles += 1
            else:
                self._trouble = None
                return True
            if self._ending.wait(pause) or once:
                break
            pause, again = min(2 * pause, LONGEST_PAUSE), True
        return False

    def _apply(self, entry: Entry | _Passing, again: bool) -> None:
        run = self._run
        assert run is not None, "the thread has reached the store"
        match entry:
            case Opened(trial, at):
                run.open(trial, trial.id not in self._known and not again, at)
                self._known.add(trial.id)
            case Restarted(trial, start, reason):
                run.restarted(trial, start, reason)
            case _Progress(trial, tokens, losses):
                run.progress(trial, tokens, losses)
            case _Shown(tags):
                run.set_tags(tags)
            case Closed(trial, outcome, objective, at):
                run.close(trial, outcome, objective, at)
            case StudyMetrics(metrics, step, at, tags):
                # What the study has to remember is in the journal, and read from its copy: no person needs it as a tag.
                shown = {name: value for name, value in tags.items() if name in keys.SHOWN}
                run.log_metrics(metrics, step, at, {**shown, keys.SENT: str(self._journal.sent)})
            case Written(_, data, file):
                run.attach(json.dumps(data, indent=2, allow_nan=False), file)
            case Finished():
                run.end("FINISHED")


def _now() -> int:
    """In ms of Unix time, for people who look: nothing is decided by it."""
    return int(time.time() * 1000)


def _unexpected(error: Exception) -> TrackingError:
    return TrackingError(
        f"a record could not be sent to MLflow: {type(error).__name__}: {error}",
        hint="nothing recorded is lost; mend the cause, then run the same command to resume",
    )
