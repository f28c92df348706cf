"""Gradient-boosted trees, RegMix's regressor, kept honest with few runs.

Q. Liu et al., "RegMix: Data Mixture as Regression for Language Model Pre-training", ICLR 2025, section 3.2.

From RegMix: up to 1000 trees of up to 31 leaves, learning rate 0.01. RegMix stops adding trees by the error on the very
runs that it reports; here the number of trees has the least error over folds of the training runs, and is then used on
all of them.

Shapes: N mixtures, D domains, T numbers of trees, K folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import lightgbm as lgb
import numpy as np
from jaxtyping import Float

from search.surrogates.base import Fitted, Prediction, SingleScale
from search.surrogates.rows import FOLDS, Rows

MOST_TREES = 1000
LEAF_RUNS = 20
LEARNING_RATE = 0.01
# Trees without a lower error after which no more are tried.
PATIENCE = 100
# Of a blend's trees, which are no worse for a tenth of the time.
QUICK = 10


@dataclass(frozen=True, eq=False)
class Trees:
    """How many, by the folds' errors.

    A fit that is given them is nearly honest in cross-validation: the one number was chosen by errors averaged over all
    rows, from which no row's value can be read.
    """

    count: int
    held_out_variance: float
    fold_models: tuple[lgb.Booster, ...]


class LightGBM(SingleScale[Trees]):
    """A leaf holds at least a twelfth of the runs, where that is fewer than RegMix's 20."""

    fewest_runs = 6
    speed: ClassVar[int] = 1

    def _fit_alike(self, rows: Rows, choice: Trees | None) -> FittedTrees:
        trees = choice or self._choose(rows)
        model = lgb.train(self._settings(len(rows)), lgb.Dataset(rows.weights_ND, rows.values_N), trees.count)
        return FittedTrees(model, trees)

    def _choose(self, rows: Rows) -> Trees:
        folds = rows.folds(2) or [np.arange(len(rows)) % FOLDS == fold for fold in range(FOLDS)]
        found = lgb.cv(
            self._settings(int((~folds[0]).sum())),
            lgb.Dataset(rows.weights_ND, rows.values_N),
            MOST_TREES // self.speed,
            folds=[(np.flatnonzero(~out_N), np.flatnonzero(out_N)) for out_N in folds],
            callbacks=[lgb.early_stopping(PATIENCE // self.speed, verbose=False)],
            return_cvbooster=True,
        )
        fold_models = found["cvbooster"]
        assert isinstance(fold_models, lgb.CVBooster)
        errors_T = np.array(found["valid l2-mean"])
        return Trees(int(errors_T.argmin()) + 1, float(errors_T.min()), tuple(fold_models.boosters))

    def _leaf_runs(self, runs: int) -> int:
        """The fewest runs in a leaf of a tree that is fitted to that many."""
        return min(LEAF_RUNS, max(3, runs // 12))

    def _settings(self, runs: int) -> dict[str, object]:
        return {
            "objective": "regression",
            "learning_rate": LEARNING_RATE * self.speed,
            "num_leaves": 31,
            "min_child_samples": self._leaf_runs(runs),
            "seed": self.seed,
            # One thread and a fixed order of sums: the same bits every time.
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        }


class QuickTrees(LightGBM):
    """A blend's: a tenth of the trees, each learning ten times as much, fitted to compressed values."""

    compresses = True
    speed = QUICK


class RegMixLightGBM(LightGBM):
    """With RegMix's leaves, to compare with: over fewer than 40 runs a tree cannot split, and all is a constant."""

    def _leaf_runs(self, runs: int) -> int:
        return LEAF_RUNS


@dataclass(frozen=True, eq=False)
class FittedTrees(Fitted[Trees]):
    model: lgb.Booster
    choice: Trees

    def mean(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        return self._predict(self.model, weights_ND)

    def predict(self, weights_ND: Float[np.ndarray, "N D"]) -> Prediction:
        """The sd joins the error on held-out runs with the disagreement of the folds' models."""
        folds_KN = np.array([self._predict(model, weights_ND) for model in self.choice.fold_models])
        return Prediction(self.mean(weights_ND), np.sqrt(self.choice.held_out_variance + folds_KN.var(axis=0)))

    def _predict(self, model: lgb.Booster, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        return np.asarray(model.predict(weights_ND, num_iteration=self.choice.count, num_threads=1), dtype=np.float64)
