"""Levels of quality: what scorers see, and what a search gains by levels.

    python -m benchmarks.quality worlds --seeds 10 --json benchmarks/results/quality_worlds.json
    python -m benchmarks.quality scorers --directory DIR --json benchmarks/results/quality_scorers.json
    python -m benchmarks.quality study --directory DIR --json benchmarks/results/quality_study.json

worlds      made-up worlds of 4 pools with 5 levels each (benchmarks.quality_worlds): of what there was to gain over the
            natural mixture, the share that a search of 24 or 40 runs gained, by what it chooses: shares of levels, any
            or as sampling functions give them, or shares of whole pools
scorers     on the demo's text, a third of a pool spoilt in one way (benchmarks.spoilt): how often a good document
            scores above a spoilt one, half where they are alike (the area under the curve), by scorer and way
study       on the same text, a third of each pool spoilt in all ways: what real small proxies gain over the
            proportional mixture, judged by good text that is in no pool, by a search over pools and by one over their
            levels with as many trainings; told of the answer, which may be a baseline, over new seeds

No constant of a scorer, nor of the search, was chosen by these figures, but the default of `quality.search` by those of
`worlds`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

# One thread per process: what is timed is one core, and processes do not share theirs.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from joblib import cpu_count

from benchmarks.quality_worlds import KINDS, LEVELS, Levelled, Searched
from benchmarks.small_study import SmallStudy, begin_or_go_on, gains
from benchmarks.spoilt import SPOIL, read_texts, write_texts
from benchmarks.worlds import search
from mixopt import api
from mixopt.settings.demo import write_text_of_demo
from proxies.data.sources import Source
from proxies.quality.base import Scorer, sample
from proxies.quality.scores import LEARNING, Score, ScorerName, scorer_of
from search.randomness import generator
from search.strategies.base import Settings

POOLS, RUNS = 4, (24, 40)
NOISE, PEAK = 0.05, 6.0
# Of the demo's: those with lines and words.
DOMAINS = ("python_code", "documentation", "docstrings", "licences")
# Of each domain: what judges, what a scorer learns from; the rest is the pool. And how much of that is spoilt.
JUDGING, GOOD, SPOILT = 0.15, 0.2, 1 / 3

# Options of `study` that what is kept in its folder depends on.
KEPT = ("scorer", "levels", "tokens", "trials")


def worlds_one(job: tuple[str, int, str, int, Searched]) -> dict[str, Any]:
    name, runs, strategy, seed, searched = job
    world = Levelled(POOLS * LEVELS, seed, NOISE, PEAK, world=name)
    began = time.process_time()
    found = search(world, world.question(runs, searched), strategy, Settings(stop_when_resolved=False), batch=4)
    return {
        "world": name,
        "runs": runs,
        "strategy": strategy,
        "searched": searched,
        "seed": seed,
        "gained": 1 - found.regret / (world.proportional - world.optimum),
        "trained": len(found.history.trials),
        "seconds": time.process_time() - began,
    }


def worlds(options: argparse.Namespace) -> list[dict[str, Any]]:
    jobs = [
        (name, runs, strategy, seed, searched)
        for seed in range(options.seeds)
        for runs in options.runs
        for name in KINDS
        for strategy in options.strategies
        for searched in get_args(Searched)
    ]
    rows = []
    with ProcessPoolExecutor(options.processes) as pool:
        for place, row in enumerate(pool.map(worlds_one, jobs), 1):
            rows.append(row)
            if options.log:
                with options.log.open("a") as log:
                    log.write(json.dumps(row) + "\n")
            print(f"\r{place} of {len(jobs)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return summed(rows, ("world", "runs", "strategy", "searched"), "gained")


def scorers(options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for domain in DOMAINS:
        _, good, pool = parted(options.directory, domain)
        learned: dict[ScorerName, Scorer] = {}
        for kind, spoil in SPOIL.items():
            rng = generator(options.seed, "spoilt", domain, kind)
            bad_N = rng.random(len(pool)) < SPOILT
            texts = [spoil(text, rng) if bad else text for text, bad in zip(pool, bad_N, strict=True)]
            for name in get_args(ScorerName):
                score = Score(name, good=Source("good", ("in memory",)) if name in LEARNING else None)
                # The language model learns from the good set alone.
                scorer = learned.get(name) or scorer_of(score, sample(texts), good, options.seed)
                if name == "language_model":
                    learned[name] = scorer
                score_N = scorer.score(texts)
                above = above_bad(score_N[~bad_N], score_N[bad_N])
                rows.append({"scorer": name, "spoilt": kind, "domain": domain, "above": above})
    return [
        {"scorer": name, **{kind: mean(rows, scorer=name, spoilt=kind) for kind in SPOIL}}
        for name in get_args(ScorerName)
    ]


def parted(directory: Path, domain: str) -> tuple[list[str], list[str], list[str]]:
    """Texts of a domain: those that judge, those that scorers learn from, and the pool."""
    write_text_of_demo(directory / "text")
    texts = read_texts(directory / "text" / f"{domain}.jsonl.gz")
    judging, good = int(JUDGING * len(texts)), int((JUDGING + GOOD) * len(texts))
    return texts[:judging], texts[judging:good], texts[good:]


def above_bad(good_N: np.ndarray, bad_N: np.ndarray) -> float:
    above_NN, alike_NN = good_N[:, None] > bad_N, good_N[:, None] == bad_N
    return float(np.mean(above_NN + 0.5 * alike_NN))


def mean(rows: Sequence[dict[str, Any]], **of: str) -> float:
    return float(np.mean([row["above"] for row in rows if of.items() <= row.items()]))


def study(options: argparse.Namespace) -> list[dict[str, Any]]:
    return [row for seed in range(options.seeds) for row in study_one(options, seed)]


def study_one(options: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    folder: Path = options.directory / f"seed-{seed}"
    begin_or_go_on(folder / "options.json", {name: getattr(options, name) for name in KEPT})
    for domain in DOMAINS:
        judging, good, pool = parted(options.directory, domain)
        rng = generator(seed, "spoilt", domain)
        ways = list(SPOIL.values())
        texts = [ways[rng.integers(len(ways))](text, rng) if rng.random() < SPOILT else text for text in pool]
        for name, part in (("judging", judging), ("good", good), ("pool", texts)):
            write_texts(folder / name / f"{domain}.jsonl", part)
    pools = SmallStudy(
        folder=folder,
        name="pools",
        seed=seed,
        domains={domain: f"{{paths: pool/{domain}.jsonl}}" for domain in DOMAINS},
        evaluation={f"good_{domain}": f"judging/{domain}.jsonl" for domain in DOMAINS},
        weights={f"good_{domain}": 1 for domain in DOMAINS},
        tokens=options.tokens,
        trials=options.trials,
    )
    answers = {"pools": api.Study(pools.write()).run()}
    for search_by in options.searched:
        levelled = replace(
            pools,
            name=search_by,
            domains={domain: levels_of(domain, search_by, options) for domain in DOMAINS},
            tokenizer=pools.tokenizer_made(),
        )
        path, made = levelled.write(), folder / f"{search_by}-levels.yaml"
        if not made.exists():
            api.cut_pools(path, folder / f"levels-{search_by}", made)
        answers[search_by] = api.Study(made).run()
    rows = []
    for searched, answer in answers.items():
        rows.append({"searched": searched, "seed": seed} | gains(answer))
        print(rows[-1], flush=True)
    return rows


def levels_of(domain: str, search_by: str, options: argparse.Namespace) -> str:
    """A domain with levels of quality, as a study file has it."""
    good = f", good: good/{domain}.jsonl" if options.scorer in LEARNING else ""
    quality = f"{{scorer: {options.scorer}{good}, levels: {options.levels}, search: {search_by}}}"
    return f"{{paths: pool/{domain}.jsonl, quality: {quality}}}"


def summed(rows: list[dict[str, Any]], keys: tuple[str, ...], value: str) -> list[dict[str, Any]]:
    """The mean of a number, and its standard error, over the rows that agree in `keys`."""
    groups: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row[value])
    return [
        dict(zip(keys, group, strict=True))
        | {
            value: float(np.mean(values)),
            "standard_error": float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else None,
            "worst": float(np.min(values)),
            "repeats": len(values),
        }
        for group, values in groups.items()
    ]


SECTIONS = {"worlds": worlds, "scorers": scorers, "study": study}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=list(SECTIONS))
    parser.add_argument("--seeds", type=int, default=3, help="worlds, study: how many")
    parser.add_argument("--seed", type=int, default=0, help="scorers: which documents are spoilt")
    parser.add_argument("--runs", type=int, nargs="+", default=list(RUNS), help="worlds: trainings of a search")
    parser.add_argument("--strategies", nargs="+", default=["bayes"], help="worlds: those that search")
    parser.add_argument("--processes", type=int, default=cpu_count(), help="worlds: side by side")
    parser.add_argument("--log", type=Path, help="worlds: append each row as it is known")
    parser.add_argument("--directory", type=Path, help="scorers, study: of the text, and of all that is kept")
    parser.add_argument("--scorer", default="classifier", choices=get_args(ScorerName), help="study: by which")
    parser.add_argument("--searched", nargs="+", default=["function", "cells"], help="study: how levels are searched")
    parser.add_argument("--levels", type=int, default=3, help="study: of each pool")
    parser.add_argument("--tokens", default="128k", help="study: of a proxy")
    parser.add_argument("--trials", type=int, default=24, help="study: of a search, the two baselines not counted")
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    if options.section != "worlds" and options.directory is None:
        parser.error(f"{options.section} keeps its text in a folder: give it with --directory")
    rows = SECTIONS[options.section](options)
    for row in rows:
        print("  ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    if options.json:
        document = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": platform.processor() or platform.machine(),
            "options": {name: value for name, value in vars(options).items() if not isinstance(value, Path)},
            options.section: rows,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
