"""`python -m mixopt.supervise study.yaml`: runs `mixopt run study.yaml`, again where it dies before its end.

This is what a submitted job starts. It loads nothing that could make it die itself, and if it is killed all the same,
the study dies with it: otherwise it would go on using the cluster, where nobody could see or stop it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

# Finished, a mistake of the user's, interrupted: what running again would not change.
FINAL_STATUS = (0, 2, 130)
MOST_DEATHS = 5
WITHIN_SECONDS = 600.0
PAUSE_SECONDS = 2.0
PR_SET_PDEATHSIG = 1


def supervise(arguments: list[str]) -> int:
    """Returns the exit status of the last run."""
    study, *options = arguments
    # Ray may unpack the job's folder anew while it runs: whoever stands in it then stands in one that was deleted.
    # -P: nor is the folder in which it stands a place to import modules from.
    command = [sys.executable, "-P", "-m", "mixopt", "run", str(Path(study).absolute()), *options]
    deaths: deque[float] = deque(maxlen=MOST_DEATHS)
    child: subprocess.Popen[bytes] | None = None
    asked_to_end = 0

    def forward(number: int, _: object) -> None:
        nonlocal asked_to_end
        asked_to_end = number
        if child is not None:
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    while True:
        child = subprocess.Popen(command, cwd="/", preexec_fn=_die_with(os.getpid()))
        if asked_to_end:  # while it was being started
            child.send_signal(asked_to_end)
        status = child.wait()
        if asked_to_end or status in FINAL_STATUS:
            return status if status >= 0 else 128 - status
        deaths.append(time.monotonic())
        if len(deaths) == MOST_DEATHS and deaths[-1] - deaths[0] < WITHIN_SECONDS:
            _say(f"the study died {MOST_DEATHS} times within {WITHIN_SECONDS / 60:.0f} minutes; see above why")
            return 1
        how = f"by signal {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        _say(f"the study died {how}; it goes on where it was left")
        time.sleep(PAUSE_SECONDS)
        if asked_to_end:
            return 128 + asked_to_end


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
