"""`make chaos`: real studies on the real service, while everything is killed; and does the answer stay the same?

    python -m tests.chaos                      45 faults: 9 kinds, 5 times each
    python -m tests.chaos --times 1 --seed 7   9 faults, in another order

The service is docker-compose.yml's, as plain processes: MLflow on PostgreSQL and S3, a Ray head, two nodes of one core.
Faults come in a seeded order at seeded moments. When a study ends before all have come, the next begins with another
seed. Each study's history in MLflow is then compared with that of the same study run in one process, undisturbed: the
same trials, the same measurements to the bit, none missing, none twice. The last faults meet a search in rounds, where
what is asked for depends on what has arrived: there each measurement is compared with the same trial trained again.
A fault counts as injected when what it was to kill is gone, and as survived when its study has passed the comparison;
the first study that does not pass ends all.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from joblib import cpu_count
from rich.console import Console

from mixopt.cli.tables.table import plain_table
from mixopt.cluster.jobs import ENDED, Cluster
from mixopt.settings.reading import load
from mixopt.study.corpus import prepare_corpus
from mixopt.study.planning import make_plan
from mixopt.workers.messages import TrialEnd
from mixopt.workers.training import run_trials
from search.history import History
from tests.chaos import faults
from tests.chaos.faults import Injected, Service
from tests.e2e.study import numbers
from tests.service.processes import Site, new_site
from tests.text import write_jsonl
from tests.tracking.trials import trial_runs
from tracking.journal import read_record
from tracking.mlflow_store import Store

KINDS = ("worker", "raylet", "node", "driver", "mlflow", "postgres", "head", "cancel", "power")
NAMES = {
    "worker": "worker process",
    "raylet": "raylet of a node",
    "node": "whole node",
    "driver": "driver",
    "mlflow": "MLflow server",
    "postgres": "PostgreSQL",
    "head": "head, with job and driver; submitted again",
    "cancel": "ended by mixopt cancel; submitted again",
    "power": "everything at once; submitted again",
}
STUDY = """\
study: {name}
seed: {seed}
domains:
  prose: {{paths: data/prose.jsonl}}
  code:  {{paths: data/code.jsonl, max: 70%}}
  sums:  {{paths: data/sums.jsonl, min: 5%}}
corpus: {{vocabulary: 300, validation_tokens: 500, sequence_length: 32, workers: 1}}
proxies:
  dense: {{depth: 2, width: 64, heads: 2, tokens: {tokens}, batch_rows: 8, evaluations: 2, trials: {trials}}}
