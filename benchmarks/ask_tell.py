"""Clients that ask for trials and tell of them, all at once, and are killed at random: is anything lost, or twice?

    python -m benchmarks.ask_tell
    python -m benchmarks.ask_tell --trials 1000 --clients 8 --kills 100 --json benchmarks/results/ask_tell.json

Each client is a process that asks for four trials, tells of each, and so on. Moments of kills are seeded. Whoever was
killed begins again under its name, as a job does that its batch system starts again. At the end the journal, and
MLflow, have to hold each trial once, with the losses that its mixture has.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from mlflow import MlflowClient
from rich.console import Console

from mixopt.settings.reading import load
from mixopt.settings.schema import StudyFile
from mixopt.study.record import journal_path
from search.trial import Measurement
from tests.foreign import STUDY, trained, write_foreign
from tracking import keys
from tracking.entries import Closed, Opened
from tracking.journal import read

AT_A_TIME = 4
BETWEEN_KILLS = (0.2, 2.0)  # seconds
ENDED = 0


@dataclass(frozen=True)
class Race:
    """
    Attributes:
        lost: trials that were asked for and never measured.
        twice: trials that were opened, or closed, more than once.
        wrong: trials whose losses are not those of their mixture.
        missing_in_mlflow: trials whose measurement it lacks.
    """

    trials: int
    clients: int
    kills: int
    seconds: float
    lost: int
    twice: int
    wrong: int
    missing_in_mlflow: int

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.twice or self.wrong or self.missing_in_mlflow)


def client(file: str, name: str) -> None:
    """What one client does, until nothing is left."""
    import mixopt

    study = mixopt.Study(file)
    while not (asked := study.ask(AT_A_TIME, client=name)).ended:
        if not asked.trials:
            time.sleep(0.5)  # others have what is left
        for trial in asked.trials:
            study.tell(trial.trial, trained(trial.weights, trial.seed))


def race(folder: Path, trials: int, clients: int, kills: int) -> Race:
    """Let them run to the study's end."""
    text = STUDY.replace("trials: 10", f"trials: {trials - 2}").replace("candidates: 1, seeds: 2", "candidates: 0")
    file = write_foreign(folder, text.replace("strategy: regmix, surrogate: linear", "strategy: random"))
    chance, killed, began = random.Random(0), 0, time.monotonic()

    def begin(number: int) -> subprocess.Popen[bytes]:
        code = f"from benchmarks.ask_tell import client; client({str(file)!r}, 'client {number}')"
        return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)

    running = {number: begin(number) for number in range(clients)}
    due = time.monotonic() + chance.uniform(*BETWEEN_KILLS)
    while running:
        time.sleep(0.05)
        for number, process in [*running.items()]:
            if process.poll() == ENDED:
                del running[number]
            elif process.poll() is not None:
                running[number] = begin(number)
        if running and killed < kills and time.monotonic() > due:
            running[chance.choice([*running])].kill()
            killed += 1
            due = time.monotonic() + chance.uniform(*BETWEEN_KILLS)
    return _judged(file, trials, clients, killed, time.monotonic() - began)


def _judged(path: Path, trials: int, clients: int, kills: int, seconds: float) -> Race:
    file = load(path)
    opened, closed, wrong = Counter[str](), Counter[str](), 0
    for entry in read(journal_path(file)):
        match entry:
            case Opened(trial):
                opened[trial.id] += 1
            case Closed(trial, Measurement(losses)):
                closed[trial.id] += 1
                right = trained(trial.mixture.as_dict())
                # Seeds add less than a thousandth.
                wrong += any(abs(losses[name].nats_per_token - loss) > 0.001 for name, loss in right.items())
    measured = _finished_in_mlflow(file)
    return Race(
        trials=len(closed),
        clients=clients,
        kills=kills,
        seconds=seconds,
        lost=len(opened.keys() - closed.keys()) + max(0, trials - len(opened)),
        twice=sum(count > 1 for count in opened.values()) + sum(count > 1 for count in closed.values()),
        wrong=wrong,
        missing_in_mlflow=len(closed.keys() - measured),
    )


def _finished_in_mlflow(file: StudyFile) -> set[str]:
    """Ids of the trials that its pages show as finished, not only the copy of the journal there."""
    client = MlflowClient(tracking_uri=file.tracking_uri)
    experiment = client.get_experiment_by_name(file.tracking.experiment)
    assert experiment is not None
    found, page = set[str](), client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'")
    while True:
        found |= {run.data.tags.get(keys.TRIAL_ID, "") for run in page}
        if not page.token:
            return found
        page = client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'", page_token=page.token)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = race(Path(folder), options.trials, options.clients, options.kills)
    console = Console()
    for name, value in asdict(found).items():
        console.print(f"{name:>18}  {value:.0f}" if name == "seconds" else f"{name:>18}  {value}")
    if options.json:
        options.json.write_text(json.dumps(asdict(found), indent=2) + "\n")


if __name__ == "__main__":
    main()
