"""How many workers one driver can keep busy: the real study, strategy, journal and store, on simulated machines.

    python -m benchmarks.driver_scale                                       1,000 workers, 10,000 trials, 64 domains
    python -m benchmarks.driver_scale --json benchmarks/results/driver-scale.json
    python -m benchmarks.driver_scale --trials 500 --workers 50             a quick look

Trials take 1 to 10 minutes of virtual time. The time that the driver itself takes is real and passes on the same clock:
while it thinks, workers that have ended stand idle. Then the study is resumed, as after the driver's death. Records go
into the journal at once, and to MLflow (here in SQLite) by the recorder's thread, which competes with the driver for
the interpreter. What it has not taken when the study has its answer stays in the journal: real trials leave it far more
time than virtual ones, namely the virtual seconds per trial.
"""

from __future__ import annotations

import argparse
import heapq
import io
import json
import platform
import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from joblib import cpu_count
from rich.console import Console

from mixopt.cli.tables.table import plain_table
from mixopt.settings.reading import load
from mixopt.study.corpus import prepare_corpus
from mixopt.study.loop import Loop
from mixopt.study.plan import Plan
from mixopt.study.planning import make_plan
from mixopt.study.progress import LineWatcher
from mixopt.study.record import journal_path, open_store, read_record
from mixopt.study.recording import begin
from mixopt.study.status import build_status
from mixopt.workers.executor import Executor
from mixopt.workers.messages import TrialEnd
from mixopt.workers.training import Job
from search.history import History
from search.strategies.base import Strategy
from search.trial import CurvePoint, Loss, Measurement, Trial
from tracking.journal import Journal

SHORTEST, LONGEST = 60.0, 600.0  # seconds of a trial
EVALUATIONS = 4

STUDY = """\
study: scale
domains:
{domains}
corpus: {{vocabulary: 300, validation_tokens: 100, sequence_length: 16, workers: 1}}
proxies:
  small: {{depth: 1, width: 32, heads: 2, tokens: 4k, batch_rows: 8, trials: {trials}}}
search: {{strategy: random}}
confirm: {{candidates: 0}}
baselines: [proportional]
executor: {{compile: never}}
"""


class SimulatedMachines(Executor[Job]):
    """Machines on a virtual clock: the driver's real time passes on it as well, waiting for trials takes none.

    Attributes:
        runs: when each trial began and ended.
        ended: when the last trial ended.
        driver_seconds: real time until then: everything that the driver did.
        driver_cpu: the processor time of its thread therein.
    """

    def __init__(self, slots: int, seed: int) -> None:
        self._slots = slots
        self._seed = seed
        self._ends: list[tuple[float, str, Trial]] = []
        self._began, self._cpu_began = time.perf_counter(), time.thread_time()
        self._skipped = 0.0
        self._pretended = 0.0
        self.runs: list[tuple[float, float]] = []
        self.ended = self.driver_seconds = self.driver_cpu = 0.0

    @property
    def slots(self) -> int:
        return self._slots

    @property
    def now(self) -> float:
        return time.perf_counter() - self._began - self._pretended + self._skipped

    def launch(self, job: Job) -> None:
        trial = job.trial
        begins = self.now
        ends = begins + float(np.random.default_rng([self._seed, int(trial.id, 16)]).uniform(SHORTEST, LONGEST))
        heapq.heappush(self._ends, (ends, trial.id, trial))
        self.runs.append((begins, ends))

    def events(self) -> Iterator[TrialEnd]:
        if self._ends:
            self._skipped += max(0.0, self._ends[0][0] - self.now)
        while self._ends and self._ends[0][0] <= self.now:
            trial = heapq.heappop(self._ends)[2]
            pretending = time.perf_counter()
            outcome = measured(trial)
            self._pretended += time.perf_counter() - pretending
            yield TrialEnd(trial, outcome)
        self.ended = self.now
        self.driver_seconds = time.perf_counter() - self._began - self._pretended
        self.driver_cpu = time.thread_time() - self._cpu_began - self._pretended

    def close(self) -> None:
        self._ends.clear()

    @property
    def utilisation(self) -> float:
        """The workers' share of busy time until the last trial was launched; after that there is nothing to launch."""
        last = max(begins for begins, _ in self.runs)
        return sum(min(ends, last) - begins for begins, ends in self.runs) / (self._slots * last)


