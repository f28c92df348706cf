"""What is wrong with an MLflow store's database is one line, within seconds."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.processes import free_port
from tests.service.processes import has_postgres, new_site
from tests.tracking.new_store import new_store
from tracking.address import may_exist
from tracking.errors import TrackingAway, TrackingError, TrackingRefused
from tracking.local_server import local_server
from tracking.mlflow_store import Store, count_experiments

WITHIN_SECONDS = 5.0


def file_in(folder: Path) -> Path:
    return folder / "mlflow.db"


def none(folder: Path) -> None:
    file_in(folder).unlink()


def another_folder(folder: Path) -> None:
    none(folder)
    file_in(folder).mkdir()


def garbage(folder: Path) -> None:
    file_in(folder).write_bytes(bytes(range(256)) * 20)


def torn(folder: Path) -> None:
    whole = file_in(folder).read_bytes()
    file_in(folder).write_bytes(whole[: len(whole) // 2])


def overwritten(folder: Path) -> None:
    whole = file_in(folder).read_bytes()
    file_in(folder).write_bytes(whole[:4096] + os.urandom(60_000) + whole[64_096:])


def schema_of_nonsense(folder: Path) -> None:
    """The file opens, and what it says of a table is not SQL."""
    path = file_in(folder)
    sql = b'CREATE TABLE "experiments"'
    assert path.read_bytes().count(sql) == 1
    path.write_bytes(path.read_bytes().replace(sql, sql.replace(b"TABLE", b"TIBLE")))


def older(folder: Path) -> None:
    database = sqlite3.connect(file_in(folder))
    database.execute("update alembic_version set version_num = 'bd07f7e963c5'")
    database.commit()
    database.close()


SQLITE: list[tuple[Callable[[Path], None], str, str]] = [
    (another_folder, "is a folder, and has to be an SQLite file", "mlflow.db is one in it"),
    (garbage, "is damaged: file is not a database", "move it away"),
    (torn, "is damaged: database disk image is malformed", "move it away"),
    (overwritten, "is damaged: database disk image is malformed", "move it away"),
    (schema_of_nonsense, "is damaged: malformed database schema", "move it away"),
    (older, "is of another version of MLflow", "mlflow db upgrade sqlite:///"),
]


@pytest.mark.parametrize(("trouble", "says", "hint"), SQLITE, ids=[each[0].__name__ for each in SQLITE])
def test_a_file_that_no_waiting_mends(
    tmp_path: Path, trouble: Callable[[Path], None], says: str, hint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    uri = new_store(tmp_path)
    trouble(tmp_path)
    began = time.monotonic()
    with pytest.raises(TrackingError) as caught:
        Store(uri, "any")
    assert time.monotonic() - began < WITHIN_SECONDS
    assert says in caught.value.message and hint in caught.value.hint
    assert type(caught.value) is TrackingError, "a submitted study does not wait for it"
    assert len(f"{caught.value.message}; {caught.value.hint}") <= 300 + len(uri)
    assert capfd.readouterr().err == "", "nobody else complains"


def test_a_file_that_another_program_locks(tmp_path: Path) -> None:
    uri = new_store(tmp_path)
    holder = sqlite3.connect(file_in(tmp_path), isolation_level=None)
    holder.execute("begin exclusive")
    began = time.monotonic()
    with pytest.raises(TrackingAway, match="is locked by another program"):
        Store(uri, "any")
    assert time.monotonic() - began < WITHIN_SECONDS
    holder.close()
    Store(uri, "any")


@pytest.mark.parametrize(
    ("uri", "kind", "says", "hint"),
    [
        (
            "postgresql+psycopg2://somebody@127.0.0.1:PORT/mlflow",
            TrackingAway,
            "does not answer: .*refused",
            "start it",
        ),
        ("postgresql://somebody@127.0.0.1:PORT/mlflow", TrackingAway, "does not answer: .*refused", "start it"),
        ("mysql+pymysql://somebody@127.0.0.1:PORT/mlflow", TrackingError, "needs a package", "SQLAlchemy driver"),
        ("oracle9i://somebody@127.0.0.1:PORT/mlflow", TrackingError, "needs a package", "SQLAlchemy driver"),
        ("postgresql://somebody@127.0.0.1:a-port/mlflow", TrackingError, "is no address of a database", ""),
    ],
)
def test_a_server_that_cannot_be_asked(uri: str, kind: type[TrackingError], says: str, hint: str) -> None:
    began = time.monotonic()
    with pytest.raises(kind, match=says) as caught:
        Store(uri.replace("PORT", str(free_port())), "any")
    assert time.monotonic() - began < WITHIN_SECONDS
    assert hint in caught.value.hint


@pytest.mark.slow
@pytest.mark.skipif(not has_postgres(), reason="needs PostgreSQL's programs")
def test_postgresql_needs_no_driver_in_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the client, for mixopt doctor and for the server of mixopt dashboard alike."""
    monkeypatch.chdir(tmp_path)  # where the server puts artifacts
    with new_site() as site, site.postgres():
        monkeypatch.setenv("PGPASSWORD", site.secret("postgres_password"))
        uri = f"postgresql://mlflow@127.0.0.1:{site.ports['postgres']}/mlflow"
        assert Store(uri, "studies").find_or_create("one").run_id == Store(uri, "studies").find_or_create("one").run_id
        assert count_experiments(uri) == 2
        with local_server(uri, free_port()) as server:
            assert count_experiments(server.address) == 2


def test_an_experiment_that_was_deleted_names_what_restores_it(tmp_path: Path) -> None:
    uri = new_store(tmp_path)
    experiment = Store(uri, "studies").experiment_id
    MlflowClient(tracking_uri=uri).delete_experiment(experiment)
    with pytest.raises(TrackingError, match=r"the MLflow experiment studies in .* was deleted") as caught:
        Store(uri, "studies")
    assert not isinstance(caught.value, TrackingAway | TrackingRefused)
    assert f"mlflow experiments restore --experiment-id {experiment}" in caught.value.hint


def test_a_store_that_may_exist_is_known_without_making_one(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    assert not may_exist(f"sqlite:///{path}")
    assert not path.exists()
    path.touch()
    assert may_exist(f"sqlite:///{path}")
    assert may_exist("http://there:5000"), "for all that its address says"
