"""One Gaussian process a metric, fitted fast enough to be fitted anew at every question.

The warp is chosen on a few runs of the fidelity that has most, which change rarely, so that this costly choice is kept
from one question to the next. Hyperparameters are then fitted to more runs, of all fidelities together, each tied to
the reference by a line (search.lifting), and the process is conditioned on every run.

Shapes: N runs, K of them that measured the metric, D domains.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from search.mixture import FloatArray
from search.runs import DECIMALS, BoolArray, IntArray, Runs, present
from search.surrogates.gaussian_process import GaussianProcess
from search.surrogates.lifting import Lines, lines, same_spread
from search.surrogates.warp import Warp
from search.surrogates.warped_gp import FEW_ITERATIONS, WarpedGP, robust_variance

# The warp is chosen on so many runs, hyperparameters are fitted to so many, and to some of every fidelity.
MOST_CHOSEN = 96
MOST_FITTED = 256
LEAST_AT_LEVEL = 32


@dataclass(frozen=True)
class Fit:
    """What is known of one metric.

    Attributes:
        measured_N: the runs that measured it.
        levels: of these runs, ascending; the process numbers levels by their place here, the last is predicted for.
        base: a surrogate of the reference, the level with the most runs, in standardised values.
        centre, scale: of the reference's values, by which all are standardised.
        lines: from the reference to each level, in standardised values.
        warp: from the reference's standardised values to those that the process sees.
        process: conditioned on all these runs.
        widening: by how much its variances are too small.
    """

    measured_N: BoolArray
    levels: IntArray
    base: WarpedGP
    centre: float
    scale: float
    lines: Lines
    warp: Warp
    process: GaussianProcess
    widening: float

    @property
    def target(self) -> int:
        return len(self.levels) - 1

    @property
    def reference(self) -> int:
        return self.lines.reference

    def carried(self, weights_ND: FloatArray) -> FloatArray:
        """Values at the target by the runs of the reference, and the line between the two, alone, [N]."""
        return self.centre + self.scale * self.lines.from_reference(self.base.mean(weights_ND), self.target)

    @property
    def explained(self) -> float:
        """The share of the variance of the reference's runs that is predicted when each is left out."""
        process = self.base.components[0].process
        error_N, _ = process.leave_one_out()
        return 1 - float((error_N**2).mean() / process.sd**2)


class Fitter:
    """Fits the metrics of runs; the same runs give the same fits, whatever was asked before."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        # Of the last question.
        self._bases: dict[bytes, WarpedGP] = {}
        self._last: tuple[bytes, tuple[Fit, ...]] = (b"", ())

    def fit(self, runs: Runs) -> tuple[Fit, ...]:
        """One fit a metric, of runs that are `enough`."""
        key = _key(runs.weights_ND, runs.values_NM, runs.level_N)
        if key != self._last[0]:
            bases: dict[bytes, WarpedGP] = {}
            self._last = key, tuple(self._metric(runs, values_N, bases) for values_N in runs.values_NM.T)
            self._bases = bases
        return self._last[1]

    def _metric(self, runs: Runs, values_N: FloatArray, bases: dict[bytes, WarpedGP]) -> Fit:
        measured_N = np.isfinite(values_N)
        weights_KD, values_K, level_K = runs.weights_ND[measured_N], values_N[measured_N], runs.level_N[measured_N]
        levels, level_K = np.unique(level_K), present(level_K)
        reference = np.flatnonzero(level_K == np.bincount(level_K).argmax())
        chosen = reference[
            _telling(weights_KD[reference], values_K[reference], np.zeros_like(reference), MOST_CHOSEN, self._seed)
        ]
        centre, scale = float(values_K[chosen].mean()), float(values_K[chosen].std())
        if scale <= 1e-9 * max(1.0, abs(centre)):
            scale = 1.0
        standard_K = (values_K - centre) / scale
        key = _key(weights_KD[chosen], standard_K[chosen])
        base = self._bases.get(key) or WarpedGP(self._seed).fit(weights_KD[chosen], standard_K[chosen])
        bases[key] = base

        warp, start = base.components[0].warp, base.components[0].process.hyperparameters.at_levels(len(levels))
        tied = lines(weights_KD, standard_K, level_K, lambda *_: base.mean, same_spread)
        seen_K = warp.forward(tied.to_reference(standard_K, level_K))
        telling = _telling(weights_KD, values_K, level_K, MOST_FITTED, self._seed)
        process = GaussianProcess(
            weights_KD[telling], seen_K[telling], level_K[telling], start=start, iterations=2 * FEW_ITERATIONS
        )
        error_K, variance_K = process.leave_one_out()
        widening = max(robust_variance(error_K / np.sqrt(variance_K)), 1.0)
        if len(telling) < len(values_K):
            process = GaussianProcess(weights_KD, seen_K, level_K, start=process.hyperparameters, iterations=0)
        return Fit(measured_N, levels, base, centre, scale, tied, warp, process, widening)


def enough(runs: Runs) -> bool:
    """Whether every metric has a level with runs enough for a fit."""
    measured_NM = np.isfinite(runs.values_NM)
    at_level_LM = np.array([measured_NM[runs.at(level)].sum(axis=0) for level in range(len(runs.fidelities))])
    return bool((at_level_LM.max(axis=0) >= WarpedGP.fewest_runs).all())


def _telling(weights_KD: FloatArray, values_K: FloatArray, level_K: IntArray, most: int, seed: int) -> IntArray:
    """Places of `most` runs: each level has its share, but no less than LEAST_AT_LEVEL, which may make it more in all.

    An eighth of a share are the lowest values, an eighth the highest, the others random, in an order that further runs
    leave as it is: of a single level, a run more displaces one at most.
    """
    if len(values_K) <= most:
        return np.arange(len(values_K))
    order_K = _order(weights_KD, seed)
    chosen = []
    for level, count in enumerate(np.bincount(level_K)):
        here = np.flatnonzero(level_K == level)
        share = max(most * count // len(values_K), min(LEAST_AT_LEVEL, count))
        by_value = here[np.argsort(values_K[here], kind="stable")]
        ends, others = np.split(np.roll(by_value, share // 8), [share // 4])
        others = np.sort(others)
        chosen += [ends, others[np.argsort(order_K[others], kind="stable")][: share - len(ends)]]
    return np.sort(np.concatenate(chosen))


def _order(weights_KD: FloatArray, seed: int) -> NDArray[np.uint64]:
    """A random number for each mixture, the same whatever others there are, [K]."""
    rows = np.round(weights_KD, DECIMALS)
    digests = [sha256(f"{seed} telling runs ".encode() + row.tobytes()).digest()[:8] for row in rows]
    return np.frombuffer(b"".join(digests), dtype=">u8")


def _key(*arrays: FloatArray | IntArray) -> bytes:
    return b"".join(array.tobytes() for array in arrays)
