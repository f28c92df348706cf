"""Tables with columns that look like mixtures and metrics and are none: read rightly, or asked about; never wrongly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from mixopt.runs.table import read_all
from mixopt.runs.tables.sheet import Frame
from search.errors import ExplainedError
from search.mixture import FloatArray

PATTERNS = (
    "mix/{}", "{}", "{}_weight", "config.data.{}.weight", "data.mix.{}", "w_{}", "{} (%)", "tokens/{}",
    "train_tokens.{}", "p_{}", "{}_ratio", "sampling/{}", "domain_weights.{}", "{} share", "params.mix_{}",
)  # fmt: skip
DOMAINS = (
    ("web", "code", "books"),
    ("common_crawl", "stack", "arxiv", "wiki"),
    ("en", "de", "fr", "ja", "zh"),
    ("A", "B"),
    ("c4", "pile_cc", "github", "stackexchange", "pubmed"),
)
METRIC_PATTERNS = ("eval/{}", "val_{}", "{}", "metrics.{}", "summary.eval/{}", "test.{}")
METRICS = ("loss", "mmlu", "hellaswag_acc", "bpb", "perplexity")

Decoy = Callable[[np.random.Generator, int], dict[str, FloatArray]]


def parts(*names: str) -> Decoy:
    """Numbers that sum to one, and are no mixture of text."""
    return lambda rng, count: dict(zip(names, rng.dirichlet(np.ones(len(names)), count).T, strict=True))


def random(*names: str, scale: float = 1.0) -> Decoy:
    return lambda rng, count: {name: rng.random(count) * scale for name in names}


def constant(**values: float) -> Decoy:
    return lambda rng, count: {name.replace("__", "."): np.full(count, value) for name, value in values.items()}


DECOYS: tuple[Decoy, ...] = (
    parts("router/load_0", "router/load_1", "router/load_2", "router/load_3"),
    parts("loss_weights.ce", "loss_weights.z"),
    parts("expert_weights.0", "expert_weights.1", "expert_weights.2"),
    parts("train_frac", "val_frac"),
    parts("time_frac/forward", "time_frac/backward", "time_frac/data"),
    random("lr", scale=1e-3),
    random("warmup_ratio", "mlp_ratio"),
    random("train/loss", "grad_norm", "eval/runtime", "gpu_util"),
    random("quality", "mmlu_stderr", scale=0.1),
    random("eval_interval", "eval_batch_size", "val_samples", scale=100),
    constant(supply_tokens__web=1e9, supply_tokens__code=3e9),
    constant(beta1=0.9, beta2=0.1, _step=1000),
)


@pytest.mark.parametrize("seed", range(4))
def test_a_table_with_decoys_is_read_rightly_or_asked_about(seed: int) -> None:
    rng = np.random.default_rng(seed)
    right, asked = 0, 0
    for _ in range(75):
        count, domains = int(rng.integers(8, 20)), DOMAINS[rng.integers(len(DOMAINS))]
        shares = rng.dirichlet(np.ones(len(domains)), count)
        pattern, metric_pattern = str(rng.choice(PATTERNS)), str(rng.choice(METRIC_PATTERNS))
        scale = 100 if "%" in pattern else 1e9 if "tokens" in pattern else 1
        metrics = [str(name) for name in rng.choice(METRICS, rng.integers(1, 4), replace=False)]
        mixture = {pattern.format(name): shares[:, place] * scale for place, name in enumerate(domains)}
        values = {metric_pattern.format(name): rng.random(count) + 2 * (name != "mmlu") for name in metrics}
        decoys: dict[str, FloatArray] = {}
        for place in rng.choice(len(DECOYS), rng.integers(0, 6), replace=False):
            decoys |= DECOYS[place](rng, count)
        groups = [mixture, values, decoys]
        columns = {name: cells for place in rng.permutation(3) for name, cells in groups[place].items()}
        try:
            runs, _ = read_all(Frame(pd.DataFrame(columns), "table"))
        except ExplainedError as question:
            asked += 1
            assert "--weights" in question.hint or "--metrics" in question.hint
            continue
        right += 1
        assert runs.weights_ND == pytest.approx(shares), list(columns)
        assert runs.domains == domains, list(columns)
        found = sorted(runs.values_NM.T.tolist())
        assert found == sorted(each.tolist() for each in values.values()), list(columns)
    assert right > 2 * asked, "mostly, nothing has to be asked"
