"""One Gaussian process per metric, fitted fast enough to be fitted anew at every question.

The warp is chosen on a few runs of the fidelity that has most, which change rarely, so that this costly choice can be
remembered from one question to the next. Hyperparameters are then fitted to more runs, of all fidelities together, each
tied to the reference by a line (search.surrogates.lifting), and the process is conditioned on every run.

Shapes: N runs, K of them that measured the metric, D domains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, UInt

from search.mixture import DECIMALS
from search.runs import Runs, present
from search.surrogates.blend import WarpedGP, robust_variance
from search.surrogates.lifting import Lines, lines, reference_of, same_spread
from search.surrogates.warped_process import JOINING_ITERATIONS, Part, averaged, choose

if TYPE_CHECKING:
    from torch import Tensor

    Array = TypeVar("Array", np.ndarray, Tensor)
else:
    Array = TypeVar("Array")

# The warp is chosen on so many runs, hyperparameters are fitted to so many, and to some of every fidelity.
MOST_CHOSEN = 96
MOST_FITTED = 256
LEAST_AT_FIDELITY = 32

# From mixtures [K, D] of the reference and their standardised values [K] to parts, the best first.
Choose = Callable[[Float[np.ndarray, "K D"], Float[np.ndarray, " K"]], tuple[Part, ...]]


@dataclass(frozen=True, eq=False)
class MetricFit:
    """What is known of one metric.

    Attributes:
        measured_N: the runs that measured it.
        fidelities: of these runs, ascending; the process numbers them by their place here, the last is predicted for.
        base: parts that know the reference, the fidelity with the most runs, alone.
        centre, scale: of the reference's values, by which all are standardised.
        lines: from the reference to each fidelity, in standardised values.
        part: the best one's warp, and a process that is conditioned on all these runs.
        widening: by how much its variances are too small.
    """

    measured_N: Bool[np.ndarray, " N"]
    fidelities: Int[np.ndarray, " L"]
    base: tuple[Part, ...]
    centre: float
    scale: float
    lines: Lines
    part: Part
    widening: float

    @property
    def target(self) -> int:
        return len(self.fidelities) - 1

    def values(self, standard_N: Array) -> Array:
        """Of the target, from standardised values of the reference, in NumPy or PyTorch."""
        intercept, slope = self.lines.intercept_L[self.target], self.lines.slope_L[self.target]
        return self.centre + self.scale * (float(intercept) + float(slope) * standard_N)

    def carried_over(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        """Values at the target by the runs of the reference, and the line between the two, alone, [N]."""
        return self.values(averaged(self.base, weights_ND)[0])

    @property
    def explained(self) -> float:
        """The share of the variance of the reference's runs that is predicted when each is left out."""
        process = self.base[0].process
        error_N, _ = process.leave_one_out()
        return 1 - float((error_N**2).mean() / process.data.sd**2)


def fit_metrics(runs: Runs, seed: int, choose: Choose) -> tuple[MetricFit, ...]:
    """One fit per metric, of runs that are `enough`."""
    return tuple(_fit(runs, values_N, seed, choose) for values_N in runs.values_NM.T)


def _fit(runs: Runs, values_N: Float[np.ndarray, " N"], seed: int, choose: Choose) -> MetricFit:
    measured_N = np.isfinite(values_N)
    weights_KD, values_K, fidelity_K = runs.weights_ND[measured_N], values_N[measured_N], runs.level_N[measured_N]
    fidelities, fidelity_K = np.unique(fidelity_K), present(fidelity_K)
    reference = np.flatnonzero(fidelity_K == reference_of(fidelity_K))
    alone = np.zeros(len(reference), dtype=np.int64)
    chosen = reference[informative(weights_KD[reference], values_K[reference], alone, MOST_CHOSEN, seed)]
    centre, scale = float(values_K[chosen].mean()), float(values_K[chosen].std())
    if scale <= 1e-9 * max(1.0, abs(centre)):
        scale = 1.0
    standard_K = (values_K - centre) / scale
    base = choose(weights_KD[chosen], standard_K[chosen])
    tied = lines(weights_KD, standard_K, fidelity_K, lambda wanted_QD: averaged(base, wanted_QD)[0], same_spread)

    lifted_K = tied.to_reference(standard_K, fidelity_K)
    few = informative(weights_KD, values_K, fidelity_K, MOST_FITTED, seed)
    best = base[0].component.over(len(fidelities))
    part = best.fit(weights_KD[few], lifted_K[few], fidelity_K[few], JOINING_ITERATIONS)
    error_K, variance_K = part.process.leave_one_out()
    widening = max(robust_variance(error_K / np.sqrt(variance_K)), 1.0)
    if len(few) < len(values_K):
        part = part.component.fit(weights_KD, lifted_K, fidelity_K, 0)
    return MetricFit(measured_N, fidelities, base, centre, scale, tied, part, widening)


def remembering(seed: int) -> Choose:
    """What chooses parts for rows, and chooses anew only for rows that it has not seen."""
    known: dict[bytes, tuple[Part, ...]] = {}

    def choose_once(weights_KD: Float[np.ndarray, "K D"], values_K: Float[np.ndarray, " K"]) -> tuple[Part, ...]:
        key = weights_KD.tobytes() + values_K.tobytes()
        if key not in known:
            known[key] = choose(weights_KD, values_K, seed)
        return known[key]

    return choose_once


def enough(runs: Runs) -> bool:
    """Whether every metric has a fidelity with runs enough for a fit."""
    measured_NM = np.isfinite(runs.values_NM)
    counts_LM = np.array([measured_NM[runs.at(fidelity)].sum(axis=0) for fidelity in range(len(runs.fidelities))])
    return bool((counts_LM.max(axis=0) >= WarpedGP.fewest_runs).all())


def informative(
    weights_KD: Float[np.ndarray, "K D"],
    values_K: Float[np.ndarray, " K"],
    fidelity_K: Int[np.ndarray, " K"],
    most: int,
    seed: int,
) -> Int[np.ndarray, " S"]:
    """Places of `most` runs: each fidelity has its part, but no less than LEAST_AT_FIDELITY, which may make it more.

    An eighth of a part are the lowest values, an eighth the highest, the others random, in an order that further runs
    leave as it is: of a single fidelity, a run more displaces one at most.
    """
    if len(values_K) <= most:
        return np.arange(len(values_K))
    order_K = _order(weights_KD, seed)
    chosen = []
    for fidelity, count in enumerate(np.bincount(fidelity_K)):
        here = np.flatnonzero(fidelity_K == fidelity)
        part = max(most * count // len(values_K), min(LEAST_AT_FIDELITY, count))
        by_value = here[np.argsort(values_K[here], kind="stable")]
        ends, others = np.split(np.roll(by_value, part // 8), [part // 4])
        others = np.sort(others)
        chosen += [ends, others[np.argsort(order_K[others], kind="stable")][: part - len(ends)]]
    return np.sort(np.concatenate(chosen))


def _order(weights_KD: Float[np.ndarray, "K D"], seed: int) -> UInt[np.ndarray, " K"]:
    """A random number for each mixture, the same whatever others there are, [K]."""
    rows = np.round(weights_KD, DECIMALS)
    digests = [sha256(f"{seed} telling runs ".encode() + row.tobytes()).digest()[:8] for row in rows]
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)
