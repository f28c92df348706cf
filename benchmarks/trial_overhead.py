"""What a trial costs beyond its training: Ray, the journal, MLflow beside it, the driver.

    python -m benchmarks.trial_overhead
    python -m benchmarks.trial_overhead --json benchmarks/results/trial-overhead.json

A study of short trials runs on a local Ray cluster, one trial at a time. The first trial is left out: its worker
process starts, and loads torch, which the next ones find done. Overhead is the time from one trial's end to the next
one's, less the training that its worker measured.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import date
from itertools import pairwise
from pathlib import Path
from statistics import median

from joblib import cpu_count
from rich.console import Console

from mixopt.settings.reading import load
from mixopt.study.corpus import prepare_corpus
from mixopt.study.loop import Loop
from mixopt.study.planning import make_plan
from mixopt.study.progress import Watcher
from mixopt.study.record import open_store
from mixopt.study.recording import begin
from mixopt.workers import executor
from search.problem import Standing
from search.trial import Failure, Measurement, Trial
from tests.text import write_jsonl

MINUTE = 60.0
STUDY = """\
study: overhead
domains:
  prose: {{paths: data/prose.jsonl}}
  code:  {{paths: data/code.jsonl}}
  sums:  {{paths: data/sums.jsonl}}
corpus: {{vocabulary: 300, validation_tokens: 500, sequence_length: 32, workers: 1}}
proxies:
  small: {{depth: 1, width: 32, heads: 2, tokens: 20k, batch_rows: 8, trials: {trials}}}
search: {{strategy: random}}
confirm: {{candidates: 0}}
executor: {{slots: 1, compile: never}}
"""


class Clock(Watcher):
    """Notes when trials end, and how long they trained."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.trained: list[float] = []

    def closed(self, trial: Trial, outcome: Measurement | Failure, standing: Standing | None) -> None:
        assert isinstance(outcome, Measurement), outcome
        self.ends.append(time.perf_counter())
        self.trained.append(outcome.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_jsonl(Path(folder) / "data", {"prose": 60, "code": 30, "sums": 20})
        path = Path(folder) / "study.yaml"
        path.write_text(STUDY.format(trials=options.trials))
        file = load(path)
        plan = make_plan(file, prepare_corpus(file, lambda progress: None))
        clock = Clock()
        with begin(plan, open_store(file)) as record, executor(file.executor, file.study, Path(folder)) as workers:
            Loop(plan, record, workers, clock).run()
    spent = [later - earlier for earlier, later in pairwise(clock.ends)]
    overheads = [between - trained for between, trained in zip(spent, clock.trained[1:], strict=True)]
    typical, mean = median(overheads), sum(overheads) / len(overheads)
    console = Console(highlight=False)
    console.print(f"{len(overheads)} trials: {typical:.3f} s beyond training (median), {mean:.3f} s (mean)")
    console.print(f"of a trial of one minute: {mean / MINUTE:.2%}")
    if options.json:
        figures = {"trials": len(overheads), "median_seconds": typical, "mean_seconds": mean}
        document = {"date": date.today().isoformat(), "cores": cpu_count(), **figures}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
