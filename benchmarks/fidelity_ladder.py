"""Do small proxies rank mixtures as larger ones do? What docs/fidelity-ladder.md tells comes from here.

    python -m benchmarks.fidelity_ladder --work DIR                            everything, about half an hour
    python -m benchmarks.fidelity_ladder --work DIR --ladder moe               for a mixture of experts as the top
    python -m benchmarks.fidelity_ladder --work DIR --json benchmarks/results/fidelity-ladder.json

The same mixtures of the demo's text are trained at every rung of a ladder: smaller and larger models, fewer and more
tokens, lower learning rates, other seeds, dense and MoE. Each rung is compared with the top one: the rank correlation
of their objectives over the mixtures, with a 95% interval by resampling the mixtures, and how far the rung's best
mixture is from the top's best. Finished runs are kept in DIR/runs.jsonl, and not trained again.

The top of the second ladder is a mixture of experts as they are built in 2026: sigmoid scores, balanced by a bias, four
of 32 small experts for each token.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import date
from multiprocessing import get_context
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any

from jaxtyping import Float

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from joblib import cpu_count
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import spearmanr

from mixopt.settings.demo import write_demo
from mixopt.settings.reading import load
from mixopt.study.corpus import prepare_corpus
from proxies.data.corpus import Corpus
from proxies.models.size import Balancing, Kind, Scores

MIXTURES = 24
BATCH_ROWS, LENGTH = 16, 128
JUDGED_BY = ("python_code", "documentation", "docstrings")  # the demo's objective is the mean of their losses
RESAMPLES = 2000


@dataclass(frozen=True)
class Rung:
    """One way to train a proxy; `slower` divides the default peak learning rate."""

    name: str
    kind: Kind = "dense"
    depth: int = 2
    width: int = 64
    tokens: int = 131_072
    slower: float = 1.0
    seed: int = 1
    scores: Scores | None = None
    balancing: Balancing | None = None
    sparsity: float | None = None
    granularity: int | None = None


RUNGS = (
    Rung("top", width=128, tokens=524_288),
    Rung("top, another seed", width=128, tokens=524_288, seed=2),
    Rung("base"),
    Rung("base, another seed", seed=2),
    Rung("1/4 of the tokens", tokens=32_768),
    Rung("1/2 of the tokens", tokens=65_536),
    Rung("2 x the tokens", tokens=262_144),
    Rung("4 x the tokens", tokens=524_288),
    Rung("width 32", width=32),
    Rung("width 128", width=128),
    Rung("depth 4", depth=4),
    Rung("learning rate / 3", slower=3),
    Rung("learning rate / 10", slower=10),
    Rung("learning rate / 30", slower=30),
    Rung("4 x the tokens, learning rate / 10", tokens=524_288, slower=10),
    Rung("moe", kind="moe"),
    Rung("moe, 4 x the tokens", kind="moe", tokens=524_288),
)

AS_BUILT: dict[str, Any] = {
    "kind": "moe",
    "scores": "sigmoid",
    "balancing": "bias",
    "sparsity": 0.875,
    "granularity": 2,
}
MOE_RUNGS = (
    Rung("moe top", width=128, tokens=524_288, **AS_BUILT),
    Rung("dense"),
    Rung("dense, another seed", seed=2),
    Rung("moe as the top", **AS_BUILT),
    Rung("moe as the top, another seed", seed=2, **AS_BUILT),
    Rung("moe as the top, balanced by a loss", **AS_BUILT | {"balancing": "loss"}),
    Rung("moe as the top, softmax", **AS_BUILT | {"scores": "softmax"}),
    Rung("moe, the default", kind="moe"),
    Rung("dense, 4 x the tokens", tokens=524_288),
    Rung("moe as the top, 4 x the tokens", tokens=524_288, **AS_BUILT),
    Rung("moe top, another seed", width=128, tokens=524_288, seed=2, **AS_BUILT),
    Rung("dense top", width=128, tokens=524_288),
)
# Rungs that are compared with another one as well: does the mixture of experts rank better than the dense model?
BESIDE = {
    "moe as the top": "dense",
    "moe as the top, another seed": "dense, another seed",
    "moe as the top, balanced by a loss": "dense",
    "moe as the top, softmax": "dense",
    "moe, the default": "dense",
    "moe as the top, 4 x the tokens": "dense, 4 x the tokens",
    "moe top, another seed": "dense top",
}
# Of each ladder the first rung is the top.
LADDERS = {"size": RUNGS, "moe": MOE_RUNGS}


def mixtures(work: Path) -> tuple[Path, list[dict[str, float]]]:
    """The demo's text as tokens, and a design over its domains."""
    from rich.progress import Progress

    from mixopt.study.planning import make_plan
    from search.designs.tempered_dirichlet import tempered_dirichlet

    file = load(write_demo(work / "demo"))
    with Progress(transient=True) as progress:
        task = progress.add_task("preparing the demo's text")
        corpus = prepare_corpus(file, lambda _: progress.advance(task))
    space = make_plan(file, corpus).problem.space
    design = tempered_dirichlet(space, MIXTURES, np.random.default_rng(0))
    return corpus.directory.absolute(), [mixture.as_dict() for mixture in design]


