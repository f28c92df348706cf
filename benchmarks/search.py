"""What the search's figures in the README come from.

    python -m benchmarks.search --table RUNS.csv                the README's: the first five sections
    python -m benchmarks.search synthetic speed                 only these sections
    python -m benchmarks.search --table RUNS.csv --seeds 5 --json benchmarks/results/search.json
    python -m benchmarks.search own_sets --seeds 10 --domains 5 9
    python -m benchmarks.search nine_pools --nine-pools nine_pools.csv --seeds 10

surrogates   the default and its rivals, fitted to n of RegMix's 512 runs at 1M, scored on other mixtures at 1M and 60M,
             per metric and for the mean of 13 losses, this among the best quarter and the best tenth, too
replay       cost until the best 60M run has been trained, warm start at 1M included, for each of four metrics
replay_mean  the same for the mean of 13 losses, 13 surrogates a question
synthetic    regret of worlds with a known optimum: Bayesian optimisation against RegMix with four times the runs
speed        time to propose a batch and, given the table, to fit the default, one core
own_sets     worlds with an evaluation set for each domain, of which all, three or one are judged: regret of strategies
             that train as much, baselines included; with 64 domains hours
scarce       worlds whose domains repeat, with harm and without, of one fidelity and of two: by surrogate, the regret of
             RegMix's answer, and by how much it is worse than was predicted
nine_pools   the same as own_sets in a world like nine real pools of text, whose runs are the table of --nine-pools

The first three sections need the table of RegMix's published runs.
No surrogate sees a run of those that it is scored on, and nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from joblib import cpu_count

# One thread per process: what is timed is one core, and processes do not share theirs.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from benchmarks.nine_pools import Pools
from benchmarks.worlds import OwnSets, Scarce, Sparse, World, regret, search
from mixopt.runs.table import read
from search.history import History
from search.intervals import reach
from search.objective import WeightedMean
from search.recommendation.ranking import BasinScore, score_basin
from search.replay import Replay
from search.runs import Runs
from search.strategies import STRATEGIES
from search.strategies.base import Settings
from search.surrogates import DEFAULT, SURROGATES

SIZES = (24, 32, 64, 128, 512)
RIVALS = (DEFAULT, "warped_gp", "effective_data", "gp_ard", "gp_isotropic", "log_linear", "lightgbm")
STRATEGIES_PLAYED = ("random", "regmix", "climb", "bayes")
SINGLE_METRICS = ("pile_cc", "github", "wikipedia_en", "hackernews")
TRAINED, UNSEEN, LARGE = "1m-train", "1m-test", "60m"
# Own sets: so many trainings in all, by the number of domains.
OWN_SETS = {5: 40, 9: 40, 17: 40, 64: 160}
WORTHS_OF_OTHERS = (0.01, 1e-4)
OWN_SETS_PLAYED = ("bayes", "regmix", "climb")
POOLS_JUDGED: dict[str, tuple[str, ...]] = {
    "all nine": (),
    "three": ("german_law", "literature", "rust"),
    "one": ("handbook",),
}
POOLS_PLAYED = (("bayes", 40), ("regmix", 40), ("regmix", 80))
# Where domains repeat: the epochs beyond which more of one is a loss, cheap runs, runs at the target, and whether the
# cheap ones repeat as much.
SCARCE = {
    "harm, one fidelity": (6.0, 0, 64, True),
    "harm, two that repeat alike": (6.0, 64, 24, True),
    "harm, a cheap one of fresh text": (6.0, 64, 24, False),
    "no harm, one fidelity": (float("inf"), 0, 64, True),
}
SCARCE_DOMAINS = (5, 17)
SCARCE_RIVALS = (DEFAULT, "epochs", "effective_data", "log_linear", "lightgbm")
# A run is a waste whose true objective is so many nats above the optimum.
WASTE = 0.5

Section = Callable[[argparse.Namespace], list[dict[str, Any]]]


def split(runs: Runs, prefix: str) -> Runs:
    return runs.select(np.array([name.startswith(prefix) for name in runs.names]))


def rank_correlation(one_N: Float[np.ndarray, " N"], other_N: Float[np.ndarray, " N"]) -> float:
    """0 where either side is constant: a constant prediction ranks nothing."""
    return float(spearmanr(one_N, other_N).statistic) if np.ptp(one_N) and np.ptp(other_N) else 0.0


def subset(seed: int, size: int) -> Int[np.ndarray, " K"]:
    """The subsets that published comparisons on this table use."""
    return np.random.RandomState(1000 + seed).permutation(512)[:size].astype(np.int64)


def fit_one(job: tuple[Path, str, int, int]) -> dict[str, Any]:
    """One surrogate on one subset: every metric's scores, and its predictions at both scales."""
    table, name, size, seed = job
    runs, _ = read(table)
    train, unseen, large = split(runs, TRAINED).select(subset(seed, size)), split(runs, UNSEEN), split(runs, LARGE)
    scores: dict[str, list[float]] = {key: [] for key in ("at_1m", "at_60m", "covered_80", "covered_95", "seconds")}
    means = []
    for metric, values_N in enumerate(train.values_NM.T):
        began = time.perf_counter()
        surrogate = SURROGATES[name](seed).fit(train.weights_ND, values_N)
        scores["seconds"].append(time.perf_counter() - began)
        there, far = surrogate.predict(unseen.weights_ND), surrogate.predict(large.weights_ND)
        error_N = np.abs(there.mean_N - unseen.values_NM[:, metric])
        scores["at_1m"].append(rank_correlation(there.mean_N, unseen.values_NM[:, metric]))
        scores["at_60m"].append(rank_correlation(far.mean_N, large.values_NM[:, metric]))
        scores["covered_80"].append(float((error_N <= reach(0.80) * there.sd_N).mean()))
        scores["covered_95"].append(float((error_N <= reach(0.95) * there.sd_N).mean()))
        means.append((there.mean_N, far.mean_N))
    of_sum = [np.mean([pair[place] for pair in means], axis=0) for place in (0, 1)]
    return {
        "surrogate": name,
        "runs": size,
        "seed": seed,
        **{key: float(np.mean(values)) for key, values in scores.items()},
        "mean_at_1m": rank_correlation(of_sum[0], unseen.values_NM.mean(axis=1)),
        "mean_at_60m": rank_correlation(of_sum[1], large.values_NM.mean(axis=1)),
        "pile_cc_at_1m": scores["at_1m"][train.metrics.index("pile_cc")],
        **in_basin(unseen.values_NM.mean(axis=1), of_sum[0]),
    }


