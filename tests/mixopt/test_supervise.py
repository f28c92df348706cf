"""The supervisor of a submitted study: it runs again what died, ends what was stopped, and leaves nothing behind."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mixopt.study.wishes import Wish, ask, asked, has_ended, main, runner
from tests.processes import named

# A supervisor whose study is a shell script.
PROGRAM = """
import sys
from mixopt import supervise
sys.executable, supervise.PAUSE_SECONDS = sys.argv[1], float(sys.argv[2])
sys.exit(getattr(supervise, sys.argv[3])(["study.yaml"]))
"""


class Supervised:
    """
    Args:
        script: what the study does each time; `$starts` is how often it was started.
        pause: seconds, after the first death.
        how: supervise, or supervise_here.
    """

    def __init__(self, folder: Path, script: str, pause: float = 0, how: str = "supervise") -> None:
        self.folder = folder
        study = folder / "study"
        count = f"echo $$ >> {folder}/starts; starts=$(wc -l < {folder}/starts)"
        study.write_text(f'#!/bin/sh\necho "$@" > {folder}/arguments\n{count}\n{script}\n')
        study.chmod(0o755)
        program = [sys.executable, "-c", PROGRAM, str(study), str(pause), how]
        self.process = subprocess.Popen(program, stderr=subprocess.PIPE, text=True)

    @property
    def starts(self) -> list[int]:
        """The process of each start of the study."""
        path = self.folder / "starts"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def end(self) -> int:
        return self.process.wait(timeout=30)

    def begun(self) -> int:
        """The study's process, once it runs."""
        _until(lambda: self.starts)
        return self.starts[-1]


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


Start = Callable[..., Supervised]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Start]:
    started: list[Supervised] = []

    def start(script: str, pause: float = 0, how: str = "supervise") -> Supervised:
        started.append(Supervised(tmp_path, script, pause, how))
        return started[-1]

    yield start
    for supervised in started:
        supervised.process.kill()
        supervised.end()


@pytest.mark.parametrize("status", [0, 2, 130])
def test_an_end_that_running_again_would_not_change_is_the_end(supervise: Start, tmp_path: Path, status: int) -> None:
    supervised = supervise(f"exit {status}")
    assert supervised.end() == status
    assert len(supervised.starts) == 1
    assert (tmp_path / "arguments").read_text() == f"-P -m mixopt run {Path.cwd() / 'study.yaml'}\n"


def test_a_study_that_was_killed_or_crashed_goes_on(supervise: Start) -> None:
    supervised = supervise('[ "$starts" = 1 ] && kill -9 $$; [ "$starts" = 2 ] && exit 1; exit 0')
    assert supervised.end() == 0
    assert len(supervised.starts) == 3
    assert supervised.process.stderr is not None
    said = supervised.process.stderr.read()
    assert "died by signal SIGKILL" in said
    assert "died with status 1" in said


def test_a_study_that_is_started_again_is_told_so(supervise: Start, tmp_path: Path) -> None:
    supervised = supervise(f'echo "$MIXOPT_RESTARTED" >> {tmp_path}/told; [ "$starts" = 3 ]')
    assert supervised.end() == 0
    assert (tmp_path / "told").read_text().split("\n") == ["", "1", "1", ""]


# What a study does that ends a trial, `$1`.
END_TRIAL = """end_trial() { echo "{\\"closed\\":\\"$1\\",\\"failure\\":{}}" >> FOLDER/journal; }
printf FOLDER/journal > "$MIXOPT_JOURNAL_PATH"
"""


@pytest.mark.parametrize(
    "script", ["", "end_trial same"], ids=["without a trial's end", "with the end of the same trial again"]
)
def test_one_that_dies_again_and_again_without_progress_is_given_up_and_says_why(
    supervise: Start, tmp_path: Path, script: str
) -> None:
    script = END_TRIAL.replace("FOLDER", str(tmp_path)) + script
    supervised = supervise(f"{script}\necho 'no more memory for the fit' >&2; kill -9 $$")
    assert supervised.end() == 1
    assert len(supervised.starts) == 5
    assert supervised.process.stderr is not None
    said = supervised.process.stderr.read().splitlines()
    assert said.count("no more memory for the fit") == 5, "it is handed on"
    assert "died 5 times, the last time by signal SIGKILL, and no trial ended between: no more memory" in said[-1]


