"""Experiments of MLflow that somebody else's training filled, in a database and in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.program import mixopt
from tracking.errors import TrackingError
from tracking.foreign_runs import runs_of


@pytest.fixture(params=["database", "folder"], scope="module")
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'mlflow.db'}" if request.param == "database" else str(folder / "mlruns")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        fill(MlflowClient(tracking_uri=uri), folder)
        yield uri


def fill(client: MlflowClient, folder: Path) -> None:
    experiment = client.create_experiment("mixtures", artifact_location=str(folder / "artifacts"))
    client.set_terminated(client.create_run(experiment, run_name="sweep").info.run_id)
    for place in range(8):
        run = client.create_run(experiment, run_name=f"run-{place}").info.run_id
        for name, share in (("web", place / 8), ("code", 1 - place / 8)):
            client.log_param(run, f"mix/{name}", f"{share:.4f}")
        client.log_param(run, "lr", "3e-4")
        client.log_metric(run, "val/loss", 3 + place / 8, step=50 if place == 2 else 100)
        client.log_metric(run, "system/gpu", 0.9, step=12_345)
        if place != 5:
            client.set_terminated(run, "FAILED" if place == 6 else "FINISHED")


def test_runs_are_rows_with_their_state_and_last_step(store: str) -> None:
    rows = runs_of(store, "mixtures")
    assert [row["run"] for row in rows] == ["sweep", *(f"run-{place}" for place in range(8))]
    first = rows[1]
    assert (first["params.mix/web"], first["metrics.val/loss"], first["status"]) == ("0.0000", 3.0, "FINISHED")
    assert first["step"] == 100
    assert [row["status"] for row in rows][6:8] == ["RUNNING", "FAILED"]


def test_an_experiment_is_read_as_a_table_is(store: str) -> None:
    done = mixopt("fit", "--from-mlflow", store, "--experiment", "mixtures", "--guess")
    assert done.status == 0, done.stderr
    assert "params.mix/web    weight web" in done.stdout
    assert "metrics.val/loss  metric loss" in done.stdout
    for left_out in (
        "1 failed (status)",
        "1 running (status)",
        "1 ended before the 100 steps",
        "1 without a last step",
    ):
        assert left_out in done.stdout
    assert "counted: 5 runs" in done.stdout


def test_what_is_not_there_is_said(store: str, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="no experiment 'other'") as caught:
        runs_of(store, "other")
    assert "mixtures" in caught.value.hint
    with pytest.raises(TrackingError, match="no such MLflow store"):
        runs_of(f"sqlite:///{tmp_path / 'none.db'}", "mixtures")
    assert not (tmp_path / "none.db").exists()


def test_a_study_of_mixopt_has_a_table_of_its_own(store: str) -> None:
    client = MlflowClient(tracking_uri=store)
    experiment = client.create_experiment("study")
    client.set_tag(client.create_run(experiment).info.run_id, "mixopt.kind", "trial")
    with pytest.raises(TrackingError) as caught:
        runs_of(store, "study")
    assert "mixopt runs study.yaml" in caught.value.hint
