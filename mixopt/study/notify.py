"""Tells somebody elsewhere, in one line, when a study ends, stalls or finds a new best: `notify` in the study file.

    driver ──says──▶ Notifier ──a queue──▶ its thread ──▶ a webhook, a command

The study waits for none of it: what cannot be told is in the log, and the study goes on. What was told is remembered
beside the journal before it is sent, so that a driver that goes on tells nothing twice; one that is killed in that
moment has not told it. The webhook's address is a secret: it comes from the environment, and is written nowhere.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import requests

from mixopt.base.errors import ClusterLost, ConfigError
from mixopt.base.http import ask, was_unreachable, why_away
from mixopt.results.answer import Answer
from mixopt.settings.environment import JOURNAL_VARIABLE, WEBHOOK_VARIABLE
from mixopt.settings.schema import NotifySettings, StudyFile
from mixopt.settings.units import show_duration
from mixopt.study.progress import Watcher
from proxies.storage import write_whole
from search.errors import ExplainedError
from search.history import History
from search.objective import UNITS
from search.problem import BASELINE, Problem, Standing
from search.seeds import SEARCH_SEED, is_of_search
from search.trial import Failure, Measurement, Trial
from tracking.errors import TrackingAway, WentOnElsewhere

log = logging.getLogger(__name__)

What = Literal["ended", "failed", "stalled", "best"]
FILE = "notified.json"
# Of one delivery; and of all that wait when the study ends.
WITHIN_SECONDS = 10.0
AT_THE_END_SECONDS = 20.0
# A server that cannot be reached is tried again so often after a while; one that has been reached is not.
PAUSES = (1.0, 3.0)
LOOK_SECONDS = 1.0
# Short trials may well take a minute when a machine is busy; of the first trial nothing is known.
SHORTEST_STALL = 60.0
FIRST_TRIAL_SECONDS = 3600.0
LONGEST_TEXT = 500


@dataclass(frozen=True)
class Note:
    """Something to tell.

    Attributes:
        text: the line.
        fields: the same for programs.
    """

    event: What
    text: str
    fields: Mapping[str, Any]

    def document(self, study: str) -> dict[str, Any]:
        """What a webhook gets; `text` is what Slack and its like show."""
        return {"text": self.text, "event": self.event, "study": study, **self.fields}


@dataclass
class _Told:
    """What was told before, in this run or an earlier one; the study's thread and the notifier's ask."""

    path: Path
    known: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def read(cls, path: Path) -> _Told:
        try:
            known = json.loads(path.read_bytes())
            return cls(path, {str(key): str(value) for key, value in known.items()})
        except (OSError, ValueError, AttributeError):
            return cls(path)

    def is_new(self, event: str, what: str) -> bool:
        """Whether this was not told yet; from now on it was."""
        with self._lock:
            if self.known.get(event) == what:
                return False
            self.known[event] = what
            try:
                write_whole(self.path, json.dumps(self.known).encode())
            except OSError as error:  # told again after a resume, then
                log.warning("what was told is not remembered: %s", error)
            return True


def notify_settings(file: StudyFile) -> NotifySettings | None:
    """What the study file says; else, where this machine names a webhook, that with the defaults."""
    if file.notify is None and os.environ.get(WEBHOOK_VARIABLE):
        return NotifySettings.model_validate({"webhook": {}})
    return file.notify


class Notifier(Watcher):
    """Watches a study, and tells what is worth it; a context, at whose end all is told that can be."""

    def __init__(
        self,
        file: StudyFile,
        problem: Problem,
        history: History,
        shortest_stall: float = SHORTEST_STALL,
        first_trial: float = FIRST_TRIAL_SECONDS,
    ) -> None:
        """
        Args:
            history: what had ended before this run.
            shortest_stall: seconds within which nothing is taken for a stall.
            first_trial: seconds in which the first trial should have ended.
        """
        settings = notify_settings(file)
        assert settings is not None, "somebody wants to be told"
        self._settings = settings
        self._file = file
        self._problem = problem
        self._told = _Told.read(file.work_directory / FILE)
        self._best = _best(problem, history)
        self._ended = len(history.without_running().trials)
        self._shortest_stall = shortest_stall
        self._first_trial = first_trial
        self._lock = threading.Lock()
        # Of each trial that runs, its proxy and since when; and seconds of those that completed, by proxy.
        self._launched: dict[str, tuple[str, float]] = {}
        self._took: dict[str, list[float]] = {}
        self._quiet_since = time.monotonic()
        self._busy = 0
        self._waits: str | None = None
        self._answered = False
        self._notes: queue.SimpleQueue[Note | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._deliver_on, name="notifier", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not self._answered and not _goes_on(error):
            self._failed(error)
        self._notes.put(None)
        self._thread.join(AT_THE_END_SECONDS)
        if self._thread.is_alive():
            log.warning("not everything could be told before the study ended")

    def answered(self, answer: Answer) -> None:
        """The study has its answer."""
        self._answered = True
        what = {"verdict": answer.verdict, "mixture": {name: each.weight for name, each in answer.domains.items()}}
        digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
        self._tell("ended", digest, f"study {self._file.study} has ended: {answer.verdict}", what)

    def launched(self, trial: Trial) -> None:
        with self._lock:
            if not self._launched:
                self._quiet_since = time.monotonic()
            self._launched[trial.id] = (trial.fidelity.proxy, time.monotonic())

    def waits(self, why: str | None) -> None:
        with self._lock:
            self._waits = why

    def paused(self, seconds: float) -> None:
        with self._lock:
            self._quiet_since = time.monotonic()

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1
                self._quiet_since = time.monotonic()

    def closed(self, trial: Trial, outcome: Measurement | Failure, standing: Standing | None) -> None:
        with self._lock:
            now = time.monotonic()
            proxy, since = self._launched.pop(trial.id, (None, now))
            # How long one took that failed says nothing of the others.
            if proxy is not None and isinstance(outcome, Measurement):
                self._took.setdefault(proxy, []).append(now - since)
            self._quiet_since = now
            self._ended += 1
        if standing is None or not self._counts(trial) or not standing.allowed:
            return
        before, self._best = self._best, min(standing.order, self._best)
        # The first is no news, and a baseline is no find.
        if before < math.inf and standing.order < before and not trial.origin.startswith(BASELINE):
            unit = UNITS[self._problem.objective.unit]
            text = (
                f"study {self._file.study}: a new best, objective {standing.objective:.4f} {unit} "
                f"(before: {before:.4f}), trial {trial.id[:6]}, after {self._ended} trials"
            )
            fields = {
                "objective": standing.objective,
                "unit": self._problem.objective.unit,
                "trial": trial.id,
                "trials_ended": self._ended,
                "mixture": trial.mixture.as_dict(),
            }
            self._tell("best", trial.id, text, fields)

    def _counts(self, trial: Trial) -> bool:
        return trial.fidelity == self._problem.target and trial.seed == SEARCH_SEED

    def _failed(self, error: Exception) -> None:
        said = error.message if isinstance(error, ExplainedError) else f"{type(error).__name__}: {error}"
        text = f"study {self._file.study} has ended without an answer: {said}"
        self._tell("failed", f"{self._ended} {said}", text, {"error": said})

    def _tell(self, event: What, what: str, text: str, fields: Mapping[str, Any]) -> None:
        """To be told, unless it was, or nobody asks for it."""
        if ("ended" if event == "failed" else event) not in self._settings.when or not self._told.is_new(event, what):
            return
        line = " ".join(text.split())
        self._notes.put(Note(event, line if len(line) <= LONGEST_TEXT else f"{line[: LONGEST_TEXT - 3]}...", fields))

    # What follows runs in the notifier's thread.

    def _deliver_on(self) -> None:
        while True:
            try:
                note = self._notes.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                try:
                    self._look_for_stall()
                except Exception as error:
                    # What comes later is told all the same.
                    log.warning("whether the study stalls is not known: %s: %s", type(error).__name__, error)
                continue
            if note is None:
                return
            for way, deliver in (("webhook", self._post), ("command", self._run)):
                try:
                    deliver(note)
                except Exception as error:
                    # Whatever it is, the study goes on. An address may stand in it, and is a secret.
                    log.warning("notify.%s: %s was not told: %s", way, note.event, _without_address(error))

    def _look_for_stall(self) -> None:
        with self._lock:
            now, ended, waits = time.monotonic(), self._ended, self._waits
            if not self._launched or self._busy:
                return
            usual, patience = self._expected()
            # From when the trial began that should have ended first: those before it have.
            quiet = now - max(self._quiet_since, min(since for _, since in self._launched.values()))
        if quiet < patience:
            return
        text = f"study {self._file.study} stalls: no trial has ended for {show_duration(quiet)}"
        text += "" if usual is None else f", where one takes {show_duration(usual)}"
        text += "" if waits is None else f"; {waits}"
        fields = {"seconds": round(quiet, 1), "usual_seconds": usual, "trials_ended": ended, "waits": waits}
        self._tell("stalled", str(ended), text, fields)

    def _expected(self) -> tuple[float | None, float]:
        """How long the slowest trials that run usually take, where that is known, and after what a silence is a stall.

        Trials of different proxies take seconds or days, so that none is compared with another's.
        """
        running = {proxy for proxy, _ in self._launched.values()}
        usual = {proxy: median(self._took[proxy]) for proxy in running if proxy in self._took}
        slowest = max(usual.values(), default=0.0)
        patience = max(self._settings.stalled_after * slowest, self._shortest_stall)
        if usual.keys() == running:
            return slowest, patience
        return None, max(patience if usual else 0.0, self._first_trial)

    def _post(self, note: Note) -> None:
        if self._settings.webhook is None:
            return
        url = os.environ.get(self._settings.webhook.env)
        if not url:
            raise ConfigError(f"${self._settings.webhook.env} is not set where the study runs")
        for pause in (*PAUSES, None):
            try:
                answer = ask(url, method="POST", within=WITHIN_SECONDS, document=note.document(self._file.study))
                break
            except requests.ConnectionError as error:
                if pause is None or not was_unreachable(error):
                    raise
            time.sleep(pause)
        if answer.status_code >= 300:
            raise ConfigError(f"{_host(url)} answered {answer.status_code}")

    def _run(self, note: Note) -> None:
        if self._settings.command is None:
            return
        told = {"MIXOPT_MESSAGE": note.text, "MIXOPT_EVENT": note.event, "MIXOPT_STUDY": self._file.study}
        child = subprocess.Popen(
            self._settings.command,
            shell=True,  # it is one, in the user's own file
            cwd=self._file.file.parent,
            env={**os.environ, **told},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            _, errors = child.communicate(json.dumps(note.document(self._file.study)).encode(), WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise ConfigError(f"the command took longer than {WITHIN_SECONDS:.0f} s") from None
        if child.returncode:
            said = errors.decode(errors="replace").strip().splitlines()
            raise ConfigError(f"the command ended with status {child.returncode}{': ' + said[-1] if said else ''}")


def _best(problem: Problem, history: History) -> float:
    """The lowest order of what was searched before."""
    trials = [entry.trial for entry in history.at(problem.target) if is_of_search(entry.trial.seed)]
    standings = (problem.standing(trial, history) for trial in trials if trial.seed == SEARCH_SEED)
    return min((each.order for each in standings if each is not None and each.allowed), default=math.inf)


def _goes_on(error: Exception) -> bool:
    """Whether a supervisor starts the study again."""
    return JOURNAL_VARIABLE in os.environ and isinstance(error, ClusterLost | TrackingAway | WentOnElsewhere)


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the webhook"


def _without_address(error: Exception) -> str:
    if isinstance(error, ConfigError):
        return "the webhook redirects elsewhere" if "redirects" in error.message else error.message
    if isinstance(error, requests.Timeout):
        return f"no answer within {WITHIN_SECONDS:.0f} s"
    if isinstance(error, requests.ConnectionError):
        return why_away(error)
    return type(error).__name__
