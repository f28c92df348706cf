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
from search.surrogates.base import Prediction, Surrogate

TREES = 1000
FOLDS = 5
LEAF_RUNS = 20


class LightGBM(Surrogate):
    fewest_runs = 6

    def _fit(self, weights_ND: FloatArray, values_N: FloatArray) -> None:
        fold_N = generator(self.seed, "lightgbm folds").permutation(len(values_N)) % FOLDS
        squares_T = np.zeros(TREES)
        self._fold_models = []
        for fold in range(FOLDS):
            held_out_N = fold_N == fold
            training = lgb.Dataset(weights_ND[~held_out_N], values_N[~held_out_N])
            held_out = lgb.Dataset(weights_ND[held_out_N], values_N[held_out_N], reference=training)
            errors: dict[str, dict[str, list[float]]] = {}
            model = lgb.train(
                self._settings(int((~held_out_N).sum())),
                training,
                TREES,
                valid_sets=[held_out],
                valid_names=["held out"],
                callbacks=[lgb.record_evaluation(errors)],
                keep_training_booster=True,  # else it is copied through text, a third of the time
            )
            squares_T += np.array(errors["held out"]["l2"]) * held_out_N.sum()
            self._fold_models.append(model)
        self._trees = int(squares_T.argmin()) + 1
        self._held_out_variance = float(squares_T.min()) / len(values_N)
        self._model = lgb.train(self._settings(len(values_N)), lgb.Dataset(weights_ND, values_N), self._trees)

    def mean(self, weights_ND: FloatArray) -> FloatArray:
        return self._predict(self._model, weights_ND)

    def predict(self, weights_ND: FloatArray) -> Prediction:
        """The sd joins the error on held-out runs with the disagreement of the folds' models."""
        folds_KN = np.array([self._predict(model, weights_ND) for model in self._fold_models])
        return Prediction(self.mean(weights_ND), np.sqrt(self._held_out_variance + folds_KN.var(axis=0)))

    def _predict(self, model: lgb.Booster, weights_ND: FloatArray) -> FloatArray:
        return np.asarray(model.predict(weights_ND, num_iteration=self._trees, num_threads=1), dtype=np.float64)

    def _settings(self, runs: int) -> dict[str, object]:
        return {
            "objective": "regression",
            "learning_rate": 0.01,
            "num_leaves": 31,
            "min_child_samples": min(LEAF_RUNS, max(3, runs // 12)),
            "seed": self.seed,
            # One thread and a fixed order of sums: the same bits every time.
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        }
