"""A small real contest: who finds the better mixture of the demo's text with the same number of trainings?

    python -m benchmarks.contest --directory DIR                     hours; killed and begun again, it goes on
    python -m benchmarks.contest --directory DIR --seeds 2 --sizes 16 32 --methods mixopt random

The objective is broad: the mean loss over the seven domains' own sets, without limits, groups or a target. Each
searcher gets the same number of trainings, baselines and repeats included; each seed has a design, initial weights and
an order of text of its own. The answers and the baselines are then trained on four times the tokens with three new
seeds, the same for all, and, to tell who searches well from what carries over to longer runs, with these seeds on the
search's own tokens. Told is how far the mean of an answer is from that of the best baseline, with the standard error
over the searches' seeds, and how often no other answer was lower (of equal ones, both count). The baseline's own error
is in all of these differences alike, and not in their standard errors.

mixopt              the default
regmix              RegMix's design and its published trees, which cannot split over fewer than 40 runs
regmix_small_leaves the same design, trees with leaves as small as the runs ask for
olmix_law           the same design, Olmix's log-linear law
random              the same design, the best that was measured

All that regress answer with the best measured mixture where cross-validation shows no regression to be better than
chance, which RegMix and Olmix as published do not. Trainings and answers are kept in DIR; an answer is looked for again
when the code of search/ has changed.

Shapes: K searchers, N searches' seeds, M mixtures, S seeds of the confirmation.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

# One thread per process: trainings and searches are split over processes.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from jaxtyping import Float
from joblib import cpu_count
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import search
from benchmarks.kept import Kept
from mixopt.cli.tables.table import plain_table
from mixopt.settings.demo import DOMAINS, write_demo
from mixopt.settings.reading import load
from mixopt.study.corpus import prepare_corpus
from mixopt.study.planning import make_plan
from mixopt.workers.messages import TrialEnd
from mixopt.workers.training import Job, run_trials
from proxies.allocator import keep_freed_memory
from proxies.processes import process_pool
from proxies.recipe import Recipe
from search.designs.choices import TEMPERED_DIRICHLET
from search.fidelity import Fidelity
from search.history import History
from search.mixture import Mixture
from search.noise import by_seed
from search.problem import Problem, Rung
from search.recommendation.recommendation import BEST_OBSERVED
from search.seeds import of_confirmation
from search.strategies import STRATEGIES
from search.strategies.base import Settings, Strategy
from search.strategies.fixed_design import FixedDesign
from search.trial import Failure, FailureKind, Loss, Measurement, Trial

SEEDS, SIZES = 5, (16, 32, 64)
# A searcher is always asked for so many trials at a time, so that the answers do not depend on the processes.
BATCH = 4
CONFIRMED_SEEDS = 3
# In the place of a search's seed: initial weights and orders of text that no search has seen.
OF_CONFIRMATION = 1_000_003
TITLES = {"confirmed": "four times the tokens", "as_searched": "the search's tokens, new seeds"}

STUDY = """\
study: contest
domains:
{domains}
corpus: {{vocabulary: 1024, validation_tokens: 5k, sequence_length: 128}}
proxies:
  search:       {{kind: dense, depth: 2, width: 64, tokens: 128k, batch_rows: 16, evaluations: 1, trials: 1}}
  confirmation: {{kind: dense, depth: 2, width: 64, tokens: 512k, batch_rows: 16, evaluations: 1, trials: 1}}
