"""How should a small mixture of experts be balanced, how sparse and how fine should it be?

    python -m benchmarks.expert_layers --work DIR                     one core, about a quarter of an hour
    python -m benchmarks.expert_layers --work DIR --json benchmarks/results/expert-layers.json

balancing     a loss, or a bias at several rates, of eight experts and of 32 small ones: loss, and how many times the
              mean load the busiest expert has at the end
sparsity      from none to 62 of 64 experts that a token does not meet, at the same active parameters
granularity   experts in one, two and four parts

On the first mixture of `benchmarks.fidelity_ladder`, width 64, two layers, not compiled. The loss is the mean of the
demo's seven domains on held-out text, in nats per token. A finished run is kept in DIR/expert-layers.jsonl, and not
trained again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from statistics import fmean
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from joblib import cpu_count
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.fidelity_ladder import BATCH_ROWS, LENGTH, mixtures
from benchmarks.kept import Kept
from proxies.allocator import keep_freed_memory
from proxies.data.corpus import Corpus
from proxies.data.mixing import MixedStream
from proxies.models.size import Kind, model_size
from proxies.recipe import recipe
from proxies.result import TrainingResult
from proxies.train import train

WIDTH, DEPTH = 64, 2
SHORT, LONG, LONGER = 131_072, 524_288, 2_097_152
RATES = (0.001, 0.003, 0.01, 0.03)
SPARSITIES = (0.0, 0.5, 0.75, 0.875, 0.9375, 0.96875)
FINE = {"scores": "sigmoid", "sparsity": 0.875, "granularity": 2}


@dataclass(frozen=True)
class Layer:
    """A way to build expert layers; `shape` and `training` as `model_size` and `recipe` take them."""

    part: str
    name: str
    shape: dict[str, Any]
    kind: Kind = "moe"
    training: dict[str, Any] = field(default_factory=dict)
    tokens: tuple[int, ...] = (SHORT, LONG)
    seeds: tuple[int, ...] = (1, 2)


def layers() -> Iterator[Layer]:
    for name, shape in (("8, softmax", {}), ("32 small ones, sigmoid", FINE)):
        yield Layer("balancing", f"{name}: loss", shape)
        yield Layer("balancing", f"{name}: nothing", shape, training={"balance_loss": 0.0})
        for rate in RATES:
            yield Layer(
                *("balancing", f"{name}: bias, {rate}", {"balancing": "bias", **shape}), training={"bias_rate": rate}
            )
    yield Layer("balancing", "32 small ones, sigmoid: loss, z loss", FINE, training={"router_z_loss": 0.001})
    for sparsity in SPARSITIES:
        yield Layer("sparsity", f"{sparsity}", {"sparsity": sparsity})
        if sparsity >= 0.75:
            yield Layer("sparsity", f"{sparsity}", {"sparsity": sparsity}, tokens=(LONGER,), seeds=(1,))
    yield Layer("sparsity", "dense", {}, kind="dense")
    for granularity in (1, 2, 4):
        yield Layer("granularity", f"{granularity}", {"sparsity": 0.875, "granularity": granularity})


def trained(corpus: Corpus, weights: dict[str, float], layer: Layer, tokens: int, seed: int) -> dict[str, Any]:
    """What a run came to: nats per token, the busiest expert's load by the mean one's, seconds, parameters."""
    size = model_size(layer.kind, DEPTH, corpus.vocabulary, LENGTH, width=WIDTH, **layer.shape)
    chosen = recipe(size, tokens, batch_rows=BATCH_ROWS, evaluations=1, **layer.training)
    sets = {name: corpus.evaluation(name) for name in corpus.evaluation_sets}
    *_, result = train(chosen, MixedStream(corpus, weights, LENGTH, seed=seed), sets, seed=seed)
    assert isinstance(result, TrainingResult)
    return {
        "loss": fmean(each.nats_per_token for each in result.losses.values()),
        "load": result.diagnostics.get("expert_load/layer1/max_over_mean"),
        "seconds": result.seconds,
        "active_parameters": size.active_parameters,
        "total_parameters": size.total_parameters - size.embedding_parameters,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the demo's text and of finished runs")
    parser.add_argument("--json", type=Path, help="also write every run here")
    options = parser.parse_args()
    keep_freed_memory()
    directory, design = mixtures(options.work)
    corpus, kept = Corpus.open(directory), Kept(options.work / "expert-layers.jsonl")
    wanted = [(layer, tokens, seed) for layer in layers() for tokens in layer.tokens for seed in layer.seeds]
    rows: list[dict[str, Any]] = []
    for layer, tokens, seed in track(sorted(wanted, key=lambda each: each[1]), "training"):
        key = f"{corpus.fingerprint} {layer} {tokens} {seed}"
        found = kept.get(key)
        if found is None:
            found = trained(corpus, design[0], layer, tokens, seed)
            kept.add(key, found)
        rows.append(asdict(layer) | {"tokens": tokens, "seed": seed} | found)

    table = Table(title="held-out nats per token")
    for column in ("part", "layer", "tokens", "seeds", "loss", "busiest / mean", "seconds", "parameters"):
        table.add_column(column, justify="left" if column in ("part", "layer") else "right")
    for part, name, tokens in dict.fromkeys((row["part"], row["name"], row["tokens"]) for row in rows):
        mine = [row for row in rows if (row["part"], row["name"], row["tokens"]) == (part, name, tokens)]
        load = "" if mine[0]["load"] is None else f"{fmean(row['load'] for row in mine):.2f}"
        seconds = f"{fmean(row['seconds'] for row in mine):.1f}"
        loss = f"{fmean(row['loss'] for row in mine):.4f}"
        table.add_row(
            part, name, f"{tokens:,}", f"{len(mine)}", loss, load, seconds, f"{mine[0]['total_parameters']:,}"
        )
    Console(width=130).print(table)
    if options.json:
        about = {
            "date": date.today().isoformat(),
            "machine": f"{cpu_count()} cores, {platform.processor() or platform.machine()}",
            "torch": torch.__version__,
        }
        options.json.write_text(json.dumps(about | {"runs": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
