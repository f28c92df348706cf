"""Trials that a command of the user's trains: what becomes of them, whatever happens to driver and command."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mixopt
from mixopt.settings.reading import load
from mixopt.study.planning import make_plan
from mixopt.workers.command import Command
from mixopt.workers.messages import TrialEnd
from search.trial import Failure, Measurement
from tests.foreign import STUDY, write_foreign
from tests.program import COMMAND
from tests.program import mixopt as program
from tests.waiting import until

TRAINER = """\
import json, math, os, sys, time
mixture, out = sys.argv[1:3]
with open(mixture) as file:
    order = json.load(file)
with open("starts", "a") as starts:
    starts.write(order["trial"] + "\\n")
print("training", order["trial"])
while os.path.exists("hold"):
    time.sleep(0.05)
if os.path.exists("broken"):
    sys.exit("CUDA error: the trainer broke")
losses = {name: 3 - 0.5 * math.sqrt(share) + 0.1 * share for name, share in order["weights"].items()}
with open(out + ".part", "w") as file:
    json.dump({"losses": losses, "seconds": 5}, file)
os.rename(out + ".part", out)
"""
RUN = f"{sys.executable} train.py {{mixture_file}} {{out}}"


def write_command(folder: Path, run: str = RUN, more: str = "") -> Path:
    text = STUDY.replace("{kind: external}", f"{{kind: command, slots: 3, run: {json.dumps(run)}{more}}}")
    (folder / "train.py").write_text(TRAINER)
    return write_foreign(
        folder, text.replace("trials: 10", "trials: 3").replace("regmix", "random").replace(", surrogate: linear", "")
    )


def starts(folder: Path) -> list[str]:
    path = folder / "starts"
    return path.read_text().split() if path.exists() else []


def test_a_study_comes_to_its_answer_by_a_command(tmp_path: Path) -> None:
    file = write_command(tmp_path)
    done = program("run", file)
    assert done.status == 0, done.stderr
    study = mixopt.Study(file)
    assert study.answer.confirmed
    assert len(starts(tmp_path)) == len(set(starts(tmp_path))) == study.status.trials.completed.total
    assert study.status.training_seconds == 5 * len(starts(tmp_path)), "as the trainer says"


def test_a_driver_that_is_killed_leaves_its_commands_to_the_next(tmp_path: Path) -> None:
    file = write_command(tmp_path)
    (tmp_path / "hold").touch()
    driver = subprocess.Popen([*COMMAND, "run", str(file)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until(lambda: len(starts(tmp_path)) == 3)
    driver.kill()
    driver.wait()
    (tmp_path / "hold").unlink()
    done = program("run", file)
    assert done.status == 0, done.stderr
    assert len(starts(tmp_path)) == len(set(starts(tmp_path))), "nothing was trained twice"


def is_there(group: int) -> bool:
    """Whether any process of a group is."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_interrupted_commands_are_ended_and_begun_again(tmp_path: Path) -> None:
    file = write_command(tmp_path)
    (tmp_path / "hold").touch()
    driver = subprocess.Popen([*COMMAND, "run", str(file)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    until(lambda: len(starts(tmp_path)) == 3)
    driver.send_signal(signal.SIGINT)
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 130, said
    groups = [json.loads(path.read_text())["group"] for path in tmp_path.glob(".mixopt/ours/trials/*/process")]
    assert len(groups) == 3
    until(lambda: not any(map(is_there, groups)))  # what has died is there until the system has taken notice
    (tmp_path / "hold").unlink()
    assert program("run", file).status == 0
    assert len(starts(tmp_path)) == len(set(starts(tmp_path))) + 3


def test_a_command_that_fails_is_tried_again_and_then_a_failure_with_its_last_words(tmp_path: Path) -> None:
    file = write_command(tmp_path, more=", attempts: 2")
    (tmp_path / "broken").touch()
    done = program("run", file)
    assert done.status == 2
    assert "CUDA error: the trainer broke" in done.stderr
    failures = mixopt.Study(file).failures
    assert failures["message"].str.contains("ended with status 1: CUDA error: the trainer broke").all()
    assert {starts(tmp_path).count(trial) for trial in failures["trial"]} == {2}
    (tmp_path / "broken").unlink()
    assert program("run", file, "--retry-failed").status == 0


def test_losses_may_come_after_a_batch_system_took_the_trial_in(tmp_path: Path) -> None:
    file = write_command(tmp_path, run=f"({RUN}) >/dev/null 2>&1 & exit 0", more=", patience: 30s")
    assert program("run", file).status == 0


def test_a_command_without_losses_fails(tmp_path: Path) -> None:
    file = write_command(tmp_path, run="true", more=", patience: 5s")
    done = program("run", file)
    assert done.status == 2
    assert "wrote no whole losses.json within 5 s" in done.stderr


def test_what_a_failed_command_leaves_behind_is_ended_and_holds_nobody_up(tmp_path: Path) -> None:
    file = write_command(tmp_path, run="sleep 300 & echo out of memory; exit 1", more=", attempts: 1")
    began = time.monotonic()
    done = program("run", file)
    assert done.status == 2
    assert "out of memory" in done.stderr
    assert time.monotonic() - began < 60


def test_losses_of_a_command_that_is_gone_do_not_count(tmp_path: Path) -> None:
    """A trainer that renews its losses at each evaluation, on a machine that is started anew."""
    file = write_command(tmp_path)
    (tmp_path / "hold").touch()
    driver = subprocess.Popen([*COMMAND, "run", str(file)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until(lambda: len([*tmp_path.glob(".mixopt/ours/trials/*/process")]) == 3 and len(starts(tmp_path)) == 3)
    driver.kill()
    driver.wait()
    for path in tmp_path.glob(".mixopt/ours/trials/*"):
        (path / "losses.json").write_text(json.dumps({"web": 9.0, "code": 9.0, "books": 9.0}))
        os.killpg(json.loads((path / "process").read_text())["group"], signal.SIGKILL)
    (tmp_path / "hold").unlink()
    assert program("run", file).status == 0
    assert mixopt.Study(file).trials["metric.web"].max() < 9


def outcomes(command: Command, most_seconds: float = 30.0) -> list[Failure | Measurement]:
    """Of what was launched, once the first has ended."""
    found: list[Failure | Measurement] = []
    deadline = time.monotonic() + most_seconds
    while not found and time.monotonic() < deadline:
        found += [event.outcome for event in command.events() if isinstance(event, TrialEnd)]
    return found


@pytest.mark.parametrize(
    "run", ["echo x >>starts; exit 7", "echo x >>starts; echo [] >{out}"], ids=["status", "losses"]
)
def test_a_failure_that_was_not_recorded_is_not_trained_again_and_one_that_is_retried_is(
    run: str, tmp_path: Path
) -> None:
    """The driver dies after the trial and before it has recorded how it ended."""
    plan = make_plan(load(write_command(tmp_path, run)), None)
    order = plan.order(plan.problem.baseline_trials[0])
    for driver in range(2):
        command = Command(run, tmp_path, slots=1, attempts=1, patience=5)
        command.launch(order)
        [outcome] = outcomes(command)
        assert isinstance(outcome, Failure), driver
        assert starts(tmp_path) == ["x"]
    command = Command(run, tmp_path, slots=1, attempts=1, patience=5)
    command.forget(order)
    command.launch(order)
    outcomes(command)
    assert starts(tmp_path) == ["x", "x"]


def test_starts_are_counted_over_drivers(tmp_path: Path) -> None:
    plan = make_plan(load(write_command(tmp_path, run="true")), None)
    order = plan.order(plan.problem.baseline_trials[0])
    run = "echo x >>starts; exit 7"
    first = Command(run, tmp_path, slots=1, attempts=2, patience=5)
    first.launch(order)
    until(lambda: (order.folder / "exit").exists())
    second = Command(run, tmp_path, slots=1, attempts=2, patience=5)
    second.launch(order)
    outcomes(second)
    assert starts(tmp_path) == ["x", "x"]


def test_a_trainer_that_closes_its_descriptors_lives(tmp_path: Path) -> None:
    """As what Python's subprocess starts does, and whoever makes itself a daemon without leaving its session."""
    plan = make_plan(load(write_command(tmp_path, run="true")), None)
    order = plan.order(plan.problem.baseline_trials[0])
    launcher = "import subprocess; subprocess.Popen(['sleep', '300'])"
    command = Command(f"{sys.executable} -c {shlex.quote(launcher)}; kill -9 $$", tmp_path, 1, 1, patience=5)
    command.launch(order)
    run = command._runs[order.trial.id]
    until(lambda: not run._is_locked)
    assert run.lives
    next_driver = Command("echo x >>starts", tmp_path, slots=1, attempts=1, patience=5)
    next_driver.launch(order)
    assert not outcomes(next_driver, most_seconds=1)
    assert starts(tmp_path) == []
    next_driver.close()
    assert not run.lives


def test_a_mistake_in_the_command_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    done = program("validate", write_command(tmp_path, run="for x in {trial}; echo $x"))
    assert done.status == 2
    assert "executor.run: the shell cannot read it: " in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_process_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """Numbers of processes are given out again."""
    plan = make_plan(load(write_command(tmp_path, run="sleep 300")), None)
    order = plan.order(plan.problem.baseline_trials[0])
    other = subprocess.Popen(["sleep", "300"], start_new_session=True)
    time.sleep(0.05)  # a process's beginning is told in hundredths of a second
    try:
        command = Command("sleep 300", tmp_path, slots=1, attempts=1, patience=5)
        command.launch(order)
        own = json.loads((order.folder / "process").read_text())
        (order.folder / "process").write_text(json.dumps({**own, "group": other.pid}))
        command._signal(command._runs[order.trial.id], signal.SIGTERM)
        assert other.poll() is None
        (order.folder / "process").write_text(json.dumps(own))
        command.close()
        with pytest.raises(ProcessLookupError):
            until_gone(own["group"])
    finally:
        other.kill()
        other.wait()


def until_gone(group: int) -> None:
    """
    Raises:
        ProcessLookupError: it is.
    """
    for _ in range(100):
        os.killpg(group, 0)
        time.sleep(0.1)
