"""What a surrogate is fitted to: measured mixtures of one metric, and which of them are held out together.

Held-out predictions are made once, over one division into folds, and read by all who ask how good predictions are: what
weighs the parts of a blend, what widens intervals, the gate that trusts a surrogate, and the report.

Shapes: N runs, D domains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from search.randomness import generator
from search.runs import numbered, present

FOLDS = 5
# In place of a fold's number: never held out.
ALWAYS_KNOWN = -1


@dataclass(frozen=True, eq=False)
class Rows:
    """
    Attributes:
        fidelity_N: 0 the cheapest, the largest what is predicted for; none is without runs.
        fold_N: the fold that each run is held out in, or ALWAYS_KNOWN.
    """

    weights_ND: Float[np.ndarray, "N D"]
    values_N: Float[np.ndarray, " N"]
    fidelity_N: Int[np.ndarray, " N"]
    fold_N: Int[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.values_N)

    @property
    def at_target_N(self) -> Bool[np.ndarray, " N"]:
        at_target_N: Bool[np.ndarray, " N"] = self.fidelity_N == self.fidelity_N.max()
        return at_target_N

    def select(self, chosen_N: Bool[np.ndarray, " N"]) -> Rows:
        return Rows(
            self.weights_ND[chosen_N],
            self.values_N[chosen_N],
            present(self.fidelity_N[chosen_N]),
            self.fold_N[chosen_N],
        )

    @property
    def largest_fold(self) -> int:
        held_out_N = self.fold_N[self.fold_N != ALWAYS_KNOWN]
        return int(np.bincount(held_out_N).max(initial=0))

    def folds(self, fewest: int) -> list[Bool[np.ndarray, " N"]]:
        """The runs of each fold, [N]; no folds where one would leave fewer than `fewest` others."""
        if len(self) - self.largest_fold < fewest:
            return []
        return [self.fold_N == fold for fold in np.unique(self.fold_N) if fold != ALWAYS_KNOWN]


def deal_folds(
    weights_ND: Float[np.ndarray, "N D"],
    at_target_N: Bool[np.ndarray, " N"],
    complete_N: Bool[np.ndarray, " N"],
    seed: int,
) -> Int[np.ndarray, " N"]:
    """A fold for each run, by mixtures; those measured at the target are dealt out evenly, then the others.

    What surrogates are fitted to decides what they predict: without runs at the target, a cheaper fidelity. So where
    fewer mixtures than folds measured every metric there, these are ALWAYS_KNOWN.

    Args:
        complete_N: the runs that measured every metric.
    """
    mixture_N = numbered(weights_ND)
    complete = np.unique(mixture_N[at_target_N & complete_N])
    few = complete if len(complete) < FOLDS and not at_target_N.all() else complete[:0]
    at_target = np.setdiff1d(mixture_N[at_target_N], few)
    others = np.setdiff1d(mixture_N, mixture_N[at_target_N])
    rng = generator(seed, "held-out folds")
    dealt = np.append(rng.permutation(at_target), rng.permutation(others))
    fold_of = np.full(len(few) + len(dealt), ALWAYS_KNOWN)
    fold_of[dealt] = np.arange(len(dealt)) % FOLDS
    fold_N: Int[np.ndarray, " N"] = fold_of[mixture_N]
    return fold_N
