"""Gradient-boosted trees, RegMix's regressor (2407.01492, section 3.2), kept honest with few runs.

From RegMix: up to 1000 trees of up to 31 leaves, learning rate 0.01. Two things differ. A leaf holds at least a
twelfth of the runs where that is fewer than RegMix's 20, with which fewer than 40 runs can only give a constant.
And RegMix stops adding trees by the error on the very runs that it reports; here the number of trees has the least
error over folds of the training runs, and is then used on all of them.

Shapes: N mixtures, D domains, T numbers of trees, K folds.
"""

from __future__ import annotations

import lightgbm as lgb
import numpy as np

from search.mixture import FloatArray
from search.randomness import generator
from search.surrogates.base import Prediction, SingleScale

TREES = 1000
FOLDS = 5
LEAF_RUNS = 20
# Trees without a lower error after which no more are tried.
PATIENCE = 100


class LightGBM(SingleScale):
    fewest_runs = 6
    _trees: int
    _held_out_variance: float
    _fold_models: list[lgb.Booster]

    def _fit_alike(self, weights_ND: FloatArray, values_N: FloatArray) -> None:
        """A refit keeps the number of trees, the held-out error and the folds' models.

        In cross-validation that is nearly honest: the one number was chosen by errors averaged over all rows, from
        which no row's value can be read.
        """
        if self._earlier is None:
            self._choose_trees(weights_ND, values_N)
        else:
            self._trees = self._earlier._trees
            self._held_out_variance = self._earlier._held_out_variance
            self._fold_models = self._earlier._fold_models
        self._model = lgb.train(self._settings(len(values_N)), lgb.Dataset(weights_ND, values_N), self._trees)

    def _choose_trees(self, weights_ND: FloatArray, values_N: FloatArray) -> None:
        fold_N = generator(self.seed, "lightgbm folds").permutation(len(values_N)) % FOLDS
        found = lgb.cv(
            self._settings(int((fold_N != 0).sum())),
            lgb.Dataset(weights_ND, values_N),
            TREES,
            folds=[(np.flatnonzero(fold_N != fold), np.flatnonzero(fold_N == fold)) for fold in range(FOLDS)],
            callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
            return_cvbooster=True,
        )
        fold_models = found["cvbooster"]
        assert isinstance(fold_models, lgb.CVBooster)
        errors_T = np.array(found["valid l2-mean"])
        self._trees = int(errors_T.argmin()) + 1
        self._held_out_variance = float(errors_T.min())
        self._fold_models = fold_models.boosters

    def mean(self, weights_ND: FloatArray) -> FloatArray:
        return self._predict(self._model, weights_ND)

    def predict(self, weights_ND: FloatArray) -> Prediction:
        """The sd joins the error on held-out runs with the disagreement of the folds' models."""
        folds_KN = np.array([self._predict(model, weights_ND) for model in self._fold_models])
        return Prediction(self.mean(weights_ND), np.sqrt(self._held_out_variance + folds_KN.var(axis=0)))

    def _predict(self, model: lgb.Booster, weights_ND: FloatArray) -> FloatArray:
        return np.asarray(model.predict(weights_ND, num_iteration=self._trees, num_threads=1), dtype=np.float64)

    def _leaf_runs(self, runs: int) -> int:
        """The fewest runs in a leaf of a tree that is fitted to that many."""
        return min(LEAF_RUNS, max(3, runs // 12))

    def _settings(self, runs: int) -> dict[str, object]:
        return {
            "objective": "regression",
            "learning_rate": 0.01,
            "num_leaves": 31,
            "min_child_samples": self._leaf_runs(runs),
            "seed": self.seed,
            # One thread and a fixed order of sums: the same bits every time.
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        }