search: {{strategy: {strategy}, surrogate: linear}}
baselines: [proportional, uniform]
confirm: {{candidates: 1, seeds: 2}}
executor: {{attempts: 100, compile: never}}
"""
PAUSES = (3.0, 12.0)  # seconds between two faults
STUDY_WITHIN_SECONDS = 1800.0


class Chaos:
    def __init__(self, folder: Path, service: Service, seed: int, console: Console) -> None:
        self.folder = folder
        self.service = service
        self.site: Site = service.site
        self.chance = random.Random(seed)
        self.console = console
        self.injected: list[Injected] = []
        self.survived: list[Injected] = []
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.site.secret("ray_token")}

    def write(self, name: str, seed: int, strategy: str, tokens: str, trials: int) -> Path:
        folder = self.folder / name
        write_jsonl(folder / "data", {"prose": 60, "code": 30, "sums": 20})
        path = folder / "study.yaml"
        path.write_text(STUDY.format(name=name, seed=seed, strategy=strategy, tokens=tokens, trials=trials))
        return path

    def disturb(self, study: Path, kinds: list[str]) -> None:
        """Run a study on the service while faults of these kinds, removed as they come, are injected."""
        name = study.parent.name
        began = time.monotonic()
        self._submit(study)
        while (state := self._state(name)) not in ENDED:
            if time.monotonic() - began > STUDY_WITHIN_SECONDS:
                raise AssertionError(f"{name} did not end: {state}\n{self._mixopt('logs', name).stdout[-3000:]}")
            time.sleep(self.chance.uniform(*PAUSES))
            if not kinds or not self._is_training(name) or self._state(name) != "RUNNING":
                continue
            kind = kinds[-1]
            at = time.monotonic() - began
            lost = self._inject(kind, study)
            if lost is False:
                continue
            kinds.pop()
            self.injected.append(Injected(kind, name, at, lost if isinstance(lost, float) else None))
            self.console.print(f"{at:6.0f} s  {name}: {NAMES[kind]}")
        assert state == "SUCCEEDED", f"{name} {state}\n{self._mixopt('logs', name).stdout[-3000:]}"

    def _inject(self, kind: str, study: Path) -> float | bool:
        """Returns whether it came; of a worker that was killed, the seconds of training that were lost."""
        match kind:
            case "worker":
                checkpoints = self._studies / study.parent.name / "checkpoints"
                lost = faults.kill_worker(self.service, self.chance, checkpoints)
                return False if lost is None else lost
            case "raylet":
                return faults.kill_raylet(self.service, self.chance)
            case "node":
                return faults.kill_node(self.service, self.chance)
            case "driver":
                return faults.kill_driver(self.service)
            case "mlflow" | "postgres":
                return faults.kill_server(self.service, kind)
            case "head":
                return faults.kill_head(self.service, lambda: self._submit(study))
            case "power":
                return faults.kill_everything(self.service, lambda: self._submit(study))
            case "cancel":
                self._require("cancel", study.parent.name)
                stopped = self._state(study.parent.name) == "STOPPED"
                self._submit(study)
                return stopped
        raise AssertionError(kind)

    def compare(self, study: Path, strategy: str) -> int:
        """The number of completed trials of a study that has ended as if nothing had happened to it.

        Raises:
            AssertionError: it has not.
        """
        history = self.recorded(study.parent.name)
        assert not history.running and not history.failed, (history.running, history.failed)
        expected = self.undisturbed(study) if strategy == "regmix" else self.retrained(study, history)
        assert numbers(history) == numbers(expected), f"{study.parent.name} came out different"
        self.survived += [each for each in self.injected if each.study == study.parent.name]
        return len(history.completed)

    def recorded(self, name: str) -> History:
        """The study's history as MLflow has it, each trial in one run."""
        os.environ |= self._credentials
        run = Store(self.site.mlflow_uri, "mixopt").find(name)
        assert run is not None
        record = run.record()
        assert record is not None
        history = record.history
        runs = len(trial_runs(run))
        assert runs == len(history.trials), f"{runs} runs for {len(history.trials)} trials"
        journal = self._studies / name / "journal.jsonl"
        assert history == read_record(journal).history, "MLflow and the journal differ"
        return history

    def undisturbed(self, study: Path) -> History:
        """The same study in one process, from its own journal."""
        home = self.folder / "undisturbed"
        alone = study.with_name("alone.yaml")
        alone.write_text(study.read_text().replace("executor: {", "executor: {kind: in_process, "))
        command = [sys.executable, "-m", "mixopt", "run", str(alone)]
        environment = os.environ | {"MIXOPT_DIRECTORY": str(home), "OMP_NUM_THREADS": "1"}
        subprocess.run(command, env=environment, check=True, capture_output=True)
        return read_record(home / study.parent.name / "journal.jsonl").history

    def retrained(self, study: Path, history: History) -> History:
        """Every trial of a history, trained again in this process."""
        os.environ["MIXOPT_DIRECTORY"] = str(self.folder / "again")
        file = load(study)
        plan = make_plan(file, prepare_corpus(file, lambda progress: None))
        outcomes = {
            event.trial.id: event.outcome
            for trial in history.trials
            for event in run_trials([plan.job(trial, History())])
            if isinstance(event, TrialEnd)
        }
        return History.of(history.trials, outcomes)

    @property
    def _studies(self) -> Path:
        return self.site.folder / "shared" / "studies"

    @property
    def _credentials(self) -> dict[str, str]:
        return {
            "MLFLOW_TRACKING_URI": self.site.mlflow_uri,
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": self.site.secret("mlflow_password"),
        }

    def _is_training(self, name: str) -> bool:
        """Whether the study's own processes train at this moment."""
        return any(
            True for node in faults.NODES for _ in faults.matching(self.service.family(node), "ray::_run_in_worker")
        )

    def _state(self, name: str) -> str:
        return Cluster(self.site.dashboard).job(name).state

    def _submit(self, study: Path) -> None:
        self._require("submit", study)

    def _require(self, *arguments: object) -> None:
        done = self._mixopt(*arguments)
        assert done.returncode == 0, done.stderr

    def _mixopt(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mixopt", *map(str, arguments)]
        environment = os.environ | {"RAY_API_SERVER_ADDRESS": self.site.dashboard}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5, help="faults of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokens", default="100k", help="of a trial")
    parser.add_argument("--trials", type=int, default=16, help="of a study's design")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    console = Console(highlight=False)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, new_site() as site, Service(site) as service:
        console.print(f"{time.monotonic() - began:6.0f} s  the service is up")
        chaos = Chaos(Path(folder), service, options.seed, console)
        kinds = [kind for kind in KINDS for _ in range(options.times)]
        chaos.chance.shuffle(kinds)
        completed: list[int] = []
        study = chaos.folder
        died: AssertionError | None = None
        try:
            for strategy, left in (("regmix", kinds[options.times :]), ("climb", kinds[: options.times])):
                while left:
                    number = len(completed)
                    study = chaos.write(f"chaos{number}", number, strategy, options.tokens, options.trials)
                    chaos.disturb(study, left)
                    completed.append(chaos.compare(study, strategy))
                    said = f"{study.parent.name} ({strategy}): {completed[-1]} trials, as if undisturbed"
                    console.print(f"         {said}")
        except AssertionError as why:
            died = why
            console.print(f"         {study.parent.name} did not survive: {why}")
    minutes = (time.monotonic() - began) / 60
    _report(chaos, sum(completed), minutes, options)
    if died is not None:
        sys.exit(1)


def _report(chaos: Chaos, trials: int, minutes: float, options: argparse.Namespace) -> None:
    console = chaos.console
    injected, survived = (Counter(each.kind for each in some) for some in (chaos.injected, chaos.survived))
    table = plain_table("killed", ">injected", ">survived")
    for kind in KINDS:
        table.add_row(NAMES[kind], str(injected[kind]), str(survived[kind]))
    table.add_row("all", str(injected.total()), str(survived.total()))
    console.print(table)
    lost = [each.seconds_lost for each in chaos.injected if each.seconds_lost is not None]
    console.print(f"{trials} trials in {minutes:.0f} minutes, in histories as undisturbed")
    if lost:
        console.print(f"training lost with a killed worker: {median(lost):.1f} s, at most {max(lost):.1f} s")
    if options.json:
        document: dict[str, Any] = {
            "date": date.today().isoformat(),
            "cores": cpu_count(),
            "seed": options.seed,
            "faults": {NAMES[kind]: {"injected": injected[kind], "survived": survived[kind]} for kind in KINDS},
            "trials": trials,
            "minutes": minutes,
            "seconds_lost_with_a_worker": lost,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
