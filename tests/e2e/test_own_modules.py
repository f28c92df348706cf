"""No file of the folder where a study lies, or is run, is taken for a module: by no process of a study."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proxies.processes import process_pool
from tests.e2e.study import STUDY, write_study
from tests.processes import free_port
from tests.traps import set_traps

SMALL = (
    STUDY.replace("trials: 8}", "trials: 0}")
    .replace("trials: 3}", "trials: 1}")
    .replace("candidates: 1", "candidates: 0")
    .replace("{kind: in_process}", "{slots: 1}")
)


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """The command as it is installed: a script in a folder of its own."""
    script = tmp_path / "bin" / "mixopt"
    script.parent.mkdir()
    script.write_text("from mixopt.cli.main import main\nmain()\n")
    return [sys.executable, str(script)]


@pytest.mark.slow
def test_a_study_and_its_dashboard_run_their_own_modules(tmp_path: Path, program: list[str]) -> None:
    folder = tmp_path / "data"
    study = write_study(folder, SMALL)
    _, ran = set_traps(folder, tmp_path / "ran")
    environment = os.environ | {"TMPDIR": str(tmp_path / "a-folder-as-of-a-batch-system-with-a-long-name")}
    Path(environment["TMPDIR"]).mkdir()
    done = subprocess.run(
        [*program, "run", study.name], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert not ran.exists(), ran.read_text()

    with subprocess.Popen(
        [*program, "dashboard", study.name, "--port", str(free_port())],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as dashboard:
        assert dashboard.stdout is not None and dashboard.stderr is not None
        line = dashboard.stdout.readline()  # it answers by now
        dashboard.send_signal(signal.SIGTERM)
        assert line.startswith("study "), dashboard.stderr.read()
    assert not ran.exists(), ran.read_text()


def test_python_m_in_such_a_folder_does_as_well(tmp_path: Path) -> None:
    set_traps(tmp_path, tmp_path / "ran")
    for ours in ("mixopt/__init__.py", "sitecustomize.py"):  # what Python loads before anything of ours
        (tmp_path / ours).unlink()
    (tmp_path / "mixopt").rmdir()
    done = subprocess.run([sys.executable, "-m", "mixopt", "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("mixopt "), done.stderr
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()


def test_a_process_that_computes_beside_this_one_does_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, ran = set_traps(tmp_path, tmp_path / "ran")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    with process_pool(1) as pool:
        assert pool.submit(abs, -1).result(timeout=60) == 1
    assert not ran.exists(), ran.read_text()
