"""The contest: everybody trains as much, nothing is trained twice, and its figures are those of the confirmation."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress

from benchmarks import contest as module
from benchmarks.contest import Contest, Found, compete, described, prepare, run_sd, show, standard_error, trained
from mixopt.workers.messages import TrialEnd
from mixopt.workers.training import Job
from search.fidelity import Fidelity
from search.mixture import Mixture
from search.seeds import SEARCH_SEED
from search.trial import Failure, FailureKind, Loss, Measurement, Trial
from tests.text import write_jsonl

STUDY = """\
study: contest
domains:
  prose: {paths: data/prose.jsonl}
  code:  {paths: data/code.jsonl}
  sums:  {paths: data/sums.jsonl}
corpus: {vocabulary: 300, validation_tokens: 200, sequence_length: 16, workers: 1}
proxies:
  search:       {kind: dense, depth: 1, width: 16, tokens: 2k, batch_rows: 8, evaluations: 1, trials: 1}
  confirmation: {kind: dense, depth: 1, width: 16, tokens: 8k, batch_rows: 8, evaluations: 1, trials: 1}
executor: {compile: never}
"""
NAMES = ("olmix_law", "random")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Contest:
    directory = tmp_path_factory.mktemp("contest")
    write_jsonl(directory / "data", {"prose": 30, "code": 20, "sums": 10})
    return prepare(directory, STUDY)


@pytest.fixture
def contest(prepared: Contest, tmp_path: Path) -> Contest:
    """Nothing of it is kept yet."""
    return replace(prepared, directory=tmp_path)


def noise(job: Job) -> float:
    return 0.01 * float(np.random.default_rng([int(job.trial.id, 16), job.study_seed]).standard_normal())


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """What was trained; a formula stands for the models."""
    asked: list[Job] = []

    def run_trials(jobs: list[Job]) -> Iterator[TrialEnd]:
        (job,) = jobs
        asked.append(job)
        losses = {
            name: Loss(value := 3 - weight**0.5 + noise(job), value)
            for name, weight in job.trial.mixture.as_dict().items()
        }
        yield TrialEnd(job.trial, Measurement(losses, (), {}, {}, 1.0, 1.0))

    monkeypatch.setattr(module, "run_trials", run_trials)
    return asked


def hold(
    contest: Contest, names: tuple[str, ...] = NAMES, sizes: tuple[int, ...] = (12, 8), seeds: int = 2
) -> list[Found]:
    with ThreadPoolExecutor(1) as pool, Progress(console=Console(file=StringIO())) as progress:
        return compete(contest, names, sizes, seeds, pool, progress)


def test_everybody_trains_as_much_and_nothing_is_trained_twice(contest: Contest, jobs: list[Job]) -> None:
    found = hold(contest)
    assert {(each.searcher, each.size, each.seed) for each in found} == {
        (name, size, seed) for name in NAMES for size in (8, 12) for seed in (0, 1)
    }
    assert all(each.trained == each.size for each in found)
    trained_once = {(job.trial.id, job.study_seed) for job in jobs}
    assert len(trained_once) == len(jobs) == len(contest.trainings)
    # All share a design, of which the smaller search has the first part.
    assert sum(job.trial.seed == SEARCH_SEED for job in jobs) == 2 * 12

    done = len(jobs)
    assert hold(contest) == found
    assert len(jobs) == done


def test_a_contest_that_was_killed_trains_what_is_missing(contest: Contest, jobs: list[Job]) -> None:
    found = hold(contest, ("random",))
    file = contest.directory / "trainings.jsonl"
    lines, done = file.read_bytes().splitlines(keepends=True), len(jobs)
    killed = replace(contest, directory=contest.directory / "killed")
    killed.directory.mkdir()
    (killed.directory / file.name).write_bytes(b"".join(lines[:-2]) + lines[-2][:20])
    assert [each.mixture for each in hold(killed, ("random",))] == [each.mixture for each in found]
    assert len(jobs) == done + 2
    assert (killed.directory / file.name).read_bytes().count(b"\n") == done


@pytest.mark.slow
def test_the_figures_are_those_of_the_confirmation(contest: Contest, jobs: list[Job]) -> None:
    figures = described(contest, hold(contest, ("regmix", *NAMES)))
    assert json.loads(json.dumps(figures, allow_nan=False))["seeds"] == 2
    for level, fidelity in contest.levels.items():
        baselines = {name: np.mean(values) for name, values in figures[level]["baselines"].items()}
        best = baselines[figures[level]["best_baseline"]]
        assert best == min(baselines.values())
        row = next(row for row in figures["rows"] if (row["size"], row["searcher"]) == (12, "olmix_law"))

        def confirmed(answer: dict[str, Any], fidelity: Fidelity = fidelity) -> list[Job]:
            return contest.confirmations(Mixture.of(answer["mixture"]), fidelity)

        values = [
            3 - np.mean(np.sqrt(list(each["mixture"].values()))) + np.mean([noise(job) for job in confirmed(each)])
            for each in figures["answers"]
            if (each["size"], each["searcher"]) == (12, "olmix_law")
        ]
        assert row[level]["beyond_best_baseline"] == pytest.approx(np.mean(values) - best)
        assert row[level]["standard_error"] == pytest.approx(np.std(values, ddof=1) / 2**0.5)
    # Over so few runs RegMix's trees are constants.
    assert all(row["best_observed"] == 2 for row in figures["rows"] if row["searcher"] in ("regmix", "random"))
    printed = StringIO()
    show(Console(file=printed, width=200), figures)
    assert "olmix_law" in printed.getvalue()


def test_a_training_that_diverges_is_kept_and_one_that_fails_is_not(
    contest: Contest, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = contest.job(Trial(contest.problem.baselines["uniform"], contest.searching, SEARCH_SEED), 0)
    kinds = [FailureKind.ERROR, FailureKind.DIVERGED]
    monkeypatch.setattr(module, "run_trials", lambda jobs: iter([TrialEnd(job.trial, Failure(kinds.pop(0), "why"))]))
    with pytest.raises(RuntimeError, match="why"):
        trained(contest, job)
    for _ in range(2):
        assert trained(contest, job) == Failure(FailureKind.DIVERGED, "why")


def test_noise_and_errors() -> None:
    assert standard_error(np.array([1.0])) is None
    assert standard_error(np.array([1.0, 3.0])) == pytest.approx(1.0)
    shared = np.array([0.0, 1.0, 5.0])
    assert run_sd([shared, shared + 2]) == pytest.approx(0, abs=1e-12)


@pytest.mark.slow
def test_real_trainings_give_the_same_numbers_again(contest: Contest) -> None:
    found = hold(contest, ("mixopt", "random"), (8,), 1)
    again = hold(replace(contest, directory=contest.directory / "again"), ("random",), (8,), 1)
    assert [replace(each, seconds=0) for each in found if each.searcher == "random"] == [
        replace(each, seconds=0) for each in again
    ]
    assert described(contest, found)["rows"][0]["trained"] <= 8
