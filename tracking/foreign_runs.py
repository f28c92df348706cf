"""Runs of an MLflow experiment that somebody else filled, as they are: for tables of finished runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from tracking import keys
from tracking.address import may_exist, sqlite_file
from tracking.errors import TrackingError
from tracking.mlflow_store import PAGE, _answering, _connect

# Metrics of the machine, whose steps are seconds.
OF_THE_MACHINE = "system/"
FILE = "file://"


def runs_of(uri: str, experiment: str) -> list[dict[str, Any]]:
    """A row for each run that was not deleted: name, id, status, last step, seconds, tags.*, params.*, metrics.*.

    Args:
        uri: of a server, a database, or a folder such as mlruns; nothing is written there.

    Raises:
        TrackingError: the store does not answer, has no such experiment, or mixopt wrote it.
    """
    client = _client(uri)
    rows: list[dict[str, Any]] = []
    with _answering(uri):
        found = client.get_experiment_by_name(experiment)
        if found is None:
            names = [each.name for each in client.search_experiments(max_results=PAGE)]
            raise TrackingError(
                f"the MLflow store {uri} has no experiment {experiment!r}",
                hint=f"choose with --experiment from {', '.join(names[:8])}",
            )
        token: str | None = None
        while True:
            page = client.search_runs(
                [found.experiment_id], max_results=PAGE, page_token=token, order_by=["attributes.start_time ASC"]
            )
            for run in page:
                _check_foreign(run, experiment)
                rows.append(_row(run))
            token = page.token
            if not token:
                return rows


def _client(uri: str) -> MlflowClient:
    folder = Path(uri.removeprefix(FILE))
    if "://" in uri.removeprefix(FILE) or not folder.is_dir():
        if not may_exist(uri):
            raise TrackingError(f"{sqlite_file(uri)}: no such MLflow store", hint="correct --from-mlflow")
        return _connect(uri)
    # MLflow asks who still uses folders to move; only what is there is read.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    return MlflowClient(tracking_uri=str(folder.absolute()))


def _check_foreign(run: Run, experiment: str) -> None:
    if keys.KIND in run.data.tags:
        raise TrackingError(
            f"experiment {experiment} has studies of mixopt, whose trials of the confirmation are no evidence",
            hint="mixopt runs study.yaml --output runs.csv writes the table of a study, without its files too",
        )


def _row(run: Run) -> dict[str, Any]:
    steps = [each.step for each in run.data._metric_objs if not each.key.startswith(OF_THE_MACHINE)]
    return {
        "run": run.info.run_name,
        "run_id": run.info.run_id,
        "status": run.info.status,
        "step": max(steps, default=None),
        "seconds": None if run.info.end_time is None else (run.info.end_time - run.info.start_time) / 1000,
        **{f"tags.{name}": value for name, value in run.data.tags.items()},
        **{f"params.{name}": value for name, value in run.data.params.items()},
        **{f"metrics.{name}": value for name, value in run.data.metrics.items()},
    }
