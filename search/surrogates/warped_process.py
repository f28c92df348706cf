"""Gaussian processes on warped values, averaged over warps and kernels by their marginal likelihood.

1. The reference is the fidelity with the most runs. For each warp (search.surrogates.warp) a process is fitted to its
   informative runs with one length scale, and another with one per domain. Those with a share of the marginal
   likelihood are kept: few noisy runs keep one length scale, many clear ones free the domains.
2. A line ties each other fidelity to the reference (search.surrogates.lifting), and one process over all, each
   fidelity with its noise and its link to the next, has the rest to explain.
3. Hyperparameters are fitted to the informative runs, the processes conditioned on every run, and averaged.

Shapes: N runs, K of them at the reference, Q queries, D domains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log

import numpy as np
from jaxtyping import Float

from search.arrays import Array
from search.gaussian_process.hyperparameters import Hyperparameters
from search.gaussian_process.process import ITERATIONS, GaussianProcess
from search.surrogates.base import Fitted, Prediction, is_constant
from search.surrogates.lifting import Lines, lines, same_spread
from search.surrogates.rows import Rows
from search.surrogates.warp import IDENTITY, Warp, all_warps

# Components are chosen on so many runs of the reference at most. Where it has more, the best is alone, for it is clear.
MOST_CHOSEN = 128
# Hyperparameters are fitted to so many runs of all fidelities.
MOST_FITTED = 256
# Components with less of the best one's marginal likelihood than this are dropped, and the number kept at most.
NEGLIGIBLE = 0.05
MOST_COMPONENTS = 5
# A mode so many nats below the highest of the same kernel has a negligible share of the marginal likelihood; and where
# one is so far below, warps beyond it are not fitted.
UNLIKELY, HOPELESS = 6.0, 15.0
# Over several fidelities, where each costs more.
MOST_JOINED = 2
# Predictions in warped units go beyond the measured ones by so many of their standard deviations at most.
WARPED_REACH = 1.0
# Of fits that start from hyperparameters of nearly the same runs, and of fewer of them.
FEW_ITERATIONS, MORE_ITERATIONS = 15, 30


@dataclass(frozen=True, eq=False)
class Component:
    """One warp with one kernel, to be fitted to runs, and its share of the marginal likelihood."""

    likelihood_part: float
    warp: Warp
    hyperparameters: Hyperparameters

    def around(self, alone: Rows) -> Component:
        """The same for other runs of the reference, the floor as far below these."""
        return replace(self, warp=Warp.of(self.warp.gap, self.warp.sign, alone.values_N))

    def over(self, fidelities: int) -> Component:
        """The same for more fidelities than it was fitted to."""
        return replace(self, hyperparameters=self.hyperparameters.over(fidelities))

    def fit(self, rows: Rows, iterations: int) -> Part:
        """Fitted to standardised values in units of the reference; no iterations keep the hyperparameters."""
        warped_N = self.warp.forward(rows.values_N)
        start = self.hyperparameters
        process = GaussianProcess.fit(rows.weights_ND, warped_N, rows.fidelity_N, start=start, iterations=iterations)
        return Part(self.likelihood_part, self.warp, process)


@dataclass(frozen=True, eq=False)
class Part:
    """A component that knows its runs."""

    likelihood_part: float
    warp: Warp
    process: GaussianProcess

    @property
    def component(self) -> Component:
        return Component(self.likelihood_part, self.warp, self.process.hyperparameters)

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
    """What is costly to choose.

    Attributes:
        chosen: the runs of the reference that it was chosen on.
        reference: components of the reference alone, the one with the most of the marginal likelihood first.
        plain: the one without a warp, with a length scale per domain; None where all runs were of one fidelity.
        fitted: over all runs of all fidelities; none while they are not fitted.
    """

    chosen: Rows
    reference: tuple[Component, ...]
    plain: Component | None
    fitted: tuple[Component, ...] = ()

    def chosen_on(self, rows: Rows) -> bool:
        same = np.array_equal(self.chosen.weights_ND, rows.weights_ND)
        return same and np.array_equal(self.chosen.values_N, rows.values_N)


@dataclass(frozen=True, eq=False)
class WarpedProcess(Fitted[Components]):
    """Fitted to rows.

    Attributes:
        centre, scale: of the reference's values, by which all are standardised.
        lines: from the reference to each fidelity, in standardised values.
        of_reference: parts that know the runs of the reference alone; none where there is no other fidelity.
        parts: over all fidelities, the one with the most of the marginal likelihood first.
        constant: all values were equal.
    """

    centre: float
    scale: float
    lines: Lines
    of_reference: tuple[Part, ...]
    parts: tuple[Part, ...]
    choice: Components
    constant: bool

    @property
    def target(self) -> int:
        return len(self.lines.slope_L) - 1

    def values(self, standard: Array) -> Array:
        """Of the target, from standardised values of the reference, in NumPy or PyTorch."""
        return self.centre + self.scale * self.lines.from_reference(standard, self.target)

    def predict(self, weights_QD: Float[np.ndarray, "Q D"]) -> Prediction:
        """Of the target."""
        mean_Q, variance_Q = averaged(self.parts, weights_QD, self.target)
        scale = 0.0 if self.constant else self.scale * float(self.lines.slope_L[self.target])
        return Prediction(self.values(mean_Q), scale * np.sqrt(variance_Q))

    def carried_over(self, weights_QD: Float[np.ndarray, "Q D"]) -> Float[np.ndarray, " Q"]:
        """Values at the target by the runs of the reference, and the line between the two, alone, [Q]."""
        return self.values(averaged(self.of_reference, weights_QD)[0])

    @property
    def explained(self) -> float:
        """The share of the variance of the reference's runs that is predicted when each is left out."""
        process = self.of_reference[0].process
        error_K, _ = process.leave_one_out()
        return 1 - float((error_K**2).mean() / process.data.sd**2)


