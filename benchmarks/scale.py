"""What is predicted of a scale that was never trained, by the law of scale and by what predicts the largest runs.

    python -m benchmarks.scale                                    the made-up worlds and the demo's ladder
    python -m benchmarks.scale --table regmix_runs.csv --json benchmarks/results/scale.json

growing   worlds whose best mixture moves (benchmarks.growing_worlds): runs at two or three sizes, four times the
          parameters and tokens apart, and predictions for a run two sizes, or one, beyond the largest.
ladder    24 mixtures of the demo's text, trained at several sizes and lengths (benchmarks.fidelity_ladder): fitted to
          some rungs, predicting a larger one that was trained as well.
regmix    RegMix's runs of 1M and 60M parameters: fitted to those of 1M and a few of 60M, predicting the others of 60M.

r2 is of the levels of unseen mixtures at the goal against their spread there, and `shape` the same where the mean error
is forgiven; `regret`, in units of that spread, is what the best predicted mixture is worse than the best there is.

Shapes: N mixtures, D domains, M metrics.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import fmean
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from jaxtyping import Float
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import spearmanr

from benchmarks.growing_worlds import DOMAINS, WORLDS
from search.fidelity import Fidelity
from search.runs import Runs
from search.scales import Goal
from search.surrogates import SURROGATES
from search.surrogates.loss_model import LossModel

RIVALS = ("scaling_law", "blend", "effective_data", "bimix")
SCALES = [(1e7 * 4**size, 2e8 * 4**size) for size in range(4)]
COUNTS = (48, 24, 12)
AVERAGED = 32
# The blend takes five times as long as all others together.
BLEND_SEEDS = 2
# Of RegMix's thirteen.
JUDGED = ("arxiv", "dm_mathematics", "github", "pile_cc")
LADDER = Path("benchmarks/results/fidelity-ladder-2026-11-22.json")
# Width and tokens of rungs; two layers, parameters without embeddings.
RUNGS = {
    "1/4 of the tokens": (64, 32_768),
    "1/2 of the tokens": (64, 65_536),
    "base": (64, 131_072),
    "2 x the tokens": (64, 262_144),
    "4 x the tokens": (64, 524_288),
    "width 32": (32, 131_072),
    "width 128": (128, 131_072),
    "top": (128, 524_288),
}
CLIMBS = (
    (("1/4 of the tokens", "1/2 of the tokens"), "2 x the tokens"),
    (("1/2 of the tokens", "base"), "4 x the tokens"),
    (("base", "2 x the tokens"), "4 x the tokens"),
    (("width 32", "base"), "width 128"),
    (("width 32", "1/2 of the tokens", "base", "2 x the tokens"), "top"),
)


def judged(
    mean_NM: Float[np.ndarray, "N M"], sd_NM: Float[np.ndarray, "N M"], true_NM: Float[np.ndarray, "N M"]
) -> dict[str, float]:
    """Predictions against what is true, the mean over the metrics."""
    error_NM, spread_M = mean_NM - true_NM, true_NM.std(axis=0)
    return {
        "r2": float((1 - (error_NM**2).mean(axis=0) / spread_M**2).mean()),
        "shape": float((1 - error_NM.var(axis=0) / spread_M**2).mean()),
        "rank": float(spearmanr(mean_NM.mean(axis=1), true_NM.mean(axis=1)).statistic),
        "in 95%": float((np.abs(error_NM) <= 1.96 * sd_NM).mean()),
        "sd": float((sd_NM / spread_M).mean()),
    }


def growing(seeds: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(7)
    test_ND, candidates_ND = rng.dirichlet(np.full(DOMAINS, 0.5), 400), rng.dirichlet(np.ones(DOMAINS), 8000)
    found: dict[tuple[str, str, str], list[dict[str, float]]] = defaultdict(list)
    plans = (("two sizes, two beyond", (0, 1), 3), ("three sizes, one beyond", (0, 1, 2), 3))
    goals = [(kind, *plan, seed) for kind in WORLDS for plan in plans for seed in range(seeds)]
    for kind, name, trained, beyond, seed in track(goals, "growing worlds"):
        world, goal = WORLDS[kind](seed), SCALES[beyond]
        runs = world.runs([SCALES[size] for size in trained], list(COUNTS[: len(trained)]), Goal(*goal))
        true_NM, best = world.losses(test_ND, *goal), world.losses(world.best(*goal)[None], *goal).mean()
        spread = true_NM.mean(axis=1).std()
        for rival in RIVALS:
            if rival == "blend" and seed >= BLEND_SEEDS:
                continue
            model = LossModel.fit(SURROGATES[rival](0), runs)
            order_N = model.mean(candidates_ND).mean(axis=1).argsort(kind="stable")
            answer_1D = candidates_ND[order_N[:AVERAGED]].mean(axis=0)[None]
            regret = float((world.losses(answer_1D, *goal).mean() - best) / spread)
            found[kind, name, rival].append(judged(*model.predict(test_ND), true_NM) | {"regret": regret})
        stay = world.losses(world.best(*SCALES[trained[-1]])[None], *goal).mean()
        found[kind, name, "the true best of the largest"].append({"regret": float((stay - best) / spread)})
    return [
        {"world": kind, "plan": name, "surrogate": rival, "seeds": len(scores)}
        | {key: fmean(each[key] for each in scores) for key in scores[0]}
        for (kind, name, rival), scores in found.items()
    ]


def ladder() -> list[dict[str, Any]]:
    rows = json.loads(LADDER.read_text())["runs"]
    lines = []
    for trained, goal in track(CLIMBS, "ladder"):
        runs, (params, tokens) = _of_rungs(rows, trained), _scale(goal)
        runs = Runs(**{**vars(runs), "goal": Goal(params, tokens)})
        there = _of_rungs(rows, (goal,))
        for rival in ("scaling_law", "effective_data", "bimix"):
            model = LossModel.fit(SURROGATES[rival](0), runs)
            scores = judged(*model.predict(there.weights_ND), there.values_NM)
            lines.append({"trained": list(trained), "goal": goal, "surrogate": rival} | scores)
    return lines


def _scale(rung: str) -> tuple[float, float]:
    width, tokens = RUNGS[rung]
    return 24.0 * width**2, float(tokens)


def _of_rungs(rows: list[dict[str, Any]], names: tuple[str, ...]) -> Runs:
    order = sorted(names, key=lambda name: np.prod(_scale(name)))
    chosen = [row for name in order for row in rows if row["rung"] == name]
    domains, metrics = tuple(rows[0]["weights"]), tuple(rows[0]["losses"])
    return Runs(
        names=tuple(map(str, range(len(chosen)))),
        domains=domains,
        metrics=metrics,
        fidelities=tuple(
            Fidelity(name, round(params), round(tokens), 6 * params * tokens)
            for name, (params, tokens) in zip(order, map(_scale, order), strict=True)
        ),
        weights_ND=np.array([[row["weights"][name] for name in domains] for row in chosen]),
        fidelity_N=np.array([order.index(row["rung"]) for row in chosen], dtype=np.int64),
        values_NM=np.array([[row["losses"][name] for name in metrics] for row in chosen]),
    )


def regmix(table: Path) -> list[dict[str, Any]]:
    """How few runs of 60M are enough, beside 256 of 1M: level and ranking of the others."""
    from mixopt.runs.table import read

    runs, _ = read(table, JUDGED)
    small, large = np.flatnonzero(runs.at(0))[:256], np.flatnonzero(runs.at(1))
    order = np.random.default_rng(0).permutation(large)
    lines = []
    for count in (8, 24):
        chosen = runs.select(np.concatenate([small, np.sort(order[:count])]))
        rest = runs.select(np.sort(order[64:]))
        for rival in ("scaling_law", "effective_data", "bimix"):
            model = LossModel.fit(SURROGATES[rival](0), chosen)
            scores = judged(*model.predict(rest.weights_ND), rest.values_NM)
            lines.append({"runs of 60M": count, "surrogate": rival} | scores)
    return lines


def shown(title: str, lines: list[dict[str, Any]]) -> Table:
    table = Table(title=title)
    for column in lines[0]:
        table.add_column(column, justify="left" if isinstance(lines[0][column], str | list) else "right")
    for line in lines:
        cells = [line.get(column, "") for column in lines[0]]
        table.add_row(*(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="RegMix's runs, as docs/run-tables.md has them")
    parser.add_argument("--seeds", type=int, default=4, help="worlds of each kind")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    sections: dict[str, Callable[[], list[dict[str, Any]]]] = {"ladder": ladder}
    if options.table:
        sections["regmix"] = lambda: regmix(options.table)
    sections["growing"] = lambda: growing(options.seeds)
    found: dict[str, Any] = {"date": date.today().isoformat()}
    for title, section in sections.items():
        found[title] = section()
        Console(width=150).print(shown(title, found[title]))
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
