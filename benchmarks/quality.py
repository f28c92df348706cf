"""Levels of quality: what scorers see, and what a search gains by levels.

    python -m benchmarks.quality worlds --seeds 10 --json benchmarks/results/quality_worlds.json

worlds      made-up worlds of 4 pools with 5 levels each (benchmarks.quality_worlds): of what there was to gain over the
            natural mixture, the share that a search of 24 or 40 runs gained, by what it chooses: shares of levels, any
            or as sampling functions give them, or shares of whole pools

Nothing is chosen by the figures that are told but the default of `search.levels`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, get_args

# One thread per process: what is timed is one core, and processes do not share theirs.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from joblib import cpu_count

from benchmarks.quality_worlds import KINDS, LEVELS, Levelled, Searched
from benchmarks.worlds import search
from search.strategies.base import Settings

POOLS, RUNS = 4, (24, 40)
NOISE, PEAK = 0.05, 6.0


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


SECTIONS = {"worlds": worlds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=list(SECTIONS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--runs", type=int, nargs="+", default=list(RUNS), help="trainings of a search")
    parser.add_argument("--strategies", nargs="+", default=["bayes", "regmix"])
    parser.add_argument("--processes", type=int, default=cpu_count())
    parser.add_argument("--log", type=Path, help="append each row as it is known")
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    rows = SECTIONS[options.section](options)
    for row in rows:
        print("  ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    if options.json:
        document = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": platform.processor() or platform.machine(),
            options.section: rows,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
