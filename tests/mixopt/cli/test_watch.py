"""A study as it goes: `mixopt watch`, in a terminal and without one."""

from __future__ import annotations

import io
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from mixopt.base.files import locked
from mixopt.cli import watch
from mixopt.cli.tables.watch import Curve, changes
from mixopt.results.status import BestSoFar, Improvement
from mixopt.study import now
from mixopt.study.loop import Loop
from mixopt.study.now import Teller
from mixopt.study.plan import Plan
from mixopt.study.progress import LineWatcher, Several
from mixopt.study.record import open_store
from mixopt.study.recording import begin
from mixopt.study.status import status_of
from mixopt.workers.messages import Event, TrialEnd, TrialProgress
from tests.program import mixopt
from tests.simulated import Simulated, measured, planned, run
from tests.terminal import WIDTH, terminal


class Slow(Simulated):
    """Each trial takes a moment, half of it after it has said how far it is."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def events(self) -> Iterator[Event]:  # type: ignore[override]
        while self._launched:
            trial = self._launched.pop(0).trial
            yield TrialProgress(trial, trial.fidelity.tokens // 2, 3.0, 1000.0, None)
            time.sleep(self._seconds)
            yield TrialEnd(trial, measured(trial))


def drive(plan: Plan, seconds: float) -> None:
    folder = plan.file.work_directory
    teller = Teller(folder)
    with locked(folder, "study small"), teller, begin(plan, open_store(plan.file)) as recorder:
        watcher = Several(LineWatcher(Console(file=io.StringIO())), teller)
        study = Loop(plan, recorder, Slow(seconds), watcher)
        study.run()
        study.finish()


@pytest.mark.slow
def test_in_a_terminal_it_is_drawn_until_the_study_has_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(now, "WRITE_SECONDS", 0.1)
    plan = planned(tmp_path)
    driver = threading.Thread(target=drive, args=(plan, 1.0))
    driver.start()
    with terminal("watch", plan.file.file) as shown:
        shown.until(lambda text: "/15 trials" in text and "50% of" in text and "best so far" in text)
        assert shown.ends() == 0
        lines = shown.plain.replace("\r", "\n").splitlines()
    driver.join()
    assert max(map(len, lines)) <= WIDTH
    text = "\n".join(lines)
    assert "confirming" in text and "Ctrl-C leaves; the study goes on" in text
    assert "The answer of study small" in text and f"all of it: mixopt best {plan.file.file}" in re.sub(r"\n", "", text)


@pytest.mark.slow
def test_ctrl_c_leaves_quietly_and_the_study_goes_on(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    with begin(plan, open_store(plan.file)) as recorder:
        recorder.open(plan.problem.baseline_trials[0])
    folder = plan.file.work_directory
    with locked(folder, "study small"), Teller(folder), terminal("watch", plan.file.file, NO_COLOR="1") as shown:
        shown.until(lambda text: "Ctrl-C leaves" in text)
        os.kill(shown.process.pid, signal.SIGINT)
        assert shown.ends() == 130
        after = shown.plain[shown.plain.rindex("Ctrl-C leaves") :]
        assert "Traceback" not in shown.shown and "error" not in after
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", shown.shown), "NO_COLOR paints nothing"
        assert shown.shown.rindex("\x1b[?25h") > shown.shown.rindex("\x1b[?25l"), "the cursor is there again"


def test_without_a_terminal_each_change_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(now, "WRITE_SECONDS", 0.02)
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(watch, "LOOKING_SHARE", 1.0)
    plan = planned(tmp_path)
    driver = threading.Thread(target=drive, args=(plan, 0.1))
    driver.start()
    while not (plan.file.work_directory / now.FILE).exists():
        time.sleep(0.01)
    done = mixopt("watch", plan.file.file)
    driver.join()
    assert done.status == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("study small is being run")
    ended = [re.sub(r"^\[\d+/\d+\]  ", "", line) for line in lines if line.startswith("[")]
    assert len(ended) == len(set(ended)) >= 15, "no trial is told twice"
    assert any(line.startswith("search: ") for line in lines) and any(line.startswith("confirming: ") for line in lines)
    assert any(line.startswith("best so far: ") for line in lines)
    assert lines[-1] == f"all of it: mixopt best {plan.file.file}"
    assert all(line.isprintable() for line in lines)


def test_a_study_that_has_ended_shows_its_answer_at_once(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    answer, _ = run(plan)
    done = mixopt("watch", plan.file.file)
    assert done.status == 0
    assert answer.verdict in " ".join(done.stdout.split())


def test_a_study_that_nobody_runs_any_more_is_not_watched_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(watch, "GONE_SECONDS", 0.2)
    plan = planned(tmp_path)
    with begin(plan, open_store(plan.file)) as recorder:
        recorder.open(plan.problem.baseline_trials[0])
    done = mixopt("watch", plan.file.file)
    assert done.status == 1
    assert "nobody runs study small any more, and it is not at its end" in " ".join(done.stdout.split())


def test_a_study_that_never_ran_is_a_mistake(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    done = mixopt("watch", plan.file.file)
    assert done.status == 2
    assert "study small has not run yet" in done.stderr


def test_what_was_told_is_not_told_again(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    run(plan)
    seen = status_of(plan.file)
    assert changes(None, seen)
    assert changes(seen, seen) == []


def best_so_far(*values: float, of: int, baseline: float | None) -> BestSoFar:
    return BestSoFar(
        trial="1" * 12,
        origin="design",
        objective=values[-1],
        unit="nats_per_token",
        allowed=True,
        mixture={"web": 1.0},
        of=of,
        baseline=None if baseline is None else "uniform",
        baseline_objective=baseline,
        improvements=tuple(Improvement(after=1 + 10 * number, objective=value) for number, value in enumerate(values)),
    )


@pytest.mark.parametrize(("encoding", "marks"), [("utf-8", ("•", "─")), ("ascii", ("*", "-"))])
def test_the_curve_falls_from_the_first_value_to_the_best_past_the_baseline(
    encoding: str, marks: tuple[str, str]
) -> None:
    buffer = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=buffer, width=80)
    console.print(Curve(best_so_far(3.0, 2.8, 2.5, of=30, baseline=2.9)))
    buffer.flush()
    lines = buffer.buffer.getvalue().decode(encoding).splitlines()
    mark, line = marks
    assert lines[0].startswith("3.0000 ") and lines[-2].startswith("2.5000 ")
    rows = {row: (text.index(mark), text.rindex(mark)) for row, text in enumerate(lines[:-1]) if mark in text}
    places = [rows[row] for row in sorted(rows)]
    assert len(places) == 3
    assert places[0][1] < places[1][0] <= places[1][1] < places[2][0], "step by step, to the right and down"
    assert any(text.count(line) > 20 for text in lines[:-1])
    assert lines[-1].strip() == "the best of 1 to 30 trials, line: uniform"


def test_a_single_value_is_no_curve() -> None:
    assert not Curve(best_so_far(3.0, of=5, baseline=3.0)).is_worth_a_look
    assert Curve(best_so_far(3.0, of=5, baseline=3.1)).is_worth_a_look