def trained(corpus_directory: Path, weights: dict[str, float], rung: Rung) -> dict[str, Any]:
    """The losses of one mixture at one rung, in nats per token."""
    from proxies.allocator import keep_freed_memory
    from proxies.data.mixing import MixedStream
    from proxies.models.size import model_size
    from proxies.recipe import recipe
    from proxies.result import TrainingResult
    from proxies.train import train

    keep_freed_memory()
    corpus = Corpus.open(corpus_directory)
    size = model_size(
        *(rung.kind, rung.depth, corpus.vocabulary, LENGTH),
        width=rung.width,
        scores=rung.scores,
        balancing=rung.balancing,
        sparsity=rung.sparsity,
        granularity=rung.granularity,
    )
    plain = recipe(size, rung.tokens, batch_rows=BATCH_ROWS)
    chosen = recipe(
        size,
        rung.tokens,
        batch_rows=BATCH_ROWS,
        learning_rate=plain.learning_rate / rung.slower,
        evaluations=1,
        compiled=True,
    )
    stream = MixedStream(corpus, weights, LENGTH, seed=rung.seed)
    sets = {name: corpus.evaluation(name) for name in corpus.evaluation_sets}
    *_, result = train(chosen, stream, sets, seed=rung.seed)
    assert isinstance(result, TrainingResult)
    losses = {name: loss.nats_per_token for name, loss in result.losses.items()}
    # Of the experts' layer, how much more than the mean load the busiest has.
    load = {name: value for name, value in result.diagnostics.items() if name.endswith("max_over_mean")}
    return {
        "losses": losses,
        "flops": result.flops,
        "seconds": result.seconds,
        "learning_rate": chosen.learning_rate,
        "load": fmean(load.values()) if load else None,
    }


def climb(work: Path, processes: int, rungs: Sequence[Rung]) -> list[dict[str, Any]]:
    """Every mixture at every rung: one row per run, with the index of its mixture."""
    corpus, design = mixtures(work)
    file = work / "runs.jsonl"
    # A run that was trained otherwise, or on other text, is another run.
    source = f"{Corpus.open(corpus).fingerprint} {MIXTURES}"
    rows = (
        [json.loads(line) for line in file.read_text().splitlines(True) if line.endswith("\n")] if file.exists() else []
    )
    rows = [row for row in rows if row["source"] == source and row["settings"] in map(repr, rungs)]
    done = {(row["settings"], row["mixture"]) for row in rows}
    wanted = [(rung, index) for rung in rungs for index in range(len(design)) if (repr(rung), index) not in done]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool, file.open("a") as kept:
        jobs = {pool.submit(trained, corpus, design[index], rung): (rung, index) for rung, index in wanted}
        for job in track(as_completed(jobs), "training", total=len(jobs)):
            rung, index = jobs[job]
            row = {"rung": rung.name, "settings": repr(rung), "source": source, "mixture": index}
            row |= {"weights": design[index]} | job.result()
            kept.write(json.dumps(row) + "\n")
            kept.flush()
            rows.append(row)
    return rows


def correlation(one_N: Float[np.ndarray, " N"], other_N: Float[np.ndarray, " N"]) -> tuple[float, float, float]:
    """Spearman's, and the bounds of its 95% interval over resampled mixtures."""
    low, high = np.nanquantile(_resampled(one_N, other_N), [0.025, 0.975])
    return float(spearmanr(one_N, other_N).statistic), float(low), float(high)


