"""Work beside this process: done without a second run of the program, and over when the program is."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil
import pytest

from proxies.errors import ProxyError
from proxies.processes import process_pool


def root(number: float) -> float:
    return float(number**0.5)


def threads() -> str | None:
    return os.environ.get("OMP_NUM_THREADS")


def refuse(why: str) -> None:
    raise ProxyError(why, hint="add text")


def greet(name: str) -> None:
    os.environ["GREETED"] = name


def test_tasks_are_done_by_processes_that_began_as_told() -> None:
    with process_pool(2, greet, "reader", threads=1) as pool:
        assert list(pool.map(root, [4.0, 9.0, 16.0])) == [2.0, 3.0, 4.0]
        assert pool.submit(os.getenv, "GREETED").result() == "reader"
        assert pool.submit(threads).result() == "1"
        assert pool.submit(os.getpid).result() != os.getpid()
    assert not multiprocessing.active_children()


def test_a_mistake_of_the_user_stays_what_it_is() -> None:
    with process_pool(1) as pool, pytest.raises(ProxyError) as error:
        pool.submit(refuse, "no text").result()
    assert (error.value.message, error.value.hint) == ("no text", "add text")


def test_a_process_that_dies_is_noticed() -> None:
    with pytest.raises(BrokenProcessPool), process_pool(2) as pool:
        pool.submit(os._exit, 9).result()
    assert not multiprocessing.active_children()


def test_an_error_ends_what_is_still_computed() -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), process_pool(2) as pool:
        pool.submit(time.sleep, 600)
        assert pool.submit(root, 4.0).result() == 2
        raise KeyboardInterrupt
    assert time.monotonic() - began < 60
    assert not multiprocessing.active_children()


def much(size: int) -> bytes:
    return bytes(size)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("milliseconds", [40, 80, 120, 160])
def test_an_error_waits_for_nothing_that_was_half_sent(milliseconds: int) -> None:
    """A result far larger than a pipe is under way, at one of these moments, when its process is killed."""
    with pytest.raises(KeyboardInterrupt), process_pool(1) as pool:
        pool.submit(root, 4.0).result()
        pool.submit(much, 2**27)
        time.sleep(milliseconds / 1000)
        raise KeyboardInterrupt
    assert not multiprocessing.active_children()


UNGUARDED = """
import os, sys, time
from proxies.processes import process_pool

print("begun", flush=True)
with process_pool(2) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    if sys.argv[1:] == ["forever"]:
        pool.submit(time.sleep, 600).result()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(UNGUARDED)
    return path


def test_an_unguarded_script_runs_once(script: Path) -> None:
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.count("begun") == 1
    assert done.stderr == ""


def test_a_killed_program_takes_its_processes_along(script: Path) -> None:
    with subprocess.Popen([sys.executable, script, "forever"], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "begun\n"
        child = psutil.Process(int(program.stdout.readline()))
        os.kill(program.pid, signal.SIGKILL)
        psutil.wait_procs([child], timeout=30)
        assert not child.is_running()


@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.3])
def test_a_process_that_only_starts_leaves_ctrl_c_to_its_parent(script: Path, seconds: float) -> None:
    """A terminal tells all processes of a Ctrl-C, also those that have not begun yet."""
    with subprocess.Popen(
        [sys.executable, script, "forever"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None and parent.stderr is not None
        assert parent.stdout.readline() == "begun\n"
        time.sleep(seconds)
        os.killpg(parent.pid, signal.SIGINT)
        said = parent.stderr.read()
    assert parent.returncode == -signal.SIGINT
    assert said.count("Traceback") == 1 and "spawn_main" not in said
