"""Gradient-boosted trees with RegMix's published settings, to compare with; the paper as in lightgbm.py.

Up to 1000 trees of up to 31 leaves, learning rate 0.01, 20 runs a leaf. RegMix stops adding trees by the error on
the runs that it reports; here, as in `search.surrogates.lightgbm`, their number is chosen on folds of the training
runs. A tree over fewer than 40 runs cannot split, so that fewer give a constant (below 50, each fold's trees do).
"""

from __future__ import annotations

from search.surrogates.lightgbm import LEAF_RUNS, LightGBM


class RegMixLightGBM(LightGBM):
    def _leaf_runs(self, runs: int) -> int:
        return LEAF_RUNS
