"""What a surrogate is fitted to: measured mixtures of one metric, and which of them are held out together.

Held-out predictions are made once, over one division into folds, and read by all who ask how good predictions are: what
weighs the parts of a blend, what widens intervals, the gate that trusts a surrogate, and the report.

Shapes: N runs, D domains.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from jaxtyping import Bool, Float, Int, UInt

from search.mixture import DECIMALS
from search.randomness import generator
from search.runs import numbered, present
from search.scales import Scales

FOLDS = 5
# In place of a fold's number: never held out.
ALWAYS_KNOWN = -1
# Of each fidelity at least so many runs are taken for informative, or all.
LEAST_AT_FIDELITY = 32


@dataclass(frozen=True, eq=False)
class Rows:
    """
    Attributes:
        fidelity_N: 0 the cheapest, the largest what is predicted for; none is without runs.
        fold_N: the fold that each run is held out in, or ALWAYS_KNOWN.
        scales: of the fidelities; None where nothing is known of them.
    """

    weights_ND: Float[np.ndarray, "N D"]
    values_N: Float[np.ndarray, " N"]
    fidelity_N: Int[np.ndarray, " N"]
    fold_N: Int[np.ndarray, " N"]
    scales: Scales | None = None

    def __len__(self) -> int:
        return len(self.values_N)

    @property
    def fidelities(self) -> int:
        return int(self.fidelity_N.max()) + 1

    @property
    def reference(self) -> int:
        """The fidelity with the most runs."""
        return int(np.bincount(self.fidelity_N).argmax())

    @property
    def at_target_N(self) -> Bool[np.ndarray, " N"]:
        at_target_N: Bool[np.ndarray, " N"] = self.fidelity_N == self.fidelity_N.max()
        return at_target_N

    @property
    def of_reference(self) -> Rows:
        """The runs of the reference alone."""
        return self.select(self.fidelity_N == self.reference)

    def select(self, chosen_N: Bool[np.ndarray, " N"] | Int[np.ndarray, " K"]) -> Rows:
        """These runs alone, and no fidelity that none of them is of."""
        return Rows(
            self.weights_ND[chosen_N],
            self.values_N[chosen_N],
            present(self.fidelity_N[chosen_N]),
            self.fold_N[chosen_N],
            None if self.scales is None else self.scales.at(np.unique(self.fidelity_N[chosen_N])),
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

    def informative(self, most: int, seed: int) -> Rows:
        """So many runs: each fidelity has its part, but no less than LEAST_AT_FIDELITY, which may make it more.

        An eighth of a part are the lowest values, an eighth the highest, the others random, in an order that further
        runs leave as it is: of a single fidelity, a run more displaces one at most.
        """
        if len(self) <= most:
            return self
        order_N = _order(self.weights_ND, seed)
        chosen = []
        for fidelity, count in enumerate(np.bincount(self.fidelity_N)):
            here = np.flatnonzero(self.fidelity_N == fidelity)
            part = max(most * count // len(self), min(LEAST_AT_FIDELITY, count))
            by_value = here[np.argsort(self.values_N[here], kind="stable")]
            ends, others = np.split(np.roll(by_value, part // 8), [part // 4])
            others = np.sort(others)
            chosen += [ends, others[np.argsort(order_N[others], kind="stable")][: part - len(ends)]]
        return self.select(np.sort(np.concatenate(chosen)))


def _order(weights_ND: Float[np.ndarray, "N D"], seed: int) -> UInt[np.ndarray, " N"]:
    """A random number for each mixture, the same whatever others there are, [N]."""
    rows = np.round(weights_ND, DECIMALS)
    digests = [sha256(f"{seed} telling runs ".encode() + row.tobytes()).digest()[:8] for row in rows]
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


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
