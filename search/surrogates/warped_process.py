"""Gaussian processes on warped values, averaged over warps and kernels by their marginal likelihood.

For each warp (search.surrogates.warp) a process is fitted with one length scale, and another with one per domain. Those
with a share of the marginal likelihood are averaged: few noisy runs keep one length scale, many clear ones free the
domains.

Runs of several fidelities: components are chosen at the reference, the fidelity with the most runs. A line ties each
other fidelity to them (search.surrogates.lifting), and one process over all, each fidelity with its noise and its link
to the next, has the rest to explain.

Shapes: N runs, K of them at the reference, Q queries, D domains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log

import numpy as np
from jaxtyping import Float, Int

from search.gaussian_process.hyperparameters import Hyperparameters
from search.gaussian_process.process import GaussianProcess
from search.randomness import generator
from search.surrogates.base import Prediction, is_constant
from search.surrogates.lifting import Lines, lines, reference_of, same_spread
from search.surrogates.rows import Rows
from search.surrogates.warp import IDENTITY, Warp, all_warps

# With more runs than this components are chosen on so many of them; the best is then alone, for it is clear.
MOST_CHOSEN = 128
# Components with less of the best one's marginal likelihood than this are dropped, and the number kept at most.
NEGLIGIBLE = 0.05
MOST_COMPONENTS = 5
# Over several fidelities, where each costs more.
MOST_JOINED = 2
# Predictions in warped units go beyond the measured ones by so many of their standard deviations at most.
WARPED_REACH = 1.0
# Of a fit that starts from hyperparameters of nearly the same runs, and of one that has other fidelities to learn.
FEW_ITERATIONS, JOINING_ITERATIONS = 15, 30


@dataclass(frozen=True, eq=False)
class Component:
    """One warp with one kernel, to be fitted to runs, and its share of the marginal likelihood."""

    share: float
    warp: Warp
    hyperparameters: Hyperparameters

    def around(self, values_K: Float[np.ndarray, " K"]) -> Component:
        """The same for other runs of the reference, the floor as far below these."""
        return replace(self, warp=Warp.of(self.warp.gap, self.warp.sign, values_K))

    def over(self, fidelities: int) -> Component:
        """The same for more fidelities than it was fitted to."""
        return replace(self, hyperparameters=self.hyperparameters.over(fidelities))

    def fit(
        self,
        weights_ND: Float[np.ndarray, "N D"],
        values_N: Float[np.ndarray, " N"],
        fidelity_N: Int[np.ndarray, " N"] | None,
        iterations: int,
    ) -> Part:
        """Fitted to standardised values in units of the reference; no iterations keep the hyperparameters."""
        process = GaussianProcess.fit(
            weights_ND, self.warp.forward(values_N), fidelity_N, start=self.hyperparameters, iterations=iterations
        )
        return Part(self.share, self.warp, process)


def unwarped(lengths: int) -> Component:
    return Component(1.0, IDENTITY, Hyperparameters.start(lengths))


@dataclass(frozen=True, eq=False)
class Part:
    """A component that knows its runs."""

    share: float
    warp: Warp
    process: GaussianProcess

    @property
    def component(self) -> Component:
        return Component(self.share, self.warp, self.process.hyperparameters)

    def log_density(self, of_process: float, values_N: Float[np.ndarray, " N"]) -> float:
        """A log density of the process's standardised values as one of the values, the warp's prior included."""
        of_unit = len(values_N) * log(self.process.data.sd)
        return of_process - of_unit + self.warp.log_slope(values_N) + self.warp.log_prior

    def predict(
        self, weights_QD: Float[np.ndarray, "Q D"], fidelity: int
    ) -> tuple[Float[np.ndarray, " Q"], Float[np.ndarray, " Q"]]:
        """Mean and variance of standardised values, twice [Q]: unwarped, a mean far beyond the runs' would explode."""
        mean_Q, variance_Q = self.process.predict(weights_QD, fidelity)
        data = self.process.data
        seen_N = data.mean + data.sd * (data.values_N + data.offset_L[data.fidelity_N])
        reach = WARPED_REACH * float(seen_N.std())
        return self.warp.moments(np.clip(mean_Q, seen_N.min() - reach, seen_N.max() + reach), variance_Q)


@dataclass(frozen=True, eq=False)
class Components:
    """What is costly to choose: components of the reference, and over all fidelities where there are several."""

    reference: tuple[Component, ...]
    joined: tuple[Component, ...] = ()


@dataclass(frozen=True, eq=False)
class WarpedProcess:
    """Fitted to rows.

    Attributes:
        centre, scale: of the reference's values, by which all are standardised.
        lines: from the reference to each fidelity, in standardised values.
        parts: over all fidelities, the one with the most of the marginal likelihood first.
        constant: all values were equal.
    """

    centre: float
    scale: float
    lines: Lines
    parts: tuple[Part, ...]
    choice: Components
    constant: bool

    def predict(self, weights_QD: Float[np.ndarray, "Q D"]) -> Prediction:
        """Of the target."""
        target = len(self.lines.slope_L) - 1
        mean_Q, variance_Q = averaged(self.parts, weights_QD, target)
        scale = 0.0 if self.constant else self.scale * float(self.lines.slope_L[target])
        mean_Q = self.centre + self.scale * self.lines.from_reference(mean_Q, target)
        return Prediction(mean_Q, scale * np.sqrt(variance_Q))


