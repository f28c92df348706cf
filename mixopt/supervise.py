"""`python -m mixopt.supervise study.yaml`: runs `mixopt run study.yaml`, again where it dies before its end.

This is what a submitted job starts. It loads nothing that could make it die itself, and if it is killed all the same,
the study dies with it: otherwise it would go on using the cluster, where nobody could see or stop it.

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
from collections.abc import Callable
from pathlib import Path
from typing import IO

from mixopt.settings.environment import JOURNAL_VARIABLE, RESTARTED_VARIABLE

# Finished, a mistake of the user's, interrupted: what running again would not change.
FINAL_STATUS = (0, 2, 130)
# The cluster, MLflow or a volume went away, and may come back.
TRY_AGAIN = 75
# So often in a row without progress; of trouble that may pass, which a study waits for itself, some hours of it.
MOST_DEATHS, MOST_TROUBLES = 5, 50
# The pause after the first, twice as long after each further one, and at most.
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 300.0
LAST_LINES = 5
CLOSED = b'{"closed":"'  # how a line of a journal begins that tells a trial's end
PR_SET_PDEATHSIG = 1


def supervise(arguments: list[str]) -> int:
    """Returns the exit status of the last run."""
    study, *options = arguments
    # Ray may unpack the job's folder anew while it runs: whoever stands in it then stands in one that was deleted.
    # -P: nor is the folder in which it stands a place to import modules from.
    command = [sys.executable, "-P", "-m", "mixopt", "run", str(Path(study).absolute()), *options]
    child: subprocess.Popen[bytes] | None = None
    asked_to_end = 0

    def forward(number: int, _: object) -> None:
        nonlocal asked_to_end
        asked_to_end = number
        if child is not None:
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    with tempfile.TemporaryDirectory(prefix="mixopt-") as folder:
        told = Path(folder) / "journal"
        deaths, troubles, ended = 0, 0, 0
        environment = os.environ | {JOURNAL_VARIABLE: str(told)}
        while True:
            child = subprocess.Popen(
                command, cwd="/", env=environment, stderr=subprocess.PIPE, preexec_fn=_die_with(os.getpid())
            )
            if asked_to_end:  # while it was being started
                child.send_signal(asked_to_end)
            environment[RESTARTED_VARIABLE] = "1"  # for the next
            said = _Said(child.stderr)
            status = child.wait()
            said.end()
            if asked_to_end or status in FINAL_STATUS:
                return status if status >= 0 else 128 - status
            ended, before = _ended_trials(told), ended
            if ended > before:
                deaths = troubles = 0
            deaths, troubles = (deaths, troubles + 1) if status == TRY_AGAIN else (deaths + 1, troubles)
            how = f"by signal {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
            if deaths >= MOST_DEATHS or troubles >= MOST_TROUBLES:
                _say(f"the last that the study said:{said.last_lines()}")
                _say(
                    f"the study died {deaths + troubles} times, the last time {how}, and no trial ended between: "
                    f"{said.last_line()}"
                )
                return 1
            _say(f"the study died {how}; it goes on where it was left")
            until = time.monotonic() + min(PAUSE_SECONDS * 2 ** (deaths + troubles - 1), LONGEST_PAUSE_SECONDS)
            while not asked_to_end and (left := until - time.monotonic()) > 0:
                time.sleep(min(left, 0.5))
            if asked_to_end:
                return 128 + asked_to_end


class _Said:
    """Hands on what a study says, and remembers the end of it."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        assert stream is not None
        self._stream = stream
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._thread = threading.Thread(target=self._hand_on, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Wait for the last of it, but not for what the study has started and left behind."""
        self._thread.join(timeout=1)

    def last_lines(self) -> str:
        return "".join(f"\n  {line}" for line in self._lines)

    def last_line(self) -> str:
        return self._lines[-1][:200] if self._lines else "it said nothing"

    def _hand_on(self) -> None:
        for line in self._stream:
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


def _say(line: str) -> None:
    print(f"mixopt supervise: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[1:]))