def in_basin(measured_N: Float[np.ndarray, " N"], predicted_N: Float[np.ndarray, " N"]) -> dict[str, float]:
    """Scores among the best quarter and the best tenth; the regret in standard deviations of all."""
    found: dict[str, float] = {}
    for name, share in (("quarter", 0.25), ("tenth", 0.1)):
        basin = score_basin(measured_N, predicted_N, share)
        assert isinstance(basin, BasinScore), "too few mixtures to score"
        found |= {f"{name}_spearman": basin.spearman or 0.0, f"{name}_pairwise": basin.pairwise}
        found["regret_sd"] = basin.regret / float(measured_N.std())
    return found


def surrogates(options: argparse.Namespace) -> list[dict[str, Any]]:
    jobs = [(options.table, name, size, seed) for size in SIZES for name in RIVALS for seed in range(options.seeds)]
    jobs += [(options.table, "regmix_lightgbm", 512, seed) for seed in range(options.seeds)]
    # With all 512 runs the seed changes only their order, and trees take minutes.
    jobs = [job for job in jobs if job[3] == 0 or job[2] < 512 or "lightgbm" not in job[1]]
    return averaged(parallel(options, fit_one, jobs), ("surrogate", "runs"))


def replay_one(job: tuple[Path, tuple[str, ...], str, int]) -> dict[str, Any]:
    table, metrics, strategy, seed = job
    runs, _ = read(table)
    chosen = np.array([name.startswith((TRAINED, LARGE)) for name in runs.names])
    replay = Replay(runs.select(chosen), WeightedMean(dict.fromkeys(metrics, 1.0)))
    played = replay.play(strategy, Settings(), seed)
    return {
        "metrics": "mean of 13" if len(metrics) > 1 else metrics[0],
        "strategy": strategy,
        "seed": seed,
        "cost_to_best": played.cost_to_best,
        "regret_at_3_sd": played.regret_at(3) / replay.sd,
    }