executor: {{compile: never}}
"""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Searcher:
    strategy: str
    settings: Settings

    def on(self, problem: Problem) -> Strategy:
        return STRATEGIES[self.strategy](problem, self.settings)


def regression(surrogate: str) -> Searcher:
    return Searcher("regmix", Settings(surrogate=surrogate, design=TEMPERED_DIRICHLET))


SEARCHERS: Mapping[str, Searcher] = {
    "mixopt": Searcher("bayes", Settings()),
    "regmix": regression("regmix_lightgbm"),
    "regmix_small_leaves": regression("lightgbm"),
    "olmix_law": regression("log_linear"),
    "random": Searcher("random", Settings(design=TEMPERED_DIRICHLET)),
}


@dataclass(frozen=True)
class Contest:
    """
    Attributes:
        problem: with the rungs of the search and of the confirmation; a search is given the first alone.
        recipes: of both, by the name of their proxy.
        corpus: folder of the tokens; `fingerprint`: of its text.
        directory: where trainings and answers are kept.
    """

    problem: Problem
    recipes: Mapping[str, Recipe]
    corpus: str
    fingerprint: str
    directory: Path

    def searched(self, size: int, seed: int) -> Problem:
        """The problem of a searcher that may train `size` mixtures in all."""
        trials = size - len(History().new(self.searching_baselines))
        if trials < 1:
            raise ValueError(f"a size of {size} leaves nothing to search: so many are the baselines")
        return replace(self.problem, rungs=(Rung(self.searching, trials),), seed=seed)

    @property
    def searching(self) -> Fidelity:
        return self.problem.rungs[0].fidelity

    @property
    def searching_baselines(self) -> list[Trial]:
        return [trial for trial in self.problem.baseline_trials if trial.fidelity == self.searching]

    def job(self, trial: Trial, seed: int) -> Job:
        """A trial of the search with that seed."""
        recipe = self.recipes[trial.fidelity.proxy]
        return Job(trial, recipe, self.corpus, self.fingerprint, checkpoint=None, study_seed=seed)

    def confirmations(self, mixture: Mixture, fidelity: Fidelity) -> list[Job]:
        return [self.job(Trial(mixture, fidelity, seed), OF_CONFIRMATION) for seed in of_confirmation(CONFIRMED_SEEDS)]

    @property
    def levels(self) -> dict[str, Fidelity]:
        """Where answers are judged."""
        return {"confirmed": self.problem.target, "as_searched": self.searching}

    def objective(self, measurement: Measurement) -> float:
        objective = self.problem.objective
        return float(objective.value(objective.losses(measurement)[None])[0])

    @property
    def trainings(self) -> Kept:
        return _kept(self.directory / "trainings.jsonl")

    @property
    def answers(self) -> Kept:
        return _kept(self.directory / "answers.jsonl")


@dataclass(frozen=True)
class Found:
    """One search's answer.

    Attributes:
        trained: how many trainings it took; it may end early.
        method: the surrogate that it rests on, or "best observed".
        seconds: of the search without the trainings.
    """

    searcher: str
    size: int
    seed: int
    mixture: Mixture
    trained: int
    method: str
    seconds: float


@cache
def _kept(file: Path) -> Kept:
    return Kept(file)


def prepare(directory: Path, study: str) -> Contest:
    """
    Args:
        study: text of a study file in `directory` with the two proxies.
    """
    path = directory / "contest.yaml"
    path.write_text(study)
    file = load(path)
    plan = make_plan(file, prepare_corpus(file, lambda step: None))
    return Contest(plan.problem, plan.recipes, plan.exchange.corpus, plan.pools.fingerprint, directory)


def prepare_demo(directory: Path) -> Contest:
    write_demo(directory)
    domains = "\n".join(f"  {name}: {{paths: text/{name}.jsonl.gz}}" for name in DOMAINS)
    return prepare(directory, STUDY.format(domains=domains))


def key_of(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def training_key(job: Job) -> str:
    """The same for what would give the same numbers."""
    return key_of(job.trial.id, job.study_seed, job.recipe, job.corpus_fingerprint)


def trained(contest: Contest, job: Job) -> Measurement | Failure:
    """What became of a training: kept, or trained now and kept.

    Raises:
        RuntimeError: it failed for another reason than its numbers.
    """
    key = training_key(job)
    if contest.trainings.get(key) is None:
        contest.trainings.refresh()
    if (value := contest.trainings.get(key)) is None:
        value = train(job)
        contest.trainings.add(key, value)
    if "diverged" in value:
        return Failure(FailureKind.DIVERGED, value["diverged"])
    losses = {name: Loss(*loss) for name, loss in value["losses"].items()}
    return Measurement(losses, (), {}, {}, value["flops"], value["seconds"])


def train(job: Job) -> dict[str, Any]:
    *_, end = run_trials([job])
    assert isinstance(end, TrialEnd), "the last event of a trial"
    outcome, trial = end.outcome, job.trial
    told: dict[str, Any] = {"weights": trial.mixture.as_dict(), "tokens": trial.fidelity.tokens}
    told |= {"study_seed": job.study_seed, "seed": trial.seed}
    if isinstance(outcome, Measurement):
        losses = {name: [loss.nats_per_token, loss.bits_per_byte] for name, loss in outcome.losses.items()}
        return told | {"losses": losses, "flops": outcome.flops, "seconds": outcome.seconds}
    if outcome.kind is not FailureKind.DIVERGED:
        raise RuntimeError(f"trial {trial.id} failed: {outcome.message}")
    return told | {"diverged": outcome.message}


def known_jobs(contest: Contest, names: Iterable[str], sizes: Iterable[int], seeds: Iterable[int]) -> list[Job]:
    """What is trained whatever is measured: baselines, and the designs of those that know theirs beforehand."""
    jobs = []
    for seed in seeds:
        jobs += [contest.job(trial, seed) for trial in contest.searching_baselines]
        for size in sizes:
            for name in names:
                strategy = SEARCHERS[name].on(contest.searched(size, seed))
                if isinstance(strategy, FixedDesign):
                    jobs += [contest.job(trial, seed) for trial in strategy.ask(History(), size)]
    return jobs


def search_sizes(contest: Contest, name: str, sizes: Sequence[int], seed: int) -> list[Found]:
    """One after the other: trainings that they share are there for the second."""
    return [answer(contest, name, size, seed) for size in sizes]


def answer(contest: Contest, name: str, size: int, seed: int) -> Found:
    """A search's answer: kept, or found now and kept."""
    searcher, recipe = SEARCHERS[name], contest.recipes[contest.searching.proxy]
    key = key_of(searcher, size, seed, BATCH, recipe, contest.fingerprint, _search_code())
    if (value := contest.answers.get(key)) is None:
        value = asdict(run_search(contest, name, size, seed))
        contest.answers.add(key, value)
    weights = value["mixture"]
    return Found(**(value | {"mixture": Mixture(tuple(weights["domains"]), tuple(weights["weights"]))}))