def fit(rows: Rows, seed: int, choice: Components | None = None) -> WarpedProcess:
    """
    Args:
        choice: of nearly the same rows; where these are more than MOST_CHOSEN, hyperparameters stay as they are in it.
    """
    choice = choice or choose(rows, seed)
    several, (centre, scale) = rows.fidelities > 1, _unit(rows)
    standard = _standardised(rows, centre, scale)
    alone = standard.of_reference
    known = choice.reference if len(alone) <= MOST_CHOSEN else (replace(choice.reference[0], likelihood_part=1.0),)
    of_reference = tuple(each.around(alone).fit(alone, 0) for each in known) if several else ()
    tied = lines(standard, lambda wanted_QD: averaged(of_reference, wanted_QD)[0], same_spread)
    lifted = tied.to_reference(standard)
    if choice.fitted and choice.fitted[0].hyperparameters.fidelities == rows.fidelities:
        iterations = FEW_ITERATIONS if len(rows) <= MOST_CHOSEN else 0
        parts = tuple(each.around(alone).fit(lifted, iterations) for each in choice.fitted)
    else:
        # What the most runs show need not hold at the target: no warp is a candidate, too.
        plain = () if choice.plain is None else (choice.plain,)
        candidates = (*known[:MOST_JOINED], *plain) if several else known
        few = lifted.informative(MOST_FITTED, seed)
        iterations = MORE_ITERATIONS if len(rows) > len(choice.chosen) else 0
        parts = tuple(each.around(alone).over(rows.fidelities).fit(few, iterations) for each in candidates)
        if several:
            parts = _weighed([(part, part.process.log_posterior) for part in parts], few.values_N)
        if len(few) < len(rows):
            parts = tuple(part.component.fit(lifted, 0) for part in parts)
    choice = replace(choice, fitted=tuple(part.component for part in parts))
    return WarpedProcess(centre, scale, tied, of_reference, parts, choice, is_constant(rows.values_N))