def measured(trial: Trial) -> Measurement:
    """A measurement of real size whose losses fall with the domain's own share."""
    shares = trial.mixture.as_dict()
    losses = {name: Loss(3.0 + 1.0 / (1.0 + 50.0 * share), 1.2) for name, share in shares.items()}
    tokens = trial.fidelity.tokens
    curve = tuple(CurvePoint(tokens * part // EVALUATIONS, losses, 3.5) for part in range(1, EVALUATIONS + 1))
    domain_tokens = {name: round(share * tokens) for name, share in shares.items()}
    return Measurement(losses, curve, domain_tokens, shares, trial.fidelity.flops, seconds=60.0)


def planned(folder: Path, trials: int, domains: int) -> Plan:
    """A study of so many domains of a little text each."""
    words = np.random.default_rng(0).permutation(np.arange(1000)).astype(str)
    names = [f"domain{number:02}" for number in range(domains)]
    for place, name in enumerate(names):
        pool = np.roll(words, 7 * place)[:300]
        lines = [json.dumps({"text": " ".join(np.roll(pool, line))}) for line in range(20)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    listed = "\n".join(f"  {name}: {{paths: {name}.jsonl}}" for name in names)
    path = folder / "study.yaml"
    path.write_text(STUDY.format(domains=listed, trials=trials - 1))
    file = load(path)
    return make_plan(file, prepare_corpus(file, lambda progress: None))


def driven(plan: Plan, workers: int) -> dict[str, Any]:
    """The study from its first trial to its answer; MLflow gets what it can meanwhile."""
    machines = SimulatedMachines(workers, seed=0)
    with begin(plan, open_store(plan.file)) as record:
        watcher = LineWatcher(Console(file=io.StringIO(), width=200))
        study = Loop(plan, record, machines, watcher)
        study.run()
        sent = (record.entries - record.unsent) / record.entries
    trials = len(machines.runs)
    return {
        "trials": trials,
        "virtual_hours": machines.ended / 3600,
        "utilisation": machines.utilisation,
        "driver_seconds_per_trial": machines.driver_seconds / trials,
        "driver_cpu_per_trial": machines.driver_cpu / trials,
        "mlflow_seconds_per_trial": machines.driver_seconds / (sent * trials),
        "virtual_seconds_per_trial": machines.ended / trials,
    }


def resumed(plan: Plan) -> dict[str, Any]:
    """As after the driver's death: until the next trial could be asked for."""
    began = time.perf_counter()
    with begin(plan, open_store(plan.file)) as record:
        history = record.begun.history
        plan.strategy.ask(history, 1)
        seconds = time.perf_counter() - began
    path = journal_path(plan.file)
    return {
        "resume_seconds": seconds,
        "resumed_trials": len(history.completed),
        "journal_megabytes": path.stat().st_size / 1e6,
        "ask_seconds": {size: asked(plan.strategy, history, size) for size in (100, 1_000, 10_000)},
    }


def looked_at(plan: Plan) -> dict[str, Any]:
    """`mixopt status` beside the journal, and where MLflow's copy of it has to be fetched."""
    path, run = journal_path(plan.file), open_store(plan.file).find(plan.file.study)
    assert run is not None
    journal = Journal(path)
    began = time.perf_counter()
    run.keep(journal)
    copied = time.perf_counter()
    journal.close()
    here = build_status(read_record(plan.file), plan.file.tracking_uri)
    read_here = time.perf_counter()
    aside = path.rename(path.with_name("aside"))
    fetched = time.perf_counter()
    assert build_status(read_record(plan.file), plan.file.tracking_uri) == here
    read_elsewhere = time.perf_counter()
    aside.rename(path)
    return {
        "copy_seconds": copied - began,
        "copy_megabytes": max(copy.stat().st_size for copy in plan.file.home.rglob("*-?.jsonl.zst")) / 1e6,
        "status_here_seconds": read_here - copied,
        "status_elsewhere_seconds": read_elsewhere - fetched,
    }


def asked(strategy: Strategy, history: History, size: int) -> float:
    """Seconds to ask for a trial with so many completed ones."""
    part = History(completed=history.completed[:size])
    began = time.perf_counter()
    strategy.ask(part, 1)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--domains", type=int, default=64)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder, console.status("preparing a corpus"):
        plan = planned(Path(folder), options.trials, options.domains)
        console.print(f"{options.trials} trials on {options.workers} simulated workers")
        figures = driven(plan, options.workers)
        figures |= {"memory_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
        figures |= resumed(plan)
        figures |= looked_at(plan)
    table = plain_table("what", ">measured")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), _shown(value))
    console.print(table)
    if options.json:
        setting = {"workers": options.workers, "domains": options.domains, "trial_seconds": [SHORTEST, LONGEST]}
        machine = {"python": platform.python_version(), "machine": platform.machine(), "cores": cpu_count()}
        document = {"date": date.today().isoformat(), "machine": machine, "setting": setting, "figures": figures}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(each)}" for key, each in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
