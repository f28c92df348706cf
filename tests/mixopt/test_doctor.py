"""What the doctor notices, and what it says to do."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from mixopt.doctor import findings
from mixopt.settings.reading import load
from mixopt.study.record import journal_path
from tests.e2e.study import STUDY, write_study
from tests.processes import free_port
from tests.program import mixopt
from tests.tracking.trials import trial
from tracking.entries import Opened
from tracking.journal import Journal
from tracking.record import Subject


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    (home / ".ray").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    return home


def looked(*arguments: object, status: int = 0) -> dict[str, list[dict[str, Any]]]:
    """The findings, by what was looked at."""
    done = mixopt("doctor", *arguments, "--json")
    assert done.status == status, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document["healthy"] == (status == 0)
    found: dict[str, list[dict[str, Any]]] = {}
    for each in document["findings"]:
        found.setdefault(each["what"], []).append(each)
        assert (each["remedy"] is None) == (each["state"] == "ok"), "whatever is not right says what to do"
    return found


def test_a_healthy_machine_and_study(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    found = looked(study)
    assert "mixopt 0.2.0" in found["versions"][0]["found"]
    assert [each["state"] for what in ("MLflow", "folder", "journal") for each in found[what]] == ["ok"] * 3
    assert "has not run here" in found["journal"][0]["found"]
    assert "nothing stands in the way" in mixopt("doctor", study).stdout


def test_what_is_found_is_told_before_the_next_is_looked_at(tmp_path: Path) -> None:
    began: list[str] = []
    told = findings(None, None, began.append)
    assert next(told).what == "versions"
    assert began == ["machine versions"]
    done = mixopt("doctor", write_study(tmp_path))
    assert done.stderr == "", "no progress where nobody watches"
    assert [line.split()[1:3] for line in done.stdout.splitlines()][-2] == ["study", "executor.shared:"]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    study = write_study(tmp_path, f"{STUDY}directory: study.yaml\n")
    [found] = looked(study, status=1)["folder"]
    assert found["found"] == f"{study}:18: directory: {study} is not a folder"
    assert found["remedy"] == "choose another name"


def test_secrets_that_others_can_read(own_home: Path) -> None:
    token = own_home / ".ray" / "auth_token"
    token.write_text("t" * 40)
    token.chmod(0o644)
    [found] = looked(status=1)["secrets"]
    assert found["state"] == "bad"
    assert found["remedy"] == f"chmod 600 {token}"
    token.chmod(0o600)
    assert looked()["secrets"][0]["found"] == f"only this user reads {token}"


def test_a_damaged_journal(tmp_path: Path) -> None:
    file = load(write_study(tmp_path))
    path = journal_path(file)
    Journal.create(path, Subject(file.study, file.deciding(), "x"), (), [Opened(trial(0.5))]).close()
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.6", 1))
    [found] = looked(file.file, status=1)["journal"]
    assert "is damaged" in found["found"]


def test_a_store_and_a_cluster_that_are_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "t" * 40)
    address = f"http://127.0.0.1:{free_port()}"
    found = looked("--address", address, status=1)
    assert "no MLflow server answers" in found["MLflow"][0]["found"]
    assert f"no Ray head answers at {address}" in found["head"][0]["found"]
    assert found["processors"], "the others are looked at all the same"


def test_a_password_in_the_stores_address_is_noticed_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:1")
    done = mixopt("doctor", "--json")
    assert done.status == 1
    assert "MLFLOW_TRACKING_PASSWORD" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize(("host", "state"), [("127.0.0.1", "ok"), ("0.0.0.0", "warn"), ("::1", "ok"), ("::", "warn")])
def test_what_listens_beyond_the_machine(host: str, state: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((host, 10001))
        except OSError:
            pytest.skip("the port is taken, or there is no such address")
        server.listen()
        said = [each for each in looked()["ports"] if "10001" in each["found"]]
    assert [each["state"] for each in said] == [state]
