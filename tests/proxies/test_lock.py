"""One process at a time, and word of who it is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxies.errors import ProxyError
from proxies.lock import FOREVER, LockHeld, locked

HOLDER = """
import sys, time
from pathlib import Path
from proxies.lock import locked

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def held(file: Path, seconds: float) -> subprocess.Popen[str]:
    """A process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def holder(file: Path) -> Iterator[subprocess.Popen[str]]:
    with held(file, 60) as process:
        yield process
        process.kill()


def test_the_holder_is_named_with_its_machine(file: Path, holder: subprocess.Popen[str]) -> None:
    for wait_seconds in (0, 0.3):
        with pytest.raises(LockHeld) as error, locked(file, wait_seconds):
            pass
        assert error.value.holder == f"process {holder.pid} on {socket.gethostname()}"
        assert str(file) in error.value.message


def test_the_lock_of_a_killed_holder_is_free(file: Path, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with locked(file), pytest.raises(LockHeld) as error, locked(file):
        pass
    assert error.value.holder.startswith(f"process {os.getpid()} ")


def test_it_is_waited_for(file: Path) -> None:
    with held(file, 0.5):
        began = time.monotonic()
        with locked(file, FOREVER):
            assert time.monotonic() - began > 0.2


def test_a_link_is_not_followed(file: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    file.symlink_to(victim)
    with pytest.raises(ProxyError, match="symbolic link"), locked(file):
        pass
    assert victim.read_text() == "kept"
