"""A study that is given secrets leaves them nowhere."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import psycopg2
import pytest

from tests.e2e.study import STUDY, write_study
from tests.processes import family, named
from tests.program import COMMAND, mixopt
from tests.service.processes import has_postgres, new_site

SECRET = "hunter2"
SMALL = (
    STUDY.replace("trials: 8}", "trials: 0}")
    .replace("trials: 3}", "trials: 1}")
    .replace("candidates: 1", "candidates: 0")
    .replace("{kind: in_process}", "{slots: 1}")
)
# Where a user has them, and what uses them.
PLANTED = {
    "HTTPS_PROXY": f"http://me:{SECRET}@127.0.0.1:9",
    "MLFLOW_TRACKING_USERNAME": "me",
    "MLFLOW_TRACKING_PASSWORD": SECRET,
    "AWS_SECRET_ACCESS_KEY": f"{SECRET}/+key",
    "HF_TOKEN": f"hf_{SECRET}",
    "RAY_AUTH_TOKEN": f"{SECRET}-of-a-cluster-that-is-not-asked",
    "NO_PROXY": "127.0.0.1",
}


class _Guarded(BaseHTTPRequestHandler):
    """Files of a folder, for whoever has the password."""

    folder: Path

    def do_GET(self) -> None:
        login = base64.b64encode(f"me:{SECRET}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {login}":
            self.send_error(401)
            return
        content = (self.folder / self.path.lstrip("/")).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        return None


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the study's data, whose password ~/.netrc has."""
    handler = type("Handler", (_Guarded,), {"folder": tmp_path / "study" / "data"})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def plant(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    netrc = folder / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    for name, value in {**PLANTED, "NETRC": str(netrc)}.items():
        monkeypatch.setenv(name, value)


def files_with(secret: str, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


@pytest.fixture
def database() -> Iterator[tuple[str, str] | None]:
    """A database for MLflow: its URI with the password, and as it may be shown; None without PostgreSQL."""
    if not has_postgres():
        yield None
        return
    with new_site() as site, site.postgres():
        address = f"127.0.0.1:{site.ports['postgres']}/mlflow"
        password = site.secret("postgres_password")
        yield f"postgresql+psycopg2://mlflow:{password}@{address}", f"postgresql+psycopg2://mlflow@{address}"


@pytest.mark.slow
def test_a_study_with_secrets_all_around_it_keeps_and_shows_none(
    tmp_path: Path, guarded: str, database: tuple[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, secrets = tmp_path / "study", {SECRET}
    study = write_study(folder, SMALL.replace("data/prose.jsonl", f"{guarded}/prose.jsonl"))
    plant(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)  # where MLflow puts the artifacts of a database, and the report goes
    if database is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", database[0])
        secrets.add(database[0].partition("@")[0].rpartition(":")[2])
    lines: set[str] = set()
    command = [*COMMAND, "run", str(study)]
    with (tmp_path / "said").open("wb") as said, subprocess.Popen(command, stdout=said, stderr=said) as run:
        while run.poll() is None:
            lines |= {named(member.pid) for member in family(psutil.Process(run.pid))}
            time.sleep(0.2)
    assert run.returncode == 0, (tmp_path / "said").read_text()
    assert any("raylet" in line for line in lines)

    shown = {command: mixopt(command, study, "--json") for command in ("status", "best", "runs", "report")}
    shown["export"] = mixopt("export", study, "--format", "hf", "--location", f"s3://key:{SECRET}@bucket/{{domain}}")
    assert [done.status for done in shown.values()] == [0, 0, 0, 0, 2]
    assert "~/.aws/credentials" in shown["export"].stderr
    if database is not None:
        assert json.loads(shown["status"].stdout)["tracking_uri"] == database[1]
        with closing(psycopg2.connect(database[0].replace("+psycopg2", ""))) as connection:
            cursor = connection.cursor()
            cursor.execute(
                "SELECT value FROM tags UNION SELECT value FROM experiment_tags UNION SELECT value FROM params"
            )
            lines |= {value for (value,) in cursor}
    for secret in secrets:
        assert not [line for line in lines if secret in line]
        assert not [name for name, done in shown.items() if secret in done.stdout + done.stderr]
        assert not [path for path in files_with(secret, tmp_path) if path.name != "netrc"]
        assert secret not in (tmp_path / "said").read_text()
