"""Sixteen studies at once on one MLflow server over PostgreSQL: is any row lost, is any request refused?

    python -m benchmarks.many_studies
    python -m benchmarks.many_studies --studies 16 --trials 40 --json benchmarks/results/many-studies.json

Each study is a process of its own with its own journal, and records its trials as fast as MLflow takes them, far faster
than trials end. The server and the database are those of docker-compose.yml, as plain processes.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path

from joblib import cpu_count
from rich.console import Console

from search.fidelity import Fidelity
from search.mixture import Mixture
from search.trial import CurvePoint, Loss, Measurement, Trial
from tests.service.processes import new_site
from tracking import keys
from tracking.journal import Journal
from tracking.mlflow_store import Store
from tracking.record import Subject
from tracking.recorder import Recorder

DOMAINS = [f"domain{number:02}" for number in range(16)]
POINTS = 4
FIDELITY = Fidelity("proxy", 1_000_000, 20_000_000, 1e14)


def trials(study: int, count: int) -> list[Trial]:
    shares = range(1, count + 1)
    return [
        Trial(
            Mixture.of({name: 1.0 + (place * share + study) % 7 for place, name in enumerate(DOMAINS)}), FIDELITY, share
        )
        for share in shares
    ]


def measured(trial: Trial) -> Measurement:
    losses = {name: Loss(3.0 - share, 1.0) for name, share in trial.mixture.as_dict().items()}
    curve = tuple(CurvePoint(FIDELITY.tokens * part // POINTS, losses, 3.5) for part in range(1, POINTS + 1))
    return Measurement(losses, curve, {}, {}, FIDELITY.flops, seconds=60.0)


def record(study: int, count: int, uri: str, folder: Path) -> int:
    """One study's driver, until MLflow has all of it; returns how often a request failed and was sent again."""
    name = f"study{study}"
    journal = Journal.create(folder / f"{study}.jsonl", Subject(name, {"seed": study}, "corpus"))
    with Recorder(Store(uri, "mixopt").find_or_create(name), journal) as recorder:
        for trial in trials(study, count):
            recorder.open(trial)
            recorder.close_trial(trial, measured(trial), objective=1.0)
        assert recorder.drain(3600), recorder.trouble
        return recorder.troubles


def missing(study: int, count: int, uri: str) -> int:
    """Trials and curve points that are not in MLflow as they were recorded."""
    found = Store(uri, "mixopt").find(f"study{study}")
    assert found is not None
    record = found.record()
    assert record is not None
    history = record.history
    lost = 0
    for trial in trials(study, count):
        if history.measurements.get(trial.id) != measured(trial):
            lost += 1
        points = found.store.client.get_metric_history(found._run_id(trial), keys.nats(DOMAINS[0]))
        lost += POINTS - len(points)
    return lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=16)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as folder, new_site() as site, site.postgres(), site.s3(), site.mlflow():
        os.environ |= {
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": site.secret("mlflow_password"),
        }
        uri, count = site.mlflow_uri, options.trials
        began = time.perf_counter()
        with ProcessPoolExecutor(options.studies, mp_context=get_context("spawn")) as pool:
            jobs = [pool.submit(record, study, count, uri, Path(folder)) for study in range(options.studies)]
            errors = sum(job.result() for job in jobs)
        seconds = time.perf_counter() - began
        lost = sum(missing(study, count, uri) for study in range(options.studies))
    total = options.studies * options.trials
    console.print(f"{options.studies} studies, {total} trials of {len(DOMAINS)} domains in {seconds:.0f} s")
    console.print(f"{total / seconds:.1f} trials a second; lost: {lost}; requests that failed: {errors}")
    if options.json:
        figures = {"studies": options.studies, "trials": total, "seconds": seconds, "lost": lost, "errors": errors}
        document = {"date": date.today().isoformat(), "cores": cpu_count(), **figures}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
