"""A Gaussian process on warped values, averaged over warps and kernels by their evidence.

For each warp (search.surrogates.warp) a process is fitted with one length scale, and another with a length scale a
domain. Those with a share of the evidence are averaged: few noisy runs keep one length scale, many clear ones free the
domains.

Runs of several fidelities: components are chosen at the fidelity with the most runs. A line ties each other fidelity to
them (search.lifting), and one process over all, each level with its noise and its link to the next, has the rest to
explain.

Shapes: N runs, Q queries, D domains, C components.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import numpy as np

from search.mixture import FloatArray
from search.randomness import generator
from search.runs import BoolArray, IntArray
from search.surrogates.base import Prediction, Surrogate, is_constant
from search.surrogates.gaussian_process import GaussianProcess, Hyperparameters
from search.surrogates.lifting import Lines, lines, same_spread
from search.surrogates.warp import Warp, all_warps

# With more runs than this the warp is chosen on so many of them; it is then alone, for evidence is clear.
SUBSET = 128
# Components with less of the best one's evidence than this are dropped, and the number kept at most.
NEGLIGIBLE = 0.05
MOST_COMPONENTS = 5
# Predictions in warped units go beyond the measured ones by so many of their standard deviations at most.
REACH = 1.0
# Over several fidelities, where each costs more.
MOST_JOINED = 2
# With so many runs at the target, held-out predictions are judged there.
ENOUGH_AT_TARGET = 8
# Of a fit that starts from hyperparameters of nearly the same runs.
FEW_ITERATIONS = 15
FOLDS = 10
# The variance is rescaled by held-out errors, as if so many further runs had said that it is right.
PRIOR_RUNS = 3.0
LEAST_RESCALING, MOST_RESCALING = 0.3, 9.0
# Degrees of freedom of held-out errors, and by how much normal intervals are wider than their scale to hold about 80%
# and 95% of them.
TAIL, TAIL_WIDTH = 5.0, 1.15


@dataclass(frozen=True)
class Component:
    """One warp with one kernel, and its share of the evidence."""

    share: float
    warp: Warp
    process: GaussianProcess

    @property
    def range(self) -> tuple[float, float]:
        """Warped values that may be predicted: unwarped, anything further would be far beyond what was measured."""
        process = self.process
        seen_N = process.mean + process.sd * (process.values_N + process.offset_L[process.level_N])
        reach = REACH * float(seen_N.std())
        return float(seen_N.min()) - reach, float(seen_N.max()) + reach


class WarpedGP(Surrogate):
    """
    Attributes:
        components: over all fidelities, the one with the most evidence first.
        scored_N: the runs that held-out predictions are for: the target's, or, where these are few, those of the
            fidelity with the most runs.
        held_out: of these runs, from other runs; not after a refit.
    """

    fewest_runs = 4
    components: tuple[Component, ...]
    # Those of the fidelity with the most runs alone, from which a refit starts.
    _chosen: tuple[Component, ...]
    scored_N: BoolArray
    held_out: Prediction
    _rescaling: float

    def _fit(self, weights_ND: FloatArray, values_N: FloatArray, level_N: IntArray) -> None:
        counts_L = np.bincount(level_N)
        most_N = level_N == counts_L.argmax()
        self._centre, self._scale = float(values_N[most_N].mean()), float(values_N[most_N].std())
        self._constant = is_constant(values_N)
        if is_constant(values_N[most_N]):
            self._scale = float(values_N.std()) or 1.0
        standard_N = (values_N - self._centre) / self._scale
        self.scored_N = most_N
        self._choose(weights_ND[most_N], standard_N[most_N])
        self._lines = Lines(0, np.zeros(1), np.ones(1))
        self._target = len(counts_L) - 1
        if self._target:
            self._join(weights_ND, standard_N, level_N)

    def _choose(self, weights_ND: FloatArray, values_N: FloatArray) -> None:
        """Components and the rescaling of their variance, for runs of one fidelity."""
        if self._earlier is not None:
            self.components = tuple(
                _component(weights_ND, values_N, each.share, each.warp, each.process.hyperparameters, FEW_ITERATIONS)
                for each in self._earlier._chosen
            )
            self._rescaling = self._earlier._rescaling
        elif len(values_N) <= SUBSET:
            self.components = _averaged(weights_ND, values_N)
            self._rescale(values_N, *self._held_out(weights_ND, values_N))
        else:
            chosen_K = generator(self.seed, "warp").permutation(len(values_N))[:SUBSET]
            best = _averaged(weights_ND[chosen_K], values_N[chosen_K])[0]
            self.components = (
                _component(weights_ND, values_N, 1.0, best.warp, best.process.hyperparameters, FEW_ITERATIONS),
            )
            error_N, variance_N = self.components[0].process.leave_one_out()
            self._rescale(values_N, self.components[0].warp.forward(values_N) - error_N, variance_N)
        self._chosen = self.components

    def _held_out(self, weights_ND: FloatArray, values_N: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Warped mean and variance of each run from the folds that it is not in, by the best component, twice [N].

        Hyperparameters are fitted again: leaving one out would not see that they were fitted to it.
        """
        best = self.components[0]
        warped_N = best.warp.forward(values_N)
        mean_N, variance_N = np.empty_like(values_N), np.empty_like(values_N)
        fold_N = folds(len(values_N), self.seed)
        for fold in range(FOLDS):
            out_N = fold_N == fold
            if not out_N.any():
                continue
            process = GaussianProcess(
                weights_ND[~out_N],
                warped_N[~out_N],
                start=best.process.hyperparameters,
                iterations=FEW_ITERATIONS,
            )
            mean_N[out_N], variance_N[out_N] = process.predict(weights_ND[out_N])
        return mean_N, variance_N

    def _rescale(self, values_N: FloatArray, mean_N: FloatArray, variance_N: FloatArray) -> None:
        """Let the variance be as large as held-out predictions, given by their warped moments, show."""
        warp = self.components[0].warp
        self._rescaling = robust_variance((warp.forward(values_N) - mean_N) / np.sqrt(variance_N))
        mean_N, variance_N = warp.moments(mean_N, self._rescaling * variance_N)
        self.held_out = Prediction(self._centre + self._scale * mean_N, self._scale * np.sqrt(variance_N))

    def _join(self, weights_ND: FloatArray, values_N: FloatArray, level_N: IntArray) -> None:
        """One process over all fidelities for each component, in warped units of the reference."""
        self._lines = lines(
            weights_ND, values_N, level_N, lambda *_: lambda wanted_QD: self._moments(wanted_QD, 0)[0], same_spread
        )
        reference_N = self._lines.to_reference(values_N, level_N)
        # What the most runs show need not hold at the target: no warp is a candidate, too.
        most_N = level_N == self._lines.reference
        plain = _component(
            weights_ND[most_N],
            values_N[most_N],
            0.0,
            Warp.of(inf, 1, values_N),
            Hyperparameters.start(weights_ND.shape[1], 1),
            FEW_ITERATIONS,
        )
        joined = [
            replace(
                each,
                process=GaussianProcess(
                    weights_ND,
                    each.warp.forward(reference_N),
                    level_N,
                    start=each.process.hyperparameters.at_levels(self._target + 1),
                    iterations=2 * FEW_ITERATIONS,
                ),
            )
            for each in (*self._chosen[:MOST_JOINED], plain)
        ]
        self.components = _shared(joined, reference_N)
        if self._earlier is None and (level_N == self._target).sum() >= ENOUGH_AT_TARGET:
            self._score_at_target(values_N, level_N)

    def _score_at_target(self, values_N: FloatArray, level_N: IntArray) -> None:
        """Let held-out predictions and the rescaling be those of the target's runs."""
        self.scored_N = level_N == self._target
        best = self.components[0]
        error_N, variance_N = best.process.leave_one_out()
        error_N, variance_N = error_N[self.scored_N], variance_N[self.scored_N]
        # Leaving one out does not see that the hyperparameters were fitted to it, so nothing is narrowed by it.
        self._rescaling = max(robust_variance(error_N / np.sqrt(variance_N)), 1.0)
        reference_N = self._lines.to_reference(values_N, level_N)[self.scored_N]
        warped_N = best.warp.forward(reference_N)
        mean_N, variance_N = best.warp.moments(warped_N - error_N, self._rescaling * variance_N)
        mean_N = self._lines.from_reference(mean_N, self._target)
        scale = self._scale * self._lines.slope_L[self._target]
        self.held_out = Prediction(self._centre + self._scale * mean_N, scale * np.sqrt(variance_N))

    def _moments(self, weights_QD: FloatArray, level: int) -> tuple[FloatArray, FloatArray]:
        """Mean and variance in standardised units of the reference fidelity, twice [Q]."""
        means, squares = np.zeros(len(weights_QD)), np.zeros(len(weights_QD))
        for each in self.components:
            mean_Q, variance_Q = each.process.predict(weights_QD, level)
            mean_Q = np.clip(mean_Q, *each.range)
            mean_Q, variance_Q = each.warp.moments(mean_Q, self._rescaling * variance_Q)
            means += each.share * mean_Q
            squares += each.share * (variance_Q + mean_Q**2)
        return means, np.maximum(squares - means**2, 0)

    def mean(self, weights_ND: FloatArray) -> FloatArray:
        return self.predict(weights_ND).mean_N

    def predict(self, weights_ND: FloatArray) -> Prediction:
        mean_Q, variance_Q = self._moments(weights_ND, self._target)
        mean_Q = self._lines.from_reference(mean_Q, self._target)
        if self._constant:
            variance_Q = np.zeros_like(variance_Q)
        scale = self._scale * self._lines.slope_L[self._target]
        return Prediction(self._centre + self._scale * mean_Q, scale * np.sqrt(variance_Q))