def replays(options: argparse.Namespace, questions: list[tuple[str, ...]], label: str) -> list[dict[str, Any]]:
    jobs = [
        (options.table, question, strategy, seed)
        for seed in range(options.replays)
        for question in questions
        for strategy in STRATEGIES_PLAYED
    ]
    found = parallel(options, replay_one, jobs)
    rows = []
    for strategy in STRATEGIES_PLAYED:
        mine = [row for row in found if row["strategy"] == strategy]
        costs = np.array([row["cost_to_best"] for row in mine])
        rows.append(
            {
                "objective": label,
                "strategy": strategy,
                "replays": len(mine),
                "median": float(np.median(costs)),
                "q75": float(np.quantile(costs, 0.75, method="higher")),
                "regret_at_3_sd": float(np.mean([row["regret_at_3_sd"] for row in mine])),
            }
        )
    return rows


def replay(options: argparse.Namespace) -> list[dict[str, Any]]:
    return replays(options, [(name,) for name in SINGLE_METRICS], "four single metrics")


def replay_mean(options: argparse.Namespace) -> list[dict[str, Any]]:
    runs, _ = read(options.table)
    return replays(options, [runs.metrics], "mean of 13")


def synthetic_one(job: tuple[int, int, float, int, str]) -> dict[str, Any]:
    domains, seed, noise, runs, who = job
    world = Sparse(domains, seed, noise)
    if who == "regmix, lightgbm":
        found, cost = regret(world, world.problem(runs), "regmix", Settings(surrogate="lightgbm"))
    elif who == "regmix, blend":
        found, cost = regret(world, world.problem(runs), "regmix", Settings())
    else:
        # What the cheap runs cost is taken off the target's.
        cheap = 2 * domains if who == "bayes, two fidelities" else 0
        found, cost = regret(world, world.problem(runs - cheap // 50 - (cheap > 0), cheap), "bayes", Settings())
    return {"domains": domains, "noise": noise, "search": who, "runs": runs, "cost": cost, "regret": found}


def synthetic(options: argparse.Namespace) -> list[dict[str, Any]]:
    jobs: list[tuple[int, int, float, int, str]] = []
    for domains, many in ((5, 64), (17, 192), (64, 384)):
        for noise in (0.05, 0.3):
            for seed in range(options.seeds):
                jobs += [(domains, seed, noise, many, "regmix, lightgbm")]
                jobs += [
                    (domains, seed, noise, many // 4, who)
                    for who in ("regmix, blend", "bayes", "bayes, two fidelities")
                ]
    return averaged(parallel(options, synthetic_one, jobs), ("domains", "noise", "search", "runs"))


def search_one(world: World, strategy: str, runs: int) -> dict[str, Any]:
    """What became of a search that may train `runs` mixtures, baselines included."""
    baselines = len(History().new(world.problem(0).baseline_trials))
    problem = world.problem(runs - baselines)
    found = search(world, problem, strategy, Settings())
    known_ND, tried_ND = (
        np.array([mixture.array for mixture in mixtures])
        for mixtures in (problem.baselines.values(), [trial.mixture for trial in found.history.trials])
    )
    return {
        "search": strategy,
        "runs": runs,
        "regret": found.regret,
        "best_baseline": float(world.value(known_ND).min()) - world.optimum,
        "used": len(tried_ND),
        "wasted": int((world.value(tried_ND) > world.optimum + WASTE).sum()),
    }


def own_sets_one(job: tuple[int, int, float, int, str, int]) -> dict[str, Any]:
    domains, judged, worth, seed, strategy, runs = job
    world = OwnSets(domains, seed, judged, worth)
    return {
        "domains": domains,
        "judged": judged,
        "worth_of_others": worth,
        "seed": seed,
        **search_one(world, strategy, runs),
    }


def own_sets(options: argparse.Namespace) -> list[dict[str, Any]]:
    jobs = [
        (domains, judged, worth, seed, strategy, OWN_SETS[domains])
        for domains in options.domains
        for judged in options.judged or (domains, 3, 1)
        for worth in WORTHS_OF_OTHERS
        for strategy in options.strategies
        for seed in range(options.seeds)
    ]
    keys = ("domains", "judged", "worth_of_others", "search", "runs")
    return with_worst(parallel(options, own_sets_one, jobs), keys)


def scarce_one(job: tuple[str, int, int, str]) -> dict[str, Any]:
    """The answer of one surrogate to what a design measured, the same for all."""
    name, domains, seed, surrogate = job
    peak, cheap, runs, matched = SCARCE[name]
    world = Scarce(domains, seed, 0.05, peak, matched)
    problem, history = world.problem(runs, cheap), History()
    regmix = STRATEGIES["regmix"](problem, Settings(surrogate=surrogate))
    for trial in regmix.ask(history, regmix.expected.total()):
        history = history.closed(trial, world.measure(trial))
    began = time.process_time()
    answer = regmix.recommend(history)
    seconds = time.process_time() - began
    value = float(world.value(answer.mixture.array[None])[0])
    # Where no regression is trusted, what was measured is expected.
    expected = value if answer.predicted is None else answer.predicted.mean
    return {
        "world": name,
        "domains": domains,
        "surrogate": surrogate,
        "seed": seed,
        "regret": value - world.optimum,
        "optimism": value - expected,
        "missed": abs(value - expected),
        "seconds": seconds,
    }


def scarce(options: argparse.Namespace) -> list[dict[str, Any]]:
    jobs = [
        (name, domains, seed, surrogate)
        for name in SCARCE
        for domains in SCARCE_DOMAINS
        for surrogate in SCARCE_RIVALS
        for seed in range(options.seeds)
    ]
    return with_worst(parallel(options, scarce_one, jobs), ("world", "domains", "surrogate"))


def nine_pools_one(job: tuple[Path, str, int, str, int]) -> dict[str, Any]:
    table, judged, seed, strategy, runs = job
    return {"judged": judged, "seed": seed, **search_one(Pools(table, seed, POOLS_JUDGED[judged]), strategy, runs)}


def nine_pools(options: argparse.Namespace) -> list[dict[str, Any]]:
    jobs = [
        (options.nine_pools, judged, seed, strategy, runs)
        for judged in POOLS_JUDGED
        for strategy, runs in POOLS_PLAYED
        for seed in range(options.seeds)
    ]
    return with_worst(parallel(options, nine_pools_one, jobs), ("judged", "search", "runs"))


def with_worst(rows: list[dict[str, Any]], keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """As `averaged`, with the standard error of the regret and the largest."""
    groups = averaged(rows, keys)
    for group in groups:
        regret_N = np.array([row["regret"] for row in rows if all(row[key] == group[key] for key in keys)])
        group["regret_se"] = float(regret_N.std(ddof=1) / len(regret_N) ** 0.5) if len(regret_N) > 1 else float("nan")
        group["worst"] = float(regret_N.max())
    return groups


def speed(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Alone on the machine, one after the other."""
    # BoTorch takes some five seconds to load, once per process.
    import_module("search.acquisitions.log_ei")
    rows = []
    for domains, trials in ((17, 500), (64, 2000)):
        world = Sparse(domains, 0, 0.1)
        problem = world.problem(trials + 8)
        history = History()
        for trial in STRATEGIES["random"](problem).ask(history, trials):
            history = history.closed(trial, world.measure(trial))
        one_metric = replace(problem, objective=WeightedMean({"m0": 1.0}))
        began = time.perf_counter()
        asked = STRATEGIES["bayes"](one_metric).ask(history, 8)
        seconds = time.perf_counter() - began
        rows.append({"what": f"propose {len(asked)} at {trials} trials, {domains} domains", "seconds": seconds})
    if options.table:
        runs, _ = read(options.table)
        train = split(runs, TRAINED)
        fits = []
        for values_N in train.values_NM.T:
            began = time.perf_counter()
            SURROGATES[DEFAULT](0).fit(train.weights_ND, values_N)
            fits.append(time.perf_counter() - began)
        rows.append({"what": f"fit {DEFAULT} to 512 runs, 17 domains, one metric", "seconds": float(np.median(fits))})
    return rows


SECTIONS: dict[str, Section] = {
    "surrogates": surrogates,
    "replay": replay,
    "replay_mean": replay_mean,
    "synthetic": synthetic,
    "speed": speed,
    "own_sets": own_sets,
    "scarce": scarce,
    "nine_pools": nine_pools,
}
# What is run where none is named.
OF_THE_README = ("surrogates", "replay", "replay_mean", "synthetic", "speed")
NEED_TABLE = ("surrogates", "replay", "replay_mean")


def parallel(
    options: argparse.Namespace, work: Callable[[Any], dict[str, Any]], jobs: list[Any]
) -> list[dict[str, Any]]:
    done = []
    with ProcessPoolExecutor(options.processes) as pool:
        for place, row in enumerate(pool.map(work, jobs), 1):
            done.append(row)
            print(f"\r{place} of {len(jobs)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return done


def averaged(rows: list[dict[str, Any]], keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """The mean of every number over the rows that agree in `keys`, in the order of their first appearance."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return [
        dict(zip(keys, group, strict=True))
        | {"repeats": len(members)}
        | {name: float(np.mean([each[name] for each in members])) for name in members[0] if name not in (*keys, "seed")}
        for group, members in groups.items()
    ]


def shown(title: str, rows: Iterable[dict[str, Any]]) -> Table:
    rows = list(rows)
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    return table


def valid_json(row: dict[str, Any]) -> dict[str, Any]:
    """The row with null for what is infinite: a best mixture that was never trained, a regret before any run."""
    return {name: None if isinstance(value, float) and not isfinite(value) else value for name, value in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", default=list(OF_THE_README), help=", ".join(SECTIONS))
    parser.add_argument("--table", type=Path, help="RegMix's published runs, in the format of docs/run-tables.md")
    parser.add_argument("--nine-pools", type=Path, help="runs on nine pools of text, in the same format")
    parser.add_argument("--seeds", type=int, default=3, help="subsets and worlds")
    parser.add_argument(
        "--domains", type=int, nargs="+", choices=list(OWN_SETS), default=list(OWN_SETS), help="of own_sets"
    )
    parser.add_argument("--judged", type=int, nargs="+", help="own_sets: of how many sets the mean counts")
    parser.add_argument("--strategies", nargs="+", default=OWN_SETS_PLAYED, help="own_sets: those that search")
    parser.add_argument("--replays", type=int, default=20, help="seeds of each replay")
    parser.add_argument("--processes", type=int, default=cpu_count())
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; choose from {', '.join(SECTIONS)}")
    lacking = [name for name in options.sections if name in NEED_TABLE and not options.table]
    if lacking:
        parser.error(f"{', '.join(lacking)}: RegMix's published runs are needed, give them with --table RUNS.csv")
    if "nine_pools" in options.sections and not options.nine_pools:
        parser.error("nine_pools: runs on nine pools of text are needed, give them with --nine-pools TABLE")
    for name in ("table", "nine_pools"):
        path = getattr(options, name)
        if path and not path.exists():
            parser.error(f"--{name.replace('_', '-')} {path} does not exist")
    console = Console()
    results: dict[str, list[dict[str, Any]]] = {}
    for name in options.sections:
        began = time.perf_counter()
        results[name] = SECTIONS[name](options)
        console.print(shown(f"{name}, {time.perf_counter() - began:.0f} s", results[name]))
    if options.json:
        document = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": platform.processor() or platform.machine(),
            "cores": cpu_count(),
            "python": platform.python_version(),
            **{package: version(package) for package in ("numpy", "scipy", "botorch", "torch", "lightgbm")},
            **{name: [valid_json(row) for row in rows] for name, rows in results.items()},
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