def run_search(contest: Contest, name: str, size: int, seed: int) -> Found:
    strategy, history, seconds = SEARCHERS[name].on(contest.searched(size, seed)), History(), 0.0
    while True:
        began = time.perf_counter()
        trials = strategy.ask(history, BATCH)
        seconds += time.perf_counter() - began
        if not trials:
            break
        for trial in trials:
            history = history.closed(trial, trained(contest, contest.job(trial, seed)))
    assert len(history.trials) <= size, f"{name} trained more than it may"
    began = time.perf_counter()
    found = strategy.recommend(history)
    seconds += time.perf_counter() - began
    return Found(name, size, seed, found.mixture, len(history.trials), found.method, seconds)


@cache
def _search_code() -> str:
    """Of all that decides an answer but the trainings."""
    assert search.__file__ is not None
    files = sorted(Path(search.__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


class Stages:
    """What is done side by side, with a bar for each stage and the time that is left of it."""

    def __init__(self, contest: Contest, pool: Executor, progress: Progress) -> None:
        self._contest, self._pool, self._progress = contest, pool, progress

    def train(self, title: str, jobs: Iterable[Job]) -> None:
        """Those of them that are not kept."""
        self._contest.trainings.refresh()
        fresh = {key: job for job in jobs if self._contest.trainings.get(key := training_key(job)) is None}
        for _ in self.run(title, [(trained, (self._contest, job), 1) for job in fresh.values()]):
            pass

    def run(self, title: str, tasks: Sequence[tuple[Callable[..., Result], tuple[Any, ...], int]]) -> Iterator[Result]:
        """Results in the order of the tasks, which are functions, their arguments, and trainings at most."""
        bar = self._progress.add_task(title, total=sum(size for *_, size in tasks))
        before, sizes = len(self._contest.trainings), {}
        futures: list[Future[Result]] = []
        for function, arguments, size in tasks:
            futures.append(self._pool.submit(function, *arguments))
            sizes[futures[-1]] = size
        running = set(futures)
        try:
            while running:
                ended, running = wait(running, timeout=1, return_when=FIRST_COMPLETED)
                for future in ended:
                    future.result()  # an error ends it all
                self._contest.trainings.refresh()
                done = sum(size for future, size in sizes.items() if future not in running)
                self._progress.update(bar, completed=max(done, len(self._contest.trainings) - before))
        finally:
            for future in running:
                future.cancel()
        for future in futures:
            yield future.result()


def compete(
    contest: Contest, names: Sequence[str], sizes: Sequence[int], seeds: int, pool: Executor, progress: Progress
) -> list[Found]:
    """Search and confirm; after it, every training of the contest is kept."""
    stages, sizes = Stages(contest, pool, progress), sorted(sizes)
    stages.train("designs", known_jobs(contest, names, sizes, range(seeds)))
    tasks = [(search_sizes, (contest, name, sizes, seed), sum(sizes)) for seed in range(seeds) for name in names]
    found = [each for several in stages.run("searches", tasks) for each in several]
    judged = [*contest.problem.baselines.values(), *(each.mixture for each in found)]
    for level, fidelity in contest.levels.items():
        stages.train(level, [job for mixture in judged for job in contest.confirmations(mixture, fidelity)])
    return found


def new_values(contest: Contest, mixture: Mixture, fidelity: Fidelity) -> Float[np.ndarray, " S"]:
    """Its objective by seed of the confirmation.

    Raises:
        RuntimeError: one diverged.
    """
    values = []
    for job in contest.confirmations(mixture, fidelity):
        outcome = trained(contest, job)
        if isinstance(outcome, Failure):
            raise RuntimeError(f"the confirmation of {mixture.as_dict()} failed: {outcome.message}")
        values.append(contest.objective(outcome))
    return np.array(values)


def compared(contest: Contest, found: Sequence[Found]) -> dict[str, Any]:
    """All figures: of the baselines, of each searcher by size, and of each answer."""
    answers, levels = [_plain(each) for each in found], {}
    for level, fidelity in contest.levels.items():
        baselines = {
            name: new_values(contest, mixture, fidelity) for name, mixture in contest.problem.baselines.items()
        }
        best = min(baselines, key=lambda name: float(baselines[name].mean()))
        values_AS = [new_values(contest, each.mixture, fidelity) for each in found]
        for each, values_S in zip(answers, values_AS, strict=True):
            beyond = float(values_S.mean() - baselines[best].mean())
            each[level] = {"values": values_S.tolist(), "beyond_best_baseline": beyond}
        levels[level] = {
            "best_baseline": best,
            "baselines": {name: values_S.tolist() for name, values_S in baselines.items()},
            "run_sd": run_sd([*baselines.values(), *values_AS]),
        }
    rows = []
    for size in dict.fromkeys(each["size"] for each in answers):
        rows += rows_of([each for each in answers if each["size"] == size], list(levels))
    return {"seeds": len({each["seed"] for each in answers}), **levels, "rows": rows, "answers": answers}


def rows_of(answers: Sequence[Mapping[str, Any]], levels: Iterable[str]) -> list[dict[str, Any]]:
    """Of one size, a row for each searcher; the first is who the others are compared with, seed by seed."""
    by_searcher: dict[str, list[Mapping[str, Any]]] = {}
    for each in answers:
        by_searcher.setdefault(each["searcher"], []).append(each)
    beyond = {
        level: np.array([[each[level]["beyond_best_baseline"] for each in own] for own in by_searcher.values()])
        for level in levels
    }
    return [
        {
            "size": own[0]["size"],
            "searcher": name,
            "seeds": len(own),
            "trained": float(np.mean([each["trained"] for each in own])),
            "best_observed": sum(each["method"] == BEST_OBSERVED for each in own),
            "seconds_of_search": float(np.mean([each["seconds"] for each in own])),
            **{level: told(beyond_KN, place) for level, beyond_KN in beyond.items()},
        }
        for place, (name, own) in enumerate(by_searcher.items())
    ]


def told(beyond_KN: Float[np.ndarray, "K N"], place: int) -> dict[str, Any]:
    """How far the answers of one searcher are from the best baseline, and from the first searcher's, over the seeds."""
    beyond_N, apart_N = beyond_KN[place], beyond_KN[place] - beyond_KN[0]
    return {
        "beyond_best_baseline": float(beyond_N.mean()),
        "standard_error": standard_error(beyond_N),
        "beats_best_baseline": int((beyond_N < 0).sum()),
        "lowest": int((beyond_N <= beyond_KN.min(axis=0)).sum()),
        "beyond_first": float(apart_N.mean()),
        "beyond_first_standard_error": standard_error(apart_N),
    }


def _plain(found: Found) -> dict[str, Any]:
    return asdict(found) | {"mixture": found.mixture.as_dict()}


def standard_error(values_N: Float[np.ndarray, " N"]) -> float | None:
    return float(values_N.std(ddof=1) / np.sqrt(len(values_N))) if len(values_N) > 1 else None


def run_sd(values: Sequence[Float[np.ndarray, " S"]]) -> float | None:
    """Of what a seed does to one mixture alone, each distinct mixture counted once."""
    values_MS = np.unique(np.array(values), axis=0)
    noise = by_seed([dict(enumerate(values_S.tolist())) for values_S in values_MS]).noise
    return None if noise is None else noise.run_sd


def show(console: Console, figures: Mapping[str, Any]) -> None:
    rows = figures["rows"]
    first = rows[0]["searcher"]
    for level, title in TITLES.items():
        of_level = figures[level]
        best = of_level["best_baseline"]
        least = float(np.mean(of_level["baselines"][best]))
        table = plain_table("baseline", ">mean", ">minus the best's", title=f"baselines, {title}")
        for name, values in of_level["baselines"].items():
            table.add_row(name, f"{np.mean(values):.4f}", f"{np.mean(values) - least:+.4f}")
        console.print(table)
        columns = (">size", "searcher", ">trained", f">minus {best}'s", ">beats it", ">lowest", f">minus {first}'s")
        table = plain_table(*columns, ">best observed", title=f"answers, {title}: mean and standard error over seeds")
        for row in rows:
            own = row[level]
            table.add_row(
                str(row["size"]),
                row["searcher"],
                f"{row['trained']:.1f}",
                with_error(own["beyond_best_baseline"], own["standard_error"]),
                f"{own['beats_best_baseline']} of {row['seeds']}",
                f"{own['lowest']} of {row['seeds']}",
                "" if row["searcher"] == first else with_error(own["beyond_first"], own["beyond_first_standard_error"]),
                f"{row['best_observed']} of {row['seeds']}",
            )
        console.print(table)
        if of_level["run_sd"] is not None:
            by_chance = of_level["run_sd"] * np.sqrt(2 / CONFIRMED_SEEDS)
            console.print(f"by chance alone two mixtures are apart by {by_chance:.4f} (one standard deviation)\n")


def with_error(mean: float, error: float | None) -> str:
    return f"{mean:+.4f}" + ("" if error is None else f" ± {error:.4f}")


def described(contest: Contest, found: Sequence[Found]) -> dict[str, Any]:
    """The figures with all that they depend on."""
    packages = ("mixopt", "numpy", "scipy", "botorch", "torch", "lightgbm")
    return {
        "date": date.today().isoformat(),
        "machine": f"{cpu_count()} cores, {platform.processor() or platform.machine()}",
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "search_code": _search_code(),
        "corpus": contest.fingerprint,
        "recipes": {name: asdict(recipe) for name, recipe in contest.recipes.items()},
        "baseline_mixtures": {name: mixture.as_dict() for name, mixture in contest.problem.baselines.items()},
        **compared(contest, found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, required=True, help="of the text, and of all that is kept")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="searches of each")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="trainings of a search")
    parser.add_argument("--methods", nargs="+", choices=list(SEARCHERS), default=list(SEARCHERS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/contest.json"))
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    console = Console()
    with console.status("preparing the demo's text"):
        contest = prepare_demo(options.directory)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        process_pool(options.processes, keep_freed_memory, threads=1) as pool,
        Progress(*columns, TimeRemainingColumn(), console=console) as progress,
    ):
        found = compete(contest, options.methods, options.sizes, options.seeds, pool, progress)
    figures = described(contest, found)
    show(console, figures)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    # By its name, so that other processes can import what they are given to do.
    from benchmarks import contest

    contest.main()