def _averaged(weights_ND: FloatArray, values_N: FloatArray) -> tuple[Component, ...]:
    """The components that the evidence of these runs leaves, the best first."""
    warps = all_warps(values_N)
    promising = []
    for lengths in sorted({1, weights_ND.shape[1]}):
        start = Hyperparameters.start(lengths, 1)
        fitted = [(warp, GaussianProcess(weights_ND, warp.forward(values_N), start=start)) for warp in warps]
        # With the same kernel the modes' heights order the evidences well; the evidence itself is costly.
        fitted.sort(key=lambda entry: -_of_values(values_N, entry[0], entry[1], entry[1].height))
        promising += fitted[:MOST_COMPONENTS]
    found = [
        (_of_values(values_N, warp, process, process.log_evidence()), warp, process) for warp, process in promising
    ]
    found.sort(key=lambda entry: -entry[0])
    kept = [entry for entry in found[:MOST_COMPONENTS] if entry[0] > found[0][0] + np.log(NEGLIGIBLE)]
    share_C = np.exp([evidence - found[0][0] for evidence, *_ in kept])
    return tuple(
        Component(float(share), warp, process)
        for share, (_, warp, process) in zip(share_C / share_C.sum(), kept, strict=True)
    )


def _shared(joined: list[Component], reference_N: FloatArray) -> tuple[Component, ...]:
    """The components with shares by the evidence of the runs of all fidelities, the best first."""
    found = [(_of_values(reference_N, each.warp, each.process, each.process.height), each) for each in joined]
    found.sort(key=lambda entry: -entry[0])
    share_C = np.exp([density - found[0][0] for density, _ in found])
    return tuple(
        replace(each, share=float(share)) for share, (_, each) in zip(share_C / share_C.sum(), found, strict=True)
    )