def advantage(
    one_N: Float[np.ndarray, " N"], other_N: Float[np.ndarray, " N"], top_N: Float[np.ndarray, " N"]
) -> tuple[float, float, float]:
    """How much better one agrees with the top than the other, and the bounds of the 95% interval of that."""
    found = float(spearmanr(one_N, top_N).statistic - spearmanr(other_N, top_N).statistic)
    low, high = np.nanquantile(_resampled(one_N, top_N) - _resampled(other_N, top_N), [0.025, 0.975])
    return found, float(low), float(high)


def _resampled(one_N: Float[np.ndarray, " N"], other_N: Float[np.ndarray, " N"]) -> Float[np.ndarray, " R"]:
    """Rank correlations over resampled mixtures, the same ones for every pair."""
    picks_RN = np.random.default_rng(0).integers(len(one_N), size=(RESAMPLES, len(one_N)))
    return np.array([spearmanr(one_N[pick_N], other_N[pick_N]).statistic for pick_N in picks_RN])


def compared(rows: list[dict[str, Any]], rungs: Sequence[Rung]) -> list[dict[str, Any]]:
    """A line for each rung: how it agrees with the top one."""
    at = {
        rung.name: sorted((row for row in rows if row["rung"] == rung.name), key=itemgetter("mixture"))
        for rung in rungs
    }

    def objective(name: str) -> Float[np.ndarray, " N"]:
        return np.array([fmean(row["losses"][each] for each in JUDGED_BY) for row in at[name]])

    top = rungs[0].name
    top_N, lines = objective(top), []
    for rung in rungs:
        own_N = objective(rung.name)
        rank, low, high = correlation(own_N, top_N)
        sets = at[rung.name][0]["losses"]
        lines.append(
            {
                "rung": rung.name,
                "learning_rate": at[rung.name][0]["learning_rate"],
                "cost": at[rung.name][0]["flops"] / at[top][0]["flops"],
                "spearman": rank,
                "interval": [low, high],
                "spearman_of_sets": fmean(
                    spearmanr(
                        [row["losses"][each] for row in at[rung.name]], [row["losses"][each] for row in at[top]]
                    ).statistic
                    for each in sets
                ),
                "regret_nats": float(top_N[own_N.argmin()] - top_N.min()),
                "loss": float(own_N.mean()),
                "spread": float(own_N.std()),
                "advantage": advantage(own_N, objective(BESIDE[rung.name]), top_N) if rung.name in BESIDE else None,
                "seconds": fmean(row["seconds"] for row in at[rung.name]),
            }
        )
    return lines


def shown(lines: list[dict[str, Any]]) -> Table:
    table = Table(title=f"agreement with the top rung, over {MIXTURES} mixtures")
    for column in (
        "rung",
        "cost",
        "rank correlation",
        "95%",
        "mean of the sets",
        "regret, nats",
        "peak rate",
        "beside dense",
    ):
        table.add_column(column, justify="left" if column == "rung" else "right")
    for line in lines:
        low, high = line["interval"]
        table.add_row(
            line["rung"],
            f"{line['cost']:.3f}",
            f"{line['spearman']:.3f}",
            f"{low:.2f} to {high:.2f}",
            f"{line['spearman_of_sets']:.3f}",
            f"{line['regret_nats']:.3f}",
            f"{line['learning_rate']:.2g}",
            "" if line["advantage"] is None else "{:+.3f} ({:+.2f} to {:+.2f})".format(*line["advantage"]),
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the demo's text and of finished runs")
    parser.add_argument("--ladder", choices=LADDERS, default="size", help="which one (default: size)")
    parser.add_argument("--processes", type=int, default=cpu_count(), help="runs at a time (default: one per core)")
    parser.add_argument("--json", type=Path, help="also write the figures, and every run, here")
    options = parser.parse_args()
    rungs = LADDERS[options.ladder]
    rows = climb(options.work, options.processes, rungs)
    lines = compared(rows, rungs)
    Console(width=160).print(shown(lines))
    if options.json:
        import torch

        document = {
            "date": date.today().isoformat(),
            "machine": f"{cpu_count()} cores, {platform.processor() or platform.machine()}",
            "torch": torch.__version__,
            "rungs": lines,
            "runs": rows,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
