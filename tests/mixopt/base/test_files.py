"""What commands write lands where it was asked for, and a study's folder is one process's."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner

from mixopt.base.errors import ConfigError
from mixopt.base.files import locked, write_text
from mixopt.cli import main as cli


def test_a_new_study_file_does_not_go_where_a_link_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As somebody may lay one in a folder that others can write."""
    monkeypatch.chdir(tmp_path)
    victim = tmp_path / "victim"
    (tmp_path / "study.yaml").symlink_to(victim)
    assert CliRunner().invoke(cli.app, ["init"]).exit_code == 0
    assert not victim.exists()
    assert (tmp_path / "study.yaml").read_text().startswith("#")


def test_nothing_is_written_through_a_link_under_a_temporary_name(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / ".runs.csv.partial").symlink_to(victim)
    write_text(tmp_path / "runs.csv", "a,b\n")
    assert victim.read_text() == "kept"
    assert (tmp_path / "runs.csv").read_text() == "a,b\n"


@pytest.mark.parametrize(("path", "reason"), [(".", "is a folder"), ("none/answer.json", "there is no folder")])
def test_a_place_that_cannot_be_written_is_said(path: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=reason):
        write_text(tmp_path / path, "")


def test_who_runs_a_study_is_said_with_the_machine(tmp_path: Path) -> None:
    with locked(tmp_path, "study small"), pytest.raises(ConfigError) as error, locked(tmp_path, "study small"):
        pass
    holder = f"process {os.getpid()} on {socket.gethostname()}"
    assert error.value.message == f"study small is being run by {holder}"


def test_the_lock_follows_no_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / "lock").symlink_to(victim)
    with pytest.raises(ValueError, match="symbolic link"), locked(tmp_path, "study small"):
        pass
    assert victim.read_text() == "kept"


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    write_text(pipe, "the answer")
    reader.join(timeout=5)
    assert read == ["the answer"]
    assert pipe.is_fifo()
