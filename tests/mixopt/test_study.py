"""What the plan, the progress and the answer of a study say of its trials; they are measured in no time."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from mixopt.results.answer import Answer
from mixopt.settings.reading import load
from mixopt.study.answer import answer_so_far
from mixopt.study.corpus import prepare_corpus
from mixopt.study.estimate import estimate
from mixopt.study.loop import Study
from mixopt.study.plan import Plan
from mixopt.study.planning import assemble
from mixopt.study.progress import LineWatcher
from mixopt.study.record import open_store, read_record
from mixopt.study.recording import begin
from mixopt.workers.executor import Executor
from mixopt.workers.messages import Closed
from mixopt.workers.training import Job
from search.problem import SEARCH_SEED
from search.trial import CurvePoint, Loss, Measurement, Trial
from tests.e2e.study import STUDY, recorded, write_study
from tracking import names

# A strategy that cannot say all its trials beforehand; 2 baselines, then 3 trials in rounds, after 8 cheap ones.
ROUNDS = STUDY + "search: {strategy: climb, surrogate: linear}\n"
EXPECTED = (8 + 2) + (3 + 2)


class Simulated(Executor):
    """Stands for the machines: a trial's losses follow from its mixture at once."""

    slots = 2

    def __init__(self) -> None:
        self._launched: list[Job] = []

    def launch(self, job: Job) -> None:
        self._launched.append(job)

    def events(self) -> Iterator[Closed]:
        while self._launched:
            trial = self._launched.pop(0).trial
            yield Closed(trial, _measured(trial))

    def close(self) -> None:
        self._launched.clear()


def _measured(trial: Trial) -> Measurement:
    losses = {name: Loss(3 - share + trial.seed / 1000, 1.0) for name, share in trial.mixture.as_dict().items()}
    curve = (CurvePoint(trial.fidelity.tokens, losses, training_loss=3.0),)
    return Measurement(losses, curve, {}, {}, trial.fidelity.flops, seconds=1.0)


def planned(folder: Path, text: str) -> Plan:
    file = load(write_study(folder, text))
    return assemble(file, prepare_corpus(file, lambda progress: None))


def run(plan: Plan) -> tuple[Answer, list[str]]:
    """The answer, and the lines that were shown meanwhile."""
    shown = io.StringIO()
    watcher = LineWatcher(Console(file=shown, width=200))
    with begin(plan, open_store(plan.file)) as record:
        study = Study(plan, record, Simulated(), watcher)
        answer = study.run()
        study.finish()
    return answer, shown.getvalue().splitlines()


def test_plan_progress_and_answer_count_the_trials_of_a_search_in_rounds(tmp_path: Path) -> None:
    plan = planned(tmp_path, ROUNDS)
    estimated = estimate(plan, probe=False)
    assert [proxy.search_trials for proxy in estimated.proxies] == [10, 5]
    assert estimated.trials == EXPECTED + plan.confirmation_size

    answer, lines = run(plan)
    assert lines[0] == f"search: at most {EXPECTED} trials"
    counts = [tuple(map(int, found.groups())) for line in lines if (found := re.match(r"\[(\d+)/(\d+)\]", line))]
    assert counts[:EXPECTED] == [(done, EXPECTED) for done in range(1, EXPECTED + 1)]
    assert not any("budget" in note for note in answer.notes)

    again, lines = run(plan)
    assert lines[0] == f"search: at most {EXPECTED} trials, {EXPECTED} of them already done"
    assert again == answer


def test_a_search_that_its_budget_ended_says_how_far_it_came(tmp_path: Path) -> None:
    whole = planned(tmp_path / "whole", ROUNDS)
    search_flops = sum(fidelity.flops * count for fidelity, count in whole.strategy.expected.items())
    # For all but the last trial.
    budget = whole.confirmation_flops + search_flops - whole.problem.target.flops
    plan = planned(tmp_path / "short", f"{ROUNDS}budget: {{flops: {budget}}}\n")
    answer, _ = run(plan)
    assert f"the budget ended the search after {EXPECTED - 1} of at most {EXPECTED} trials" in answer.notes
    trials = recorded(plan.file.file).trials
    assert sum(trial.seed == SEARCH_SEED for trial in trials) == EXPECTED - 1
    assert run(plan)[0] == answer


def test_before_the_end_the_answer_so_far_says_how_far_the_search_is(tmp_path: Path) -> None:
    plan = planned(tmp_path, ROUNDS)
    store = open_store(plan.file)
    with begin(plan, store) as recorder:
        for trial in plan.problem.baseline_trials:
            recorder.open(trial)
            recorder.close_trial(trial, _measured(trial), objective=None)
    record = read_record(plan.file)
    assert names.ANSWER not in record.written
    assert f"the search goes on: 4 of at most {EXPECTED} trials have ended" in answer_so_far(plan.file, record).notes