def choose(rows: Rows, seed: int, earlier: Components | None = None) -> Components:
    """The components that the marginal likelihood of the reference's informative runs leaves.

    Args:
        earlier: is taken where it was chosen on the same runs, since it would be chosen again.
    """
    chosen = rows.of_reference.informative(MOST_CHOSEN, seed)
    several = rows.fidelities > 1
    if earlier is not None and earlier.chosen_on(chosen) and (earlier.plain is not None or not several):
        return replace(earlier, fitted=())
    standard = _standardised(chosen, *_unit(chosen))
    found, best, plain = [], IDENTITY, None
    for lengths in sorted({1, rows.weights_ND.shape[1]}):
        heights = _promising(standard, lengths, best)
        best, highest = heights[0][0].warp, heights[0][1]
        # With the same kernel the heights of the modes order the marginal likelihoods well, which are costly.
        likely = [part for part, height in heights[:MOST_COMPONENTS] if height > highest - UNLIKELY]
        found += [(part, part.process.log_marginal_likelihood()) for part in likely]
        if several:
            # The last has a length scale per domain.
            known = [part for part, _ in heights if part.warp.identity]
            start = Component(1.0, IDENTITY, Hyperparameters.start(lengths))
            plain = known[0].component if known else start.fit(standard, ITERATIONS).component
    kept = _weighed(found, standard.values_N, NEGLIGIBLE)
    return Components(chosen, tuple(part.component for part in kept), plain)


def _promising(standard: Rows, lengths: int, first: Warp) -> list[tuple[Part, float]]:
    """Parts of the warps that are worth a fit, with the heights of their modes, the highest first.

    Along the order of the warps heights rise to a top and fall again. So each side of the first is followed only until
    it has fallen far below the highest.
    """
    warps = all_warps(standard.values_N)

    def fit(warp: Warp, start: Hyperparameters) -> tuple[Part, float]:
        part = Component(1.0, warp, start).fit(standard, ITERATIONS)
        return part, part.log_density(part.process.log_posterior, standard.values_N)

    expected, begin = Hyperparameters.start(lengths), warps.index(first)
    found = [fit(first, expected)]
    highest = found[0][1]
    for side in (warps[begin + 1 :], warps[:begin][::-1]):
        start = found[0][0].process.hyperparameters
        for warp in side:
            # One length scale has one mode, not far from the neighbour's; many may have several modes.
            part, height = fit(warp, start if lengths == 1 else expected)
            found.append((part, height))
            start, highest = part.process.hyperparameters, max(highest, height)
            if height < highest - HOPELESS:
                break
    return sorted(found, key=lambda each: -each[1])


def unwarped(rows: Rows, seed: int, lengths: int) -> Components:
    """As of `choose`: a single component, without a warp, with so many length scales."""
    chosen = rows.of_reference.informative(MOST_CHOSEN, seed)
    start = Component(1.0, IDENTITY, Hyperparameters.start(lengths))
    component = start.fit(_standardised(chosen, *_unit(chosen)), ITERATIONS).component
    return Components(chosen, (component,), component)


def _unit(rows: Rows) -> tuple[float, float]:
    """Mean and standard deviation of the reference's values, that of all where these are constant."""
    values_K = rows.of_reference.values_N
    return float(values_K.mean()), float((rows.values_N if is_constant(values_K) else values_K).std()) or 1.0


def _standardised(rows: Rows, centre: float, scale: float) -> Rows:
    return replace(rows, values_N=(rows.values_N - centre) / scale)


def _weighed(
    found: Sequence[tuple[Part, float]], values_N: Float[np.ndarray, " N"], negligible: float = 0.0
) -> tuple[Part, ...]:
    """The parts with shares by a log density of their process's values, the best first; few, and no negligible one."""
    density_C = np.array([part.log_density(of_process, values_N) for part, of_process in found])
    likelihood_C = np.exp(density_C - density_C.max())
    order = [place for place in np.argsort(-likelihood_C, kind="stable") if likelihood_C[place] > negligible]
    order = order[:MOST_COMPONENTS]
    share_C = likelihood_C[order] / likelihood_C[order].sum()
    return tuple(
        replace(found[place][0], likelihood_part=float(share)) for place, share in zip(order, share_C, strict=True)
    )


def averaged(
    parts: Sequence[Part], weights_QD: Float[np.ndarray, "Q D"], fidelity: int = 0
) -> tuple[Float[np.ndarray, " Q"], Float[np.ndarray, " Q"]]:
    """Mean and variance in standardised units of the reference, twice [Q]."""
    mean_Q, square_Q = np.zeros(len(weights_QD)), np.zeros(len(weights_QD))
    for part in parts:
        part_Q, variance_Q = part.predict(weights_QD, fidelity)
        mean_Q += part.likelihood_part * part_Q
        square_Q += part.likelihood_part * (variance_Q + part_Q**2)
    return mean_Q, np.maximum(square_Q - mean_Q**2, 0)
