"""Measured runs as arrays: what surrogates are fitted to, wherever the runs come from.

Shapes: N runs, D domains, M metrics, L fidelities.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from search.errors import SearchError
from search.fidelity import Fidelity
from search.mixture import DECIMALS, Mixture
from search.scales import Goal, Scales

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Runs:
    """One row a run; a mixture measured at two fidelities, or with two seeds, has two rows.

    Attributes:
        names: of the runs, N.
        fidelities: by rising cost, but the last, which is the one that predictions are for, may be any.
        weights_ND: rows that sum to one.
        fidelity_N: index into `fidelities`.
        values_NM: NaN where a metric was not measured.
        supply_LD: tokens that each domain has for a run at each fidelity; NaN, or None for all, where it is not known.
        goal: the run that the answer is for, where it is not one of the last fidelity.
        stable_L: which fidelities are points of longer runs, measured before the learning rate fell; None: none.
    """

    names: tuple[str, ...]
    domains: tuple[str, ...]
    metrics: tuple[str, ...]
    fidelities: tuple[Fidelity, ...]
    weights_ND: Float[np.ndarray, "N D"]
    fidelity_N: Int[np.ndarray, " N"]
    values_NM: Float[np.ndarray, "N M"]
    supply_LD: Float[np.ndarray, "L D"] | None = None
    goal: Goal | None = None
    stable_L: Bool[np.ndarray, " L"] | None = None

    def __post_init__(self) -> None:
        runs = len(self.names)
        assert self.weights_ND.shape == (runs, len(self.domains)), "a weight for each run and domain"
        assert self.values_NM.shape == (runs, len(self.metrics)), "a value for each run and metric"
        assert self.supply_LD is None or self.supply_LD.shape == (len(self.fidelities), len(self.domains))
        assert self.fidelity_N.shape == (runs,) and set(self.fidelity_N.tolist()) <= set(range(len(self.fidelities)))
        assert np.isfinite(self.weights_ND).all() and (self.weights_ND >= 0).all()
        assert np.allclose(self.weights_ND.sum(axis=1), 1), "mixtures sum to one"

    def __len__(self) -> int:
        return len(self.names)

    @property
    def target(self) -> Fidelity:
        return self.fidelities[-1]

    @property
    def at_target_N(self) -> Bool[np.ndarray, " N"]:
        return self.at(len(self.fidelities) - 1)

    @property
    def complete_N(self) -> Bool[np.ndarray, " N"]:
        """Which runs measured every metric."""
        complete_N: Bool[np.ndarray, " N"] = np.logical_and.reduce(np.isfinite(self.values_NM), axis=1)
        return complete_N

    @cached_property
    def mixture_N(self) -> Int[np.ndarray, " N"]:
        """A number for each run, equal for equal mixtures."""
        return numbered(self.weights_ND)

    @property
    def scales(self) -> Scales:
        """At what scale each fidelity is, and what predictions are for."""
        shape = (len(self.fidelities), len(self.domains))
        # Where a table does not say them, they count as 1.
        tokens_L = np.array([float(each.tokens) if each.tokens > 1 else np.nan for each in self.fidelities])
        params_L = np.array([float(fidelity.params) or np.nan for fidelity in self.fidelities])
        supply_LD = np.full(shape, np.nan) if self.supply_LD is None else self.supply_LD
        repeats_LD, goal = tokens_L[:, None] / supply_LD, self.goal
        stable_L = self.stable_L
        if goal is None:
            ends = float(params_L[-1]), float(tokens_L[-1]), repeats_LD[-1]
            return Scales(params_L, tokens_L, repeats_LD, *ends, stable_L)
        repeats_D = np.full(shape[1], np.nan) if goal.supply_D is None else goal.tokens / goal.supply_D
        params = np.nan if goal.params is None else float(goal.params)
        return Scales(params_L, tokens_L, repeats_LD, params, float(goal.tokens), repeats_D, stable_L)

    def at(self, index: int) -> Bool[np.ndarray, " N"]:
        at_N: Bool[np.ndarray, " N"] = self.fidelity_N == index
        return at_N

    def mixture(self, run: int) -> Mixture:
        return Mixture.from_array(self.domains, self.weights_ND[run])

    def select(self, chosen_N: Bool[np.ndarray, " N"] | Int[np.ndarray, " N"]) -> Runs:
        """These runs alone; the fidelities stay, also those that no run is left of."""
        index_K = np.arange(len(self))[chosen_N]
        return replace(
            self,
            names=tuple(self.names[run] for run in index_K),
            weights_ND=self.weights_ND[index_K],
            fidelity_N=self.fidelity_N[index_K],
            values_NM=self.values_NM[index_K],
        )

    def of(self, *metrics: str) -> Runs:
        """These metrics alone, in this order.

        Raises:
            SearchError: a metric that the runs do not have.
        """
        for name in metrics:
            if name not in self.metrics:
                raise SearchError(f"metric {name!r} does not exist", hint=f"choose from {', '.join(self.metrics)}")
        columns = [self.metrics.index(name) for name in metrics]
        return replace(self, metrics=metrics, values_NM=self.values_NM[:, columns])

    def targeting(self, proxy: str) -> Runs:
        """The same runs with the named fidelity as the target.

        Raises:
            SearchError: a fidelity that the runs do not have.
        """
        names = [fidelity.proxy for fidelity in self.fidelities]
        if proxy not in names:
            raise SearchError(f"fidelity {proxy!r} does not exist", hint=f"choose from {', '.join(names)}")
        last = names.index(proxy)
        order = [*(index for index in range(len(names)) if index != last), last]
        place_L = np.argsort(order)
        return replace(
            self,
            fidelities=tuple(self.fidelities[index] for index in order),
            fidelity_N=place_L[self.fidelity_N],
            supply_LD=None if self.supply_LD is None else self.supply_LD[order],
            stable_L=None if self.stable_L is None else self.stable_L[order],
        )

    def before(self, other: Runs) -> Runs:
        """Both runs, these first; the target is that of `other`, and a fidelity that both name is one."""
        assert (self.domains, self.metrics) == (other.domains, other.metrics)
        names = [fidelity.proxy for fidelity in other.fidelities]
        extra = tuple(fidelity for fidelity in self.fidelities if fidelity.proxy not in names)
        cheaper = sorted((*extra, *other.fidelities[:-1]), key=lambda fidelity: fidelity.flops)
        fidelities = (*cheaper, other.target)
        place = {fidelity.proxy: index for index, fidelity in enumerate(fidelities)}
        fidelity_N = [place[runs.fidelities[index].proxy] for runs in (self, other) for index in runs.fidelity_N]
        supply_LD = np.full((len(fidelities), len(self.domains)), np.nan)
        stable_L = np.zeros(len(fidelities), dtype=bool)
        for runs in (self, other):
            own = [place[fidelity.proxy] for fidelity in runs.fidelities]
            if runs.supply_LD is not None:
                supply_LD[own] = runs.supply_LD
            if runs.stable_L is not None:
                stable_L[own] = runs.stable_L
        return Runs(
            names=(*self.names, *other.names),
            domains=other.domains,
            metrics=other.metrics,
            fidelities=fidelities,
            weights_ND=np.vstack([self.weights_ND, other.weights_ND]),
            fidelity_N=np.array(fidelity_N, dtype=np.int64),
            values_NM=np.vstack([self.values_NM, other.values_NM]),
            supply_LD=None if np.isnan(supply_LD).all() else supply_LD,
            goal=other.goal,
            stable_L=stable_L if stable_L.any() else None,
        )


def among(weights_ND: Float[np.ndarray, "N D"], others_KD: Float[np.ndarray, "K D"]) -> Bool[np.ndarray, " N"]:
    """Which mixtures are in the second table too, [N]."""
    others = {row.tobytes() for row in np.round(others_KD, DECIMALS)}
    return np.array([row.tobytes() in others for row in np.round(weights_ND, DECIMALS)], dtype=bool)


def numbered(weights_ND: Float[np.ndarray, "N D"]) -> Int[np.ndarray, " N"]:
    """A number for each mixture from 0 on, equal for equal ones, [N]."""
    _, mixture_N = np.unique(np.round(weights_ND, DECIMALS), axis=0, return_inverse=True)
    return np.asarray(mixture_N, dtype=np.int64).reshape(-1)


def present(fidelity_N: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """Numbered without the fidelities that no run has, [N]: 0 the cheapest, the largest what is predicted for."""
    return np.asarray(np.unique(fidelity_N, return_inverse=True)[1], dtype=np.int64).reshape(-1)
