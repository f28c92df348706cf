"""Studies whose trials are measured by a formula, in no time: all but the training is as a user runs it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from mixopt.results.answer import Answer
from mixopt.settings.reading import load
from mixopt.study.corpus import prepare_corpus
from mixopt.study.loop import Loop
from mixopt.study.plan import Plan
from mixopt.study.planning import make_plan
from mixopt.study.progress import LineWatcher
from mixopt.study.record import open_store
from mixopt.study.recording import begin
from mixopt.workers.executor import Executor
from mixopt.workers.messages import TrialEnd
from mixopt.workers.training import Job
from search.trial import CurvePoint, Failure, Loss, Measurement, Trial
from tests.e2e.study import STUDY, write_study

# A strategy that cannot say all its trials beforehand; 2 baselines, then 3 trials in rounds, after 8 cheap ones.
ROUNDS = STUDY + "search: {strategy: climb, surrogate: linear}\n"
ROUNDS_TRIALS = (8 + 2) + (3 + 2)


def measured(trial: Trial, stopped: bool = False) -> Measurement:
    """What training the trial would measure: each loss falls with the share of its own domain.

    Args:
        stopped: whether the trial was given up as hopeless, half of the way.
    """
    losses = {name: Loss(3 - share + trial.seed / 1000, 1.0) for name, share in trial.mixture.as_dict().items()}
    half, tokens = trial.fidelity.tokens // 2, trial.fidelity.tokens
    curve = tuple(CurvePoint(at, losses, training_loss=3.0) for at in ([half] if stopped else [half, tokens]))
    flops = trial.fidelity.flops / (2 if stopped else 1)
    return Measurement(losses, curve, {}, {}, flops, seconds=1.0, stopped_at=half if stopped else None)


class Simulated(Executor[Job]):
    """Stands for the machines: a trial is measured as soon as somebody asks."""

    slots = 2

    def __init__(self, measuring: Callable[[Trial], Measurement | Failure] = measured) -> None:
        self._launched: list[Job] = []
        self._measuring = measuring

    def launch(self, job: Job) -> None:
        self._launched.append(job)

    def events(self) -> Iterator[TrialEnd]:
        while self._launched:
            trial = self._launched.pop(0).trial
            yield TrialEnd(trial, self._measuring(trial))

    def close(self) -> None:
        self._launched.clear()


def planned(folder: Path, text: str = STUDY) -> Plan:
    """The plan of a study file of this text, whose tokens are prepared in `folder`."""
    file = load(write_study(folder, text))
    return make_plan(file, prepare_corpus(file, lambda progress: None))


def run(plan: Plan, measuring: Callable[[Trial], Measurement | Failure] = measured) -> tuple[Answer, list[str]]:
    """The answer, and the lines that were shown meanwhile."""
    shown = io.StringIO()
    watcher = LineWatcher(Console(file=shown, width=200))
    with begin(plan, open_store(plan.file)) as record:
        study = Loop(plan, record, Simulated(measuring), watcher)
        answer = study.run()
        study.finish()
    return answer, shown.getvalue().splitlines()
