"""Commands that only read a finished study load nothing that trains, draws or serves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mixopt.report.kept import KeptReport, keep_report, stamp
from mixopt.settings.reading import load
from mixopt.study.record import journal_path
from tests.e2e.test_earlier_versions import unpacked
from tests.foreign import write_foreign
from tracking.journal import Journal, read_header
from tracking.record import Subject

HEAVY = {"torch", "mlflow", "ray", "datasets", "botorch", "lightgbm", "pandas", "matplotlib", "scipy"}


@pytest.mark.parametrize("command", [["status"], ["best"], ["best", "--json"], ["export", "-f", "yaml"], ["runs"]])
def test_a_finished_study_is_read_without_heavy_imports(tmp_path: Path, command: list[str]) -> None:
    study = unpacked(tmp_path, "finished")
    upgrade(study)
    assert not loaded_by(command[0], study, *command[1:]) & HEAVY


def test_whoever_trains_elsewhere_waits_for_no_trainer(tmp_path: Path) -> None:
    assert not loaded_by("ask", write_foreign(tmp_path)) & {"torch", "botorch", "ray", "datasets"}


def loaded_by(*command: object) -> set[str]:
    """The packages that a command has loaded at its end, in a process of its own."""
    code = (
        "import sys; from mixopt.cli.main import main\n"
        "try: main()\n"
        "finally: print('LOADED', *{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {*done.stderr.rpartition("LOADED")[2].split()}


def test_a_report_that_was_kept_is_written_without_heavy_imports(tmp_path: Path) -> None:
    study = unpacked(tmp_path, "finished")
    upgrade(study)
    file = load(study)
    keep_report(file, KeptReport("<html>the answer</html>", "{}", attached=True), stamp(file))
    loaded = loaded_by("report", study, "-o", tmp_path / "report.html")
    assert not loaded & HEAVY
    assert (tmp_path / "report.html").read_text() == "<html>the answer</html>"


def upgrade(study: Path) -> None:
    """A journal of 0.1.0 does not say what it is about, for which MLflow is asked; one of now does."""
    file = load(study)
    path = journal_path(file)
    Journal.upgrade(path, Subject(file.study, file.deciding(), read_header(path).subject.corpus)).close()
