"""Trials trained by a command of one's own: a script, a batch system's `sbatch --wait`, anything.

Each trial has a folder in the study's, `trials/<id>`:

    mixture.json    what to train (mixopt/workers/foreign.py)
    losses.json     what it measured, written by the command
    log.txt         what the command printed
    exit            its exit status, once it has ended
    running         locked as long as the command, or what it started and did not cut off from it, lives
    process         its session of processes, and whose it is, for whoever ends it; and which start of the trial it is

A driver that is killed leaves its commands alone. The next one finds by `running`, and by their session, which also
holds what has closed its descriptors, that they live, and waits for them; finds what has ended meanwhile by `exit` and
`losses.json`; and starts again what is gone without. Nothing that has ended is trained twice, and whatever a trainer
left in its folder is there for its next start. What a failure left counts until the trial is begun anew
(--retry-failed).
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from mixopt.base.errors import ConfigError
from mixopt.settings.schema import PLACEHOLDER, PLACES
from mixopt.workers.executor import Executor
from mixopt.workers.foreign import Order
from mixopt.workers.messages import Event, TrialEnd, TrialRestart
from proxies.storage import write_whole
from search.trial import Failure, FailureKind, Measurement

LOOK_SECONDS = 0.25
# From SIGTERM to SIGKILL.
ENDS_WITHIN_SECONDS = 10.0
# Of a log, its end: what is kept of a failure.
KEPT_BYTES = 8000
# What is in a trial's folder that its trainer did not leave there.
KEPT_OF_TRIAL = frozenset(
    {"mixture.json", "losses.json", "losses.failed.json", "log.txt", "exit", "exit.part", "running", "process"}
)
# Its status outlives the driver.
WRAPPER = "(\n%s\n) >>log.txt 2>&1 </dev/null; echo $? >exit.part && mv exit.part exit"


@dataclass
class _Run:
    """A trial whose command runs, here or left by an earlier driver."""

    order: Order
    start: int = 1
    began: float = field(default_factory=time.monotonic)
    ending: float | None = None
    """Since when what its command left behind is being ended."""

    @property
    def folder(self) -> Path:
        return self.order.folder

    @property
    def status(self) -> int | None:
        """Of the command that has ended; None while it runs, or where it was killed with all that belongs to it."""
        with suppress(FileNotFoundError, ValueError):
            return int((self.folder / "exit").read_text())
        return None

    @property
    def lives(self) -> bool:
        """Whether the command, or something that it started, is still there."""
        return self._is_locked or bool(self.processes())

    @property
    def _is_locked(self) -> bool:
        try:
            descriptor = os.open(self.folder / "running", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    @property
    def process(self) -> dict[str, Any]:
        """What was kept of its last start; empty where there is none."""
        with suppress(OSError, ValueError, TypeError):
            return dict(json.loads((self.folder / "process").read_text()))
        return {}

    def processes(self) -> list[psutil.Process]:
        """What lives in the session of its last start, on this machine."""
        process = self.process
        group = process.get("group")
        if not isinstance(group, int):
            return []
        # A number is given out again once nobody of its session is left, and on another machine it is another's.
        now, then = _identity(group), {name: process.get(name) for name in ("host", "group", "began", "booted")}
        return _session(group) if now in (then, {**then, "began": None}) else []

    def told(self) -> object | None:
        """What the command wrote; None where it is not there, or not whole."""
        with suppress(OSError, ValueError):
            told: object = json.loads((self.folder / "losses.json").read_text(encoding="utf-8"))
            return told
        return None

    def forget(self) -> None:
        """So that the next start is not taken for this one; what was told stays to be looked at."""
        (self.folder / "exit").unlink(missing_ok=True)
        (self.folder / "process").unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            (self.folder / "losses.json").rename(self.folder / "losses.failed.json")

    def log_end(self) -> str:
        with suppress(OSError), (self.folder / "log.txt").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - KEPT_BYTES))
            return log.read().decode(errors="replace").strip()
        return ""


class Command(Executor[Order]):
    """
    Args:
        run: the command, with placeholders, for the shell.
        home: the folder in which it is run.
        patience: seconds that losses may still come after the command has ended well.
    """

    def __init__(self, run: str, home: Path, slots: int, attempts: int, patience: float) -> None:
        self._command = run
        self._home = home
        self._slots = slots
        self._attempts = attempts
        self._patience = patience
        self._runs: dict[str, _Run] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def slots(self) -> int:
        return self._slots

    def launch(self, job: Order) -> None:
        run = self._runs[job.trial.id] = _Run(job)
        run.start = int(run.process.get("start", 1))
        # What an earlier driver left may live, or have ended: then it is looked at as if it had ended here.
        if run.status is None and not run.lives:
            self._start(run)

    def forget(self, job: Order) -> None:
        _Run(job).forget()

    def events(self) -> Iterator[Event]:
        deadline = time.monotonic() + LOOK_SECONDS
        ended = [event for run in [*self._runs.values()] for event in self._look_at(run)]
        yield from ended
        if not ended:
            time.sleep(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        for run in self._runs.values():
            self._signal(run, signal.SIGTERM)
        deadline = time.monotonic() + ENDS_WITHIN_SECONDS
        while (left := [run for run in self._runs.values() if run.lives]) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
            self._reap()
        for run in left:
            self._signal(run, signal.SIGKILL)
        self._runs.clear()
        self._reap()

    def _look_at(self, run: _Run) -> Iterator[Event]:
        """The end of a trial, if it has come, or its next start."""
        if run.status is None and run.lives:
            return
        self._reap()
        status = run.status  # it may have ended since
        # Without an exit status whatever is there may be of some point on the way.
        told = run.told() if status == 0 else None
        if told is not None:
            yield self._ended(run, self._understood(run, told))
        elif status == 0:
            waited = time.time() - (run.folder / "exit").stat().st_mtime
            if waited > self._patience:
                reason = f"the command ended well and wrote no whole losses.json within {self._patience:g} s"
                yield self._ended(run, self._failure(run, reason))
        else:
            reason = "its command is gone" if status is None else f"its command ended with status {status}"
            if run.lives and not self._are_ended(run):
                return
            if run.start < self._attempts:
                run.start += 1
                self._start(run)
                yield TrialRestart(run.order.trial, run.start, reason)
            else:
                yield self._ended(run, self._failure(run, reason))

    def _are_ended(self, run: _Run) -> bool:
        """Whether what a command that failed left behind is gone, or can be waited for no longer: it is told to end."""
        if run.ending is None:
            run.ending = time.monotonic()
            self._signal(run, signal.SIGTERM)
        waited = time.monotonic() - run.ending
        if ENDS_WITHIN_SECONDS < waited < 2 * ENDS_WITHIN_SECONDS:
            self._signal(run, signal.SIGKILL)
        return not run.lives or waited > 2 * ENDS_WITHIN_SECONDS

    def _ended(self, run: _Run, outcome: Measurement | Failure) -> TrialEnd:
        del self._runs[run.order.trial.id]
        return TrialEnd(run.order.trial, outcome)

    def _understood(self, run: _Run, told: object) -> Measurement | Failure:
        seconds = time.monotonic() - run.began
        try:
            return run.order.outcome(told, seconds)
        except ConfigError as mistake:
            return Failure(FailureKind.ERROR, f"losses.json: {mistake}", seconds)

    def _failure(self, run: _Run, reason: str) -> Failure:
        log = run.log_end()
        last = f": {log.splitlines()[-1][:200]}" if log else ""
        message = f"{reason}{last} ({run.folder / 'log.txt'})"
        return Failure(FailureKind.ERROR, message, time.monotonic() - run.began, log)

    def _start(self, run: _Run) -> None:
        folder = run.folder
        folder.mkdir(parents=True, exist_ok=True)
        run.forget()
        write_whole(folder / "mixture.json", run.order.json_text().encode())
        values = places(run.order)
        command = filled_in(self._command, values)
        script = f"cd {shlex.quote(str(self._home))} || exit\n{command}"
        variables = {f"MIXOPT_{name.upper()}": value for name, value in values.items()}
        # A new file: whoever holds the lock on one of an earlier start, and could not be ended, is not waited for.
        (folder / "running").unlink(missing_ok=True)
        run.ending = None
        held = os.open(folder / "running", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            # Inherited by the command and its children, and open as long as one of them lives.
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            child = subprocess.Popen(
                ["/bin/sh", "-c", WRAPPER % script],
                cwd=folder,
                env=os.environ | variables,
                pass_fds=(held,),
                start_new_session=True,
            )
        finally:
            os.close(held)
        self._children[run.order.trial.id] = child
        write_whole(folder / "process", json.dumps({**_identity(child.pid), "start": run.start}).encode())

    def _signal(self, run: _Run, number: int) -> None:
        for process in run.processes():
            with suppress(psutil.Error):
                process.send_signal(number)

    def _reap(self) -> None:
        for trial, child in [*self._children.items()]:
            if child.poll() is not None:
                del self._children[trial]


def places(order: Order) -> dict[str, str]:
    """What stands for each placeholder of a command."""
    fidelity = order.trial.fidelity
    return {
        "mixture_file": str(order.folder / "mixture.json"),
        "out": str(order.folder / "losses.json"),
        "folder": str(order.folder),
        "trial": order.trial.id,
        "seed": str(order.seed),
        "proxy": fidelity.proxy,
        "params": str(fidelity.params),
        "tokens": str(fidelity.tokens),
    }


def filled_in(command: str, values: dict[str, str]) -> str:
    return PLACEHOLDER.sub(lambda found: shlex.quote(values[found[1]]), command)


def check_syntax(command: str) -> None:
    """
    Raises:
        ConfigError: the shell cannot read the command.
    """
    script = filled_in(command, dict.fromkeys(PLACES, "x"))
    done = subprocess.run(
        ["/bin/sh", "-n", "-c", script], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise ConfigError(f"the shell cannot read it: {said[0] if said else 'sh -n says no'}", hint="mend the command")


def _session(leader: int) -> list[psutil.Process]:
    """The processes of the session that this one began; without those that have died, and wait to be noticed."""
    found = []
    for number in psutil.pids():
        with suppress(OSError, psutil.Error):
            if os.getsid(number) == leader and (process := psutil.Process(number)).status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _identity(group: int) -> dict[str, Any]:
    """Which session of all machines and times it is, by when its leader began; None where that has ended."""
    try:
        began = psutil.Process(group).create_time()
    except psutil.Error:
        began = None
    return {"host": socket.gethostname(), "group": group, "began": began, "booted": psutil.boot_time()}