def _of_values(values_N: FloatArray, warp: Warp, process: GaussianProcess, log_density: float) -> float:
    """A log density of standardised warped values as one of the values, with the warp's prior: to compare warps by."""
    return log_density - len(values_N) * float(np.log(process.sd)) + warp.log_slope(values_N) + warp.log_prior


def _component(
    weights_ND: FloatArray, values_N: FloatArray, share: float, warp: Warp, start: Hyperparameters, iterations: int
) -> Component:
    """The same warp and kernel for other runs, the floor as far below these."""
    warp = Warp.of(warp.gap, warp.sign, values_N)
    process = GaussianProcess(weights_ND, warp.forward(values_N), start=start, iterations=iterations)
    return Component(share, warp, process)


def folds(runs: int, seed: int) -> IntArray:
    """The fold that each run is held out in, [N]."""
    fold_N: IntArray = generator(seed, "held-out folds").permutation(runs) % FOLDS
    return fold_N


def robust_variance(error_N: FloatArray) -> float:
    """By how much variances have to grow for these standardised errors to be as expected.

    A few runs are always far off (a domain alone, an unlucky seed), so errors have heavier tails than a normal
    distribution, and their variance would make most intervals too wide. The scale is that of a Student t.
    """
    scale = 1.0
    for _ in range(50):
        weight_N = (TAIL + 1) / (TAIL + error_N**2 / scale)
        scale = (float((weight_N * error_N**2).sum()) + PRIOR_RUNS / TAIL_WIDTH**2) / (len(error_N) + PRIOR_RUNS)
        scale = max(scale, 1e-6)
    return float(np.clip(TAIL_WIDTH**2 * scale, LEAST_RESCALING, MOST_RESCALING))
