"""What a shell completes, asked as the shell asks."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest

from mixopt.cli.completion import study_files
from tests.program import mixopt
from tests.simulated import planned, run

NOBODY = 65534


def completed(line: str) -> list[str]:
    words = line.split(" ")
    shell = {
        "_MIXOPT_COMPLETE": "complete_bash",
        "COMP_WORDS": f"mixopt {line}".strip(),
        "COMP_CWORD": str(len(words)),
    }
    with patch.dict(os.environ, shell):
        return mixopt().stdout.split()


def test_study_files_commands_and_formats_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.yaml", "b.yml", "notes.txt", "sub/study.yaml", ".mixopt/hidden.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert completed("status ") == ["a.yaml", "b.yml", "sub/study.yaml"]
    assert completed("plan sub/") == ["sub/study.yaml"]
    assert completed("best none/") == []
    assert completed("calib") == ["calibration"]
    assert completed("export a.yaml -f megatron-") == ["megatron-splits", "megatron-bridge"]


def test_a_folder_that_may_not_be_read_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for inner in ("a", "locked", "z"):
            (folder / inner).mkdir()
            (folder / inner / "study.yaml").write_text("")
        (folder / "locked").chmod(0o000)
        monkeypatch.chdir(folder)
        is_root = os.geteuid() == 0
        if is_root:  # who may read everything
            os.seteuid(NOBODY)
        try:
            assert study_files("") == ["a/study.yaml", "z/study.yaml"]
        finally:
            if is_root:
                os.seteuid(0)
        (folder / "locked").chmod(0o755)
        monkeypatch.undo()


def test_trials_of_the_study_that_is_named_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert completed("logs study.yaml --trial ") == [], "nothing is recorded"
    run(plan)
    ids = completed("logs study.yaml --trial ")
    assert len(ids) > 10
    assert completed(f"logs study.yaml --trial {ids[0][:6]}") == [ids[0]]
    assert completed("logs none.yaml --trial ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_shown_and_nothing_is_written(shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    # Typer asks the processes above which shell it is in, and there may be none: then it is told.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    done = mixopt("--show-completion", shell)
    assert done.status == 0 and "_MIXOPT_COMPLETE" in done.stdout.upper()
    assert not list(tmp_path.iterdir())