def fit(rows: Rows, seed: int, choice: Components | None = None) -> WarpedProcess:
    """
    Args:
        choice: of nearly the same rows; where these are more than MOST_CHOSEN, hyperparameters stay as they are in it.
    """
    weights_ND, fidelity_N = rows.weights_ND, rows.fidelity_N
    reference_N = fidelity_N == reference_of(fidelity_N)
    centre, scale = unit(rows.values_N, rows.values_N[reference_N])
    standard_N = (rows.values_N - centre) / scale
    weights_KD, standard_K = weights_ND[reference_N], standard_N[reference_N]
    few = FEW_ITERATIONS if choice is None or len(rows) <= MOST_CHOSEN else 0
    if choice is None:
        parts = choose(weights_KD, standard_K, seed)
    else:
        # Where components over all fidelities are known, those of the reference only tie the fidelities.
        iterations = 0 if choice.joined else few
        parts = tuple(
            each.around(standard_K).fit(weights_KD, standard_K, None, iterations) for each in choice.reference
        )
    reference = tuple(part.component for part in parts)
    of_reference = parts
    tied = lines(
        weights_ND, standard_N, fidelity_N, lambda wanted_QD: averaged(of_reference, wanted_QD)[0], same_spread
    )
    joined: tuple[Component, ...] = ()
    if (fidelities := len(tied.slope_L)) > 1:
        lifted_N = tied.to_reference(standard_N, fidelity_N)
        if choice is not None and choice.joined and choice.joined[0].hyperparameters.fidelities == fidelities:
            known = (each.around(standard_K) for each in choice.joined)
            parts = tuple(each.fit(weights_ND, lifted_N, fidelity_N, few) for each in known)
        else:
            # What the most runs show need not hold at the target: no warp is a candidate, too.
            plain = unwarped(weights_ND.shape[1]).fit(weights_KD, standard_K, None, FEW_ITERATIONS).component
            candidates = [
                each.over(fidelities).fit(weights_ND, lifted_N, fidelity_N, JOINING_ITERATIONS)
                for each in (*reference[:MOST_JOINED], plain)
            ]
            parts = _weighed([(part, part.process.log_posterior) for part in candidates], lifted_N)
        joined = tuple(part.component for part in parts)
    return WarpedProcess(centre, scale, tied, parts, Components(reference, joined), is_constant(rows.values_N))


def unit(values_N: Float[np.ndarray, " N"], values_K: Float[np.ndarray, " K"]) -> tuple[float, float]:
    """Mean and standard deviation of the reference's values, that of all where these are constant."""
    return float(values_K.mean()), float((values_N if is_constant(values_K) else values_K).std()) or 1.0


def choose(weights_KD: Float[np.ndarray, "K D"], values_K: Float[np.ndarray, " K"], seed: int) -> tuple[Part, ...]:
    """The parts that the marginal likelihood of runs of one fidelity leaves, fitted to all of these, the best first."""
    chosen = generator(seed, "warp").permutation(len(values_K))[:MOST_CHOSEN]
    if len(chosen) < len(values_K):
        [best, *_] = choose(weights_KD[chosen], values_K[chosen], seed)
        component = replace(best.component, share=1.0).around(values_K)
        return (component.fit(weights_KD, values_K, None, FEW_ITERATIONS),)
    warps = all_warps(values_K)
    found = []
    for lengths in sorted({1, weights_KD.shape[1]}):
        start = Hyperparameters.start(lengths)
        parts = [
            Part(0.0, warp, GaussianProcess.fit(weights_KD, warp.forward(values_K), start=start)) for warp in warps
        ]
        # With the same kernel the heights of the modes order the marginal likelihoods well, which are costly.
        parts.sort(key=lambda part: -part.log_density(part.process.log_posterior, values_K))
        found += [(part, part.process.log_marginal_likelihood()) for part in parts[:MOST_COMPONENTS]]
    return _weighed(found, values_K, NEGLIGIBLE)


def _weighed(
    found: Sequence[tuple[Part, float]], values_N: Float[np.ndarray, " N"], negligible: float = 0.0
) -> tuple[Part, ...]:
    """The parts with shares by a log density of their process's values, the best first; few, and no negligible one."""
    density_C = np.array([part.log_density(of_process, values_N) for part, of_process in found])
    likelihood_C = np.exp(density_C - density_C.max())
    order = [place for place in np.argsort(-likelihood_C, kind="stable") if likelihood_C[place] > negligible]
    share_C = likelihood_C[order[:MOST_COMPONENTS]]
    shares = zip(order, share_C / share_C.sum(), strict=False)
    return tuple(replace(found[place][0], share=float(share)) for place, share in shares)


def averaged(
    parts: Sequence[Part], weights_QD: Float[np.ndarray, "Q D"], fidelity: int = 0
) -> tuple[Float[np.ndarray, " Q"], Float[np.ndarray, " Q"]]:
    """Mean and variance in standardised units of the reference, twice [Q]."""
    mean_Q, square_Q = np.zeros(len(weights_QD)), np.zeros(len(weights_QD))
    for part in parts:
        part_Q, variance_Q = part.predict(weights_QD, fidelity)
        mean_Q += part.share * part_Q
        square_Q += part.share * (variance_Q + part_Q**2)
    return mean_Q, np.maximum(square_Q - mean_Q**2, 0)
