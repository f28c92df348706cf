"""Trials and measurements to record, made up; and their runs, as MLflow shows them."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.entities import Run

from search.fidelity import Fidelity
from search.mixture import Mixture
from search.trial import CurvePoint, Loss, Measurement, Trial
from tracking import keys
from tracking.mlflow_store import StudyRun

FIDELITY = Fidelity("dense", 10_000, 65_536, 1e9)
SETTINGS = {"seed": 0, "domains": {"web": {"max": 0.5}, "code": {}}}


def trial(share: float, seed: int = 0) -> Trial:
    return Trial(Mixture.of({"web": share, "code": 1 - share}), FIDELITY, seed, origin="design")


def measurement(loss: float) -> Measurement:
    losses = {"web": Loss(loss, loss / 2), "code": Loss(loss + 1, loss)}
    return Measurement(
        losses=losses,
        curve=(CurvePoint(32_768, losses, 5.0), CurvePoint(65_536, losses, 4.0)),
        domain_tokens={"web": 40_000, "code": 25_536},
        domain_epochs={"web": 0.1 + 0.2, "code": 3.0},
        flops=1e9,
        seconds=2.5,
        diagnostics={"expert_load/layer1/max_over_mean": 1.5},
        environment={"device": "cpu"},
    )


def trial_runs(record: StudyRun) -> dict[str, Run]:
    """The runs of a study's trials, by the trial's id.

    Raises:
        AssertionError: a trial has two of them.
    """
    children = MlflowClient(record.store.uri).search_runs(
        [record.store.experiment_id],
        f"tags.`{keys.PARENT_RUN}` = '{record.run_id}' and tags.`{keys.KIND}` = '{keys.KIND_TRIAL}'",
        max_results=10_000,
    )
    found = {run.data.tags[keys.TRIAL_ID]: run for run in children}
    assert len(found) == len(children), "a trial has two runs"
    return found
