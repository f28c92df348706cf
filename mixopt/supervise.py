"""`python -m mixopt.supervise study.yaml`: runs `mixopt run study.yaml`, again where it dies before its end.

This is what a submitted job starts, and what `mixopt run` is itself where a study works on a cluster that somebody else
started. It loads nothing that could make it die itself, and if it is killed all the same, the study dies with it:
otherwise it would go on using the cluster, where nobody could see or stop it.

Whether to go on is judged by progress, which is a trial that ended for the first time, and not by a clock: a study that
dies every hour and trains meanwhile goes on, one that dies every hour and does not is given up.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mixopt.base.interrupt import INTERRUPTED
from mixopt.settings.environment import CAME_TO_ITS_END, JOURNAL_VARIABLE, RESTARTED_VARIABLE, TRY_AGAIN
from mixopt.study.wishes import SUPERVISOR, Wish, ask, asked
from proxies.errors import ProxyError
from proxies.lock import locked

# Finished, a mistake of the user's, interrupted: what running again would not change.
FINAL_STATUS = (0, 2, INTERRUPTED)
# So often in a row without progress; of trouble that may pass, which a study waits for itself, some hours of it.
MOST_DEATHS, MOST_TROUBLES = 5, 50
# The pause after the first, twice as long after each further one, and at most.
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 300.0
LOOK_SECONDS = 0.5
LAST_LINES = 5
CLOSED = b'{"closed":"'  # how a line of a journal begins that tells a trial's end
PR_SET_PDEATHSIG = 1
# How Ray ends a process that works with it, in the middle of whatever it does.
BY_RAY = (1, -signal.SIGABRT, -signal.SIGSEGV)


def supervise(arguments: list[str]) -> int:
    """Run a submitted study to its end; returns the exit status of the last run.

    Args:
        arguments: the study file, then the options of `mixopt run`.
    """
    with tempfile.TemporaryDirectory(prefix="mixopt-") as folder:
        return _Supervisor(arguments, Path(folder) / "journal").run()


def supervise_here(arguments: list[str]) -> int:
    """As `supervise`, for whoever sits before it: the study has the terminal, and goes on only where Ray ended it.

    Somebody who kills it, or sees it fail, is there to run it again.
    """
    with tempfile.TemporaryDirectory(prefix="mixopt-") as folder:
        return _Supervisor(arguments, Path(folder) / "journal", has_terminal=True).run()


@dataclass(frozen=True)
class _End:
    """How a run ended, and what it said last."""

    status: int
    said: tuple[str, ...]

    @property
    def how(self) -> str:
        return f"by signal {signal.Signals(-self.status).name}" if self.status < 0 else f"with status {self.status}"

    @property
    def exit_status(self) -> int:
        return self.status if self.status >= 0 else 128 - self.status


class _Supervisor:
    """
    Args:
        told: where the study writes its journal's path to.
        has_terminal: the study prints for itself.
    """

    def __init__(self, arguments: list[str], told: Path, has_terminal: bool = False) -> None:
        study, *options = arguments
        # Ray may unpack the job's folder anew while it runs: whoever stands in it then stands in one that was deleted.
        # -P: nor is the folder in which it stands a place to import modules from.
        self._command = [sys.executable, "-P", "-m", "mixopt", "run", str(Path(study).absolute()), *options]
        self._environment = os.environ | {JOURNAL_VARIABLE: str(told)}
        self._told = told
        self._came_to_its_end = told.with_suffix(CAME_TO_ITS_END)
        self._has_terminal = has_terminal
        self._child: subprocess.Popen[bytes] | None = None
        self._asked_to_end = 0  # by this signal
        self._setbacks = _Setbacks()
        self._study = ExitStack()  # the lock of its folder, once the study has said which that is
        self._folder: Path | None = None

    def run(self) -> int:
        with self._study, self._signals_handed_on():
            while True:
                end = self._run_once()
                if self._asked_to_end or not self._may_go_on(end):
                    return end.exit_status
                self._setbacks.count(end, _ended_trials(self._told))
                if self._setbacks.are_hopeless:
                    self._give_up(end)
                    return 1
                self._say(f"{self._what_happened(end)}; it goes on where it was left")
                if (status := self._ended_within(self._setbacks.pause)) is not None:
                    return status

    @contextmanager
    def _signals_handed_on(self) -> Iterator[None]:
        def hand_on(number: int, _: object) -> None:
            self._asked_to_end = number
            if self._child is not None:
                self._child.send_signal(number)

        before = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _run_once(self) -> _End:
        self._came_to_its_end.unlink(missing_ok=True)
        self._child = subprocess.Popen(
            self._command,
            cwd=None if self._has_terminal else "/",
            env=self._environment,
            stderr=None if self._has_terminal else subprocess.PIPE,
            preexec_fn=_die_with(os.getpid()),
        )
        if self._asked_to_end:  # while it was being started
            self._child.send_signal(self._asked_to_end)
        self._environment[RESTARTED_VARIABLE] = "1"  # for the next
        said = _Said(self._child.stderr)
        while True:
            with suppress(subprocess.TimeoutExpired):
                status = self._child.wait(LOOK_SECONDS)
                return _End(status, said.to_its_end())
            self._hold_folder()

    def _hold_folder(self) -> None:
        """Once it is known where the study lives, say so there: between two runs it is not over."""
        if self._folder is not None or not self._told.exists() or not (journal := self._told.read_text()):
            return
        self._folder = Path(journal).parent
        # Whatever keeps us from it, the study is to be run.
        with suppress(OSError, ProxyError):
            self._study.enter_context(locked(self._folder / SUPERVISOR))

    def _may_go_on(self, end: _End) -> bool:
        """Whether running again may change how it ended, and is not for others to say."""
        if self._has_terminal:
            return end.status in BY_RAY and self._told.exists() and not self._came_to_its_end.exists()
        return end.status not in FINAL_STATUS

    def _give_up(self, end: _End) -> None:
        if end.said:
            self._say("".join(["the last that the study said:", *(f"\n  {line}" for line in end.said)]))
        last = end.said[-1][:200] if end.said else "mixopt.log in its folder may say why"
        times = self._setbacks.number
        self._say(f"the study died {times} times, the last time {end.how}, and no trial ended between: {last}")

    def _what_happened(self, end: _End) -> str:
        if self._has_terminal:
            return f"Ray ended the study's process {end.how}, as it does where its cluster gets another head"
        return f"the study died {end.how}"

    def _say(self, line: str) -> None:
        # Whoever showed bars and died has left the terminal without its cursor.
        cursor = "\x1b[?25h" if self._has_terminal and sys.stderr.isatty() else ""
        print(f"{cursor}mixopt supervise: {line}", file=sys.stderr, flush=True)

    def _ended_within(self, seconds: float) -> int | None:
        """Wait so long; the exit status, where somebody ends the study meanwhile."""
        until = time.monotonic() + seconds
        while True:
            if self._asked_to_end:
                return 128 + self._asked_to_end
            if self._folder is not None and asked(self._folder) is Wish.CANCEL:
                ask(self._folder, None)
                return INTERRUPTED
            if (left := until - time.monotonic()) <= 0:
                return None
            time.sleep(min(left, LOOK_SECONDS))


class _Setbacks:
    """Deaths of the study since a trial last ended, and troubles that it says may pass."""

    def __init__(self) -> None:
        self._deaths = self._troubles = self._ended = 0

    def count(self, end: _End, ended: int) -> None:
        """One more; by now so many trials have ended."""
        if ended > self._ended:
            self._deaths = self._troubles = 0
        self._ended = ended
        if end.status == TRY_AGAIN:
            self._troubles += 1
        else:
            self._deaths += 1

    @property
    def number(self) -> int:
        return self._deaths + self._troubles

    @property
    def are_hopeless(self) -> bool:
        return self._deaths >= MOST_DEATHS or self._troubles >= MOST_TROUBLES

    @property
    def pause(self) -> float:
        """Seconds before the next run."""
        return min(PAUSE_SECONDS * 2.0 ** (self.number - 1), LONGEST_PAUSE_SECONDS)


class _Said:
    """Hands on what a study says, and remembers the end of it; nothing, where it says that elsewhere."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._stream = stream
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._thread = threading.Thread(target=self._hand_on, daemon=True)
        self._thread.start()

    def to_its_end(self) -> tuple[str, ...]:
        """The last of it; what the study has started and left behind is not waited for."""
        self._thread.join(timeout=1)
        return tuple(self._lines)

    def _hand_on(self) -> None:
        for line in self._stream or ():
            sys.stderr.buffer.write(line)
            sys.stderr.flush()
            if text := line.decode(errors="replace").strip():
                self._lines.append(text)


def _ended_trials(told: Path) -> int:
    """How many trials have ended, by the journal whose path the study has written to `told`."""
    try:
        with Path(told.read_text()).open("rb") as journal:
            return len({line.split(b'"', 4)[3] for line in journal if line.startswith(CLOSED)})
    except (OSError, IndexError):
        return 0


def _die_with(parent: int) -> Callable[[], None] | None:
    """What a child process does first, so that it is killed when its parent dies, however that happens."""
    if sys.platform != "linux":
        return None  # a child of a supervisor that was killed ends only by itself
    prctl = ctypes.CDLL(None).prctl

    def kill_me_then() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before that
            os.kill(os.getpid(), signal.SIGKILL)

    return kill_me_then


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[1:]))
