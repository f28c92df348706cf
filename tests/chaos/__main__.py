"""`make chaos`: real studies on the real service, while everything is killed; and does the answer stay the same?

    python -m tests.chaos                                        75 faults: 15 kinds, 5 times each
    python -m tests.chaos --times 1 --seed 7                     15 faults, in another order
    python -m tests.chaos --times 1 --kinds disk hung            these two

The service is docker-compose.yml's, as plain processes: MLflow on PostgreSQL and S3, a Ray head, two nodes of one core.
Faults come in a seeded order at seeded moments. When a study ends before all have come, the next begins with another
seed. Each study's history in MLflow is then compared with that of the same study run in one process, undisturbed: the
same trials, the same measurements to the bit, none missing, none twice. The last faults meet a search in rounds, where
what is asked for depends on what has arrived: there each measurement is compared with the same trial trained again.

A fault counts as injected when something was done to the service; as verified when that was seen to have met whom it
was meant for (a process is gone, the driver said that a write failed or a request was not answered, a trial's record
has the reason); as survived when it is verified and its study has passed the comparison. The first study that does not
pass ends all. A kind of which nothing was verified counts as not exercised.
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
from tests.chaos import faults, troubles
from tests.chaos.faults import Came, Injected, Service
from tests.chaos.troubles import Target
from tests.e2e.study import numbers
from tests.service.processes import Site, new_site
from tests.text import write_jsonl
from tests.tracking.trials import trial_runs
from tracking.journal import read_record
from tracking.mlflow_store import Store

NAMES = {
    "worker": "worker process",
    "raylet": "raylet of a node",
    "node": "whole node",
    "driver": "driver",
    "often": "driver, six times, a trial between",
    "given-up": "driver, until its supervisor gives up; submitted again",
    "mlflow": "MLflow server",
    "hung": "MLflow server hangs (SIGSTOP)",
    "redirect": "a redirect in the place of MLflow",
    "postgres": "PostgreSQL",
    "disk": "disk full",
    "memory": "memory of a node used up",
    "head": "head, with job and driver; submitted again",
    "cancel": "ended by mixopt cancel; submitted again",
    "power": "everything at once; submitted again",
}
KINDS = tuple(NAMES)
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
# A fault that does not come, or that nobody notices, so often in a row is left out.
MOST_TRIES = 5


class Chaos:
    def __init__(self, folder: Path, service: Service, seed: int, console: Console) -> None:
        self.folder = folder
        self.service = service
        self.site: Site = service.site
        self.chance = random.Random(seed)
        self.console = console
        self.injected: list[Injected] = []
        self.survived: list[Injected] = []
        self._tries = 0  # of the fault that is due
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
            came = self._inject(kind, study)
            self._tries += 1
            if came is not None:
                self.injected.append(Injected(kind, name, at, came))
                self.console.print(f"{at:6.0f} s  {name}: {NAMES[kind]}: {came.seen or 'nobody noticed'}")
            if (came is not None and came.seen) or self._tries == MOST_TRIES:
                kinds.pop()
                self._tries = 0
        assert state == "SUCCEEDED", f"{name} {state}\n{self._mixopt('logs', name).stdout[-3000:]}"

    def _inject(self, kind: str, study: Path) -> Came | None:
        """What became of it; None where there was nothing to do it to."""
        name = study.parent.name
        target = Target(name, self._studies / name, Cluster(self.site.dashboard), lambda: self._submit(study))
        match kind:
            case "worker":
                return faults.kill_worker(self.service, self.chance, target.folder / "checkpoints")
            case "raylet":
                return faults.kill_raylet(self.service, self.chance)
            case "node":
                return faults.kill_node(self.service, self.chance)
            case "driver":
                return faults.kill_driver(self.service)
            case "often":
                return troubles.kill_driver_often(self.service, target)
            case "given-up":
                return troubles.kill_driver_until_given_up(self.service, target)
            case "mlflow" | "postgres":
                return faults.kill_part(self.service, kind)
            case "hung":
                return troubles.hang_mlflow(self.service, target)
            case "redirect":
                return troubles.redirect_mlflow(self.service, target)
            case "disk":
                return troubles.fill_disk(self.service, target) if self.service.has_own_disk else None
            case "memory":
                return troubles.starve_node(self.service, target, self.chance)
            case "head":
                return faults.kill_head(self.service, target.submit)
            case "power":
                return faults.kill_everything(self.service, target.submit)
            case "cancel":
                self._require("cancel", name)
                state = target.state
                target.submit()
                return Came("its job is STOPPED" if state == "STOPPED" else "")
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
        self.survived += [each for each in self.injected if each.study == study.parent.name and each.came.seen]
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
        return self.service.studies

    @property
    def _credentials(self) -> dict[str, str]:
        return {
            "MLFLOW_TRACKING_URI": self.site.mlflow_uri,
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": self.site.secret("mlflow_password"),
        }

    def _is_training(self, name: str) -> bool:
        """Whether the study's own processes train at this moment."""
        return bool(faults.workers(self.service))

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
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokens", default="100k", help="of a trial")
    parser.add_argument("--trials", type=int, default=16, help="of a study's design")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, new_site() as site, Service(site) as service:
        console.print(f"{time.monotonic() - began:6.0f} s  the service is up")
        chaos = Chaos(Path(folder), service, options.seed, console)
        kinds = [kind for kind in options.kinds for _ in range(options.times)]
        chaos.chance.shuffle(kinds)
        in_rounds = len(kinds) // len(KINDS)
        completed: list[int] = []
        study = chaos.folder
        died: AssertionError | None = None
        try:
            for strategy, left in (("regmix", kinds[in_rounds:]), ("climb", kinds[:in_rounds])):
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
    verified = [each for each in chaos.injected if each.came.seen]
    counts = [Counter(each.kind for each in some) for some in (chaos.injected, verified, chaos.survived)]
    kinds = [kind for kind in KINDS if kind in options.kinds]
    table = plain_table("fault", ">injected", ">verified", ">survived")
    for kind in kinds:
        numbers = [str(count[kind]) for count in counts]
        table.add_row(NAMES[kind], *(numbers if counts[1][kind] else [numbers[0], "not exercised", ""]))
    table.add_row("all", *(str(count.total()) for count in counts))
    console.print(table)
    if "disk" in kinds and not chaos.service.has_own_disk:
        console.print("no disk was filled: this user may not mount one for the studies")
    lost = [each.came.seconds_lost for each in verified if each.came.seconds_lost is not None]
    console.print(f"{trials} trials in {minutes:.0f} minutes, in histories as undisturbed")
    if lost:
        console.print(f"training lost with a killed worker: {median(lost):.1f} s, at most {max(lost):.1f} s")
    if options.json:
        document: dict[str, Any] = {
            "date": date.today().isoformat(),
            "cores": cpu_count(),
            "seed": options.seed,
            "faults": {
                NAMES[kind]: {
                    "injected": counts[0][kind],
                    "verified": counts[1][kind],
                    "survived": counts[2][kind],
                    "exercised": counts[1][kind] > 0,
                    "seen": [each.came.seen for each in verified if each.kind == kind],
                }
                for kind in kinds
            },
            "trials": trials,
            "minutes": minutes,
            "seconds_lost_with_a_worker": lost,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