def test_one_that_dies_and_makes_progress_goes_on(supervise: Start, tmp_path: Path) -> None:
    script = END_TRIAL.replace("FOLDER", str(tmp_path)) + "end_trial number-$starts\n"
    supervised = supervise(f'{script}[ "$starts" = 12 ] && exit 0; kill -9 $$')
    assert supervised.end() == 0
    assert len(supervised.starts) == 12


def test_trouble_that_may_pass_is_waited_for_longer(supervise: Start) -> None:
    supervised = supervise('[ "$starts" = 12 ] && exit 0; exit 75')
    assert supervised.end() == 0
    assert len(supervised.starts) == 12


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_stops_the_supervisor_stops_the_study(supervise: Start, tmp_path: Path, number: signal.Signals) -> None:
    supervised = supervise(f"trap 'exit 130' TERM INT; touch {tmp_path}/ready; while :; do sleep 0.05; done")
    _until((tmp_path / "ready").exists)
    supervised.process.send_signal(number)
    assert supervised.end() == 130
    assert len(supervised.starts) == 1


def test_between_two_runs_the_study_is_not_over_and_hears_what_is_asked(supervise: Start, tmp_path: Path) -> None:
    script = END_TRIAL.replace("FOLDER", str(tmp_path))
    supervised = supervise(f"{script}sleep 2; kill -9 $$", pause=60)
    _until(lambda: runner(tmp_path))
    first = runner(tmp_path)
    assert first is not None and first == f"the supervisor (process {supervised.process.pid} on {socket.gethostname()})"
    assert main(["pause", tmp_path.name, str(tmp_path.parent)]) is None
    assert asked(tmp_path) is Wish.PAUSE, "for the next"
    _until(lambda: not named(supervised.begun()))
    assert not has_ended(tmp_path, "process 1 on the machine that ran it")
    ask(tmp_path, Wish.CANCEL)
    assert supervised.end() == 130
    assert len(supervised.starts) == 1
    assert asked(tmp_path) is None
    assert has_ended(tmp_path, "process 1 on the machine that ran it")


# What a study does that has begun, and that comes to its end.
BEGUN = END_TRIAL
ENDS = 'touch "$MIXOPT_JOURNAL_PATH.ended"\n'


@pytest.mark.parametrize("death", ["exit 1", "kill -ABRT $$", "kill -SEGV $$"])
def test_before_a_person_one_that_ray_ended_goes_on(supervise: Start, tmp_path: Path, death: str) -> None:
    script = BEGUN.replace("FOLDER", str(tmp_path))
    supervised = supervise(f'{script}[ "$starts" = 1 ] && {death}; {ENDS}exit 0', how="supervise_here")
    assert supervised.end() == 0
    assert len(supervised.starts) == 2
    assert supervised.process.stderr is not None
    assert "Ray ended the study's process" in supervised.process.stderr.read()


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (f"{BEGUN}{ENDS}exit 1", 1),
        (f"{BEGUN}{ENDS}exit 75", 75),
        (f"{BEGUN}kill -9 $$", 128 + 9),
        ("exit 1", 1),
        (f"{BEGUN}{ENDS}exit 130", 130),
    ],
    ids=["an error", "trouble that may pass", "killed by somebody", "before it has begun", "interrupted"],
)
def test_before_a_person_every_other_end_is_the_end(supervise: Start, tmp_path: Path, script: str, status: int) -> None:
    supervised = supervise(script.replace("FOLDER", str(tmp_path)), how="supervise_here")
    assert supervised.end() == status
    assert len(supervised.starts) == 1
    assert supervised.process.stderr is not None
    assert supervised.process.stderr.read() == ""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot tie a process to its parent")
def test_a_study_does_not_outlive_a_supervisor_that_is_killed(supervise: Start) -> None:
    supervised = supervise("trap '' TERM; while :; do sleep 0.05; done")
    study = supervised.begun()
    supervised.process.kill()
    supervised.end()
    _until(lambda: not named(study))


def test_it_loads_nothing_heavy() -> None:
    program = "import sys, mixopt.supervise; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "ray", "mlflow", "numpy", "pydantic"} & set(loaded)
