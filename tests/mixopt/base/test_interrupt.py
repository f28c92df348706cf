"""Ctrl-C at any moment: one line, the same exit status, and nothing cut off that must not be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mixopt.base.interrupt import Interrupts, held_back
from tests.waiting import until

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])

# The program, which loads something that takes for ever to be loaded.
LOADING = """
import sys
from pathlib import Path
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            Path(sys.argv[1]).touch()
            import time
            try:
                time.sleep(60)
            except BaseException:
                pass  # as some libraries do
sys.meta_path.insert(0, Slow())
from mixopt.program import main
main()
"""
# A program that is interrupted, with a library that crashes when the interpreter is taken apart.
CRASHING = """
import sys, atexit, os, signal
from mixopt import program
from mixopt.cli import main
class Crashes:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGSEGV)
sys.crashes = Crashes()
atexit.register(lambda: print("in order"))
def command_line():
    print("said", end=" ")
    raise SystemExit(130)
main.main = command_line
program.main()
"""


@BOTH
def test_while_libraries_are_loaded_one_line_is_said_and_the_program_gone(
    tmp_path: Path, number: signal.Signals
) -> None:
    loading = tmp_path / "loading"
    with subprocess.Popen([sys.executable, "-c", LOADING, str(loading)], stderr=subprocess.PIPE, text=True) as program:
        until(loading.exists)
        program.send_signal(number)
        _, said = program.communicate(timeout=10)
    assert (program.returncode, said) == (130, "interrupted; nothing was begun\n")


def test_a_program_that_was_interrupted_ends_with_its_status_whatever_libraries_leave_behind() -> None:
    ended = subprocess.run([sys.executable, "-c", CRASHING], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (130, "said in order\n"), ended.stderr


@BOTH
def test_what_is_held_back_interrupts_at_the_end(number: signal.Signals) -> None:
    done: list[str] = []
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt), held_back(lambda: done.append("said")):
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
            done.append("all of it")
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as Ray does with a handler of its own
        assert interrupts.came
        assert done == ["said", "all of it"]
        with held_back():
            pass
        assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_IGN, signal.SIG_DFL)


def test_an_error_of_what_is_held_back_is_its_own() -> None:
    with Interrupts(), pytest.raises(OSError, match="of its own"), held_back():
        raise OSError("of its own")


def test_one_ctrl_c_that_comes_twice_is_one_and_a_swallowed_one_is_known() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        assert not interrupts.came
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.came
        time.sleep(1.1)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)  # that way is being gone already
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def work() -> None:
        with Interrupts() as interrupts, held_back():
            seen.extend([interrupts.are_heard, signal.getsignal(signal.SIGTERM)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, before]
