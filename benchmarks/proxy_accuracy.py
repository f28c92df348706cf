"""Does the fast step learn what the exact one learns? The same text, seeds and tokens, in three ways.

    python -m benchmarks.proxy_accuracy --work DIR [--json FILE]

exact      float32, operation by operation: the reference
eager      bfloat16 products, operation by operation
compiled   bfloat16 products, compiled: what studies train with

Dense and MoE, three seeds each, on one mixture of the demo's text: mean held-out loss of its seven domains.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from joblib import cpu_count
from rich.console import Console
from rich.table import Table

from benchmarks.fidelity_ladder import BATCH_ROWS, LENGTH, mixtures
from proxies.data.corpus import Corpus
from proxies.device import Precision
from proxies.models.size import Kind

TOKENS, SEEDS = 524_288, (1, 2, 3)
WAYS: dict[str, tuple[Precision, bool]] = {
    "exact": ("fp32", False),
    "eager": ("bf16", False),
    "compiled": ("bf16", True),
}


def loss(corpus_directory: Path, weights: dict[str, float], kind: Kind, way: str, seed: int) -> float:
    """Mean nats per token over the evaluation sets at the end of a run."""
    from proxies.data.mixing import MixedStream
    from proxies.models.size import model_size
    from proxies.recipe import recipe
    from proxies.result import TrainingResult
    from proxies.train import train

    corpus, (precision, compiled) = Corpus.open(corpus_directory), WAYS[way]
    size = model_size(kind, 2, corpus.vocabulary, LENGTH, width=64)
    chosen = recipe(size, TOKENS, batch_rows=BATCH_ROWS, precision=precision, compiled=compiled, evaluations=1)
    sets = {name: corpus.evaluation(name) for name in corpus.evaluation_sets}
    *_, result = train(chosen, MixedStream(corpus, weights, LENGTH, seed=seed), sets, seed=seed)
    assert isinstance(result, TrainingResult)
    return fmean(each.nats_per_token for each in result.losses.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the demo's text")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    corpus, design = mixtures(options.work)
    kinds: tuple[Kind, ...] = ("dense", "moe")
    runs = list(product(kinds, WAYS, SEEDS))
    with ProcessPoolExecutor(cpu_count(), mp_context=get_context("spawn")) as pool:
        losses = list(pool.map(loss, [corpus] * len(runs), [design[0]] * len(runs), *zip(*runs, strict=True)))

    table = Table(title=f"held-out nats per token after {TOKENS:,} tokens")
    for column in ("model", "way", *(f"seed {seed}" for seed in SEEDS), "mean", "mean - exact"):
        table.add_column(column, justify="left" if column in ("model", "way") else "right")
    rows: list[dict[str, Any]] = []
    for kind, way in product(kinds, WAYS):
        by_seed = [one for (k, w, _), one in zip(runs, losses, strict=True) if (k, w) == (kind, way)]
        rows.append({"model": kind, "way": way, "losses": by_seed, "mean": fmean(by_seed)})
        difference = rows[-1]["mean"] - next(row["mean"] for row in rows if row["model"] == kind)
        table.add_row(kind, way, *(f"{one:.4f}" for one in by_seed), f"{fmean(by_seed):.4f}", f"{difference:+.4f}")
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps({"date": date.today().isoformat(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
