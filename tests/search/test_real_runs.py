"""Checks on RegMix's published proxy runs (MIT licence), where that table is at hand."""

import csv
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float
from scipy.stats import spearmanr

from search.surrogates import SURROGATES

TABLE = Path(__file__).parents[2].parent / "shared" / "data" / "regmix_runs.csv"

pytestmark = pytest.mark.skipif(not TABLE.exists(), reason=f"the table of RegMix's runs is not at {TABLE}")


def runs(split: str) -> tuple[Float[np.ndarray, "N D"], Float[np.ndarray, " N"]]:
    """Mixtures and Pile-CC losses of the 1M runs of one split."""
    with TABLE.open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["run"].startswith(split)]
    domains = [name for name in rows[0] if name.startswith("weight.")]
    weights = np.array([[float(row[name]) for name in domains] for row in rows])
    return weights / weights.sum(axis=1, keepdims=True), np.array([float(row["metric.pile_cc"]) for row in rows])


@pytest.mark.parametrize(
    ("name", "rows", "least"),
    [("lightgbm", 512, 0.989), ("lightgbm", 54, 0.9), ("linear", 54, 0.95)],
)
def test_surrogates_rank_unseen_runs_as_well_as_published(name: str, rows: int, least: float) -> None:
    weights, losses = runs("1m-train")
    chosen = np.random.RandomState(1000).permutation(len(losses))[:rows]
    surrogate = SURROGATES[name](seed=0).fit(weights[chosen], losses[chosen])
    unseen, truth = runs("1m-test")
    prediction = surrogate.predict(unseen)
    assert spearmanr(prediction.mean_N, truth).statistic > least
    assert 0.9 < (np.abs(prediction.mean_N - truth) < 1.96 * prediction.sd_N).mean() <= 1
