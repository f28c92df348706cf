"""The noise floor: what a seed does to every mixture alike, and what it does to one mixture alone.

The second decides what a study can resolve: two mixtures compared over S shared seeds differ, by chance alone, by its
standard deviation times sqrt(2 / S).

Shapes: N runs, M metrics, K mixtures and S seeds that were combined.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from search.history import Completed
from search.mixture import Mixture
from search.objective import Objective
from search.seeds import SEARCH_SEED

# A paired difference over seeds is shown where it is larger than so many of its standard errors: 95%, two-sided, for
# two candidates at once, and a noise that is known from some ten degrees of freedom.
SHOWN = 2.6


@dataclass(frozen=True)
class Noise:
    """Of a metric or of the objective, from mixtures that were trained with several seeds.

    Attributes:
        run_sd: of what a seed does to one mixture alone, in the unit of the objective.
        seed_sd: of what it does to all.
        freedom: degrees of freedom that `run_sd` rests on; with fewer than 5 it may well be half or twice of it.
    """

    run_sd: float
    seed_sd: float
    freedom: int

    def resolves(self, seeds: int) -> float:
        """The difference between two mixtures that so many seeds of both show, more often than not."""
        return SHOWN * self.run_sd * math.sqrt(2 / seeds)

    def seeds_for(self, difference: float) -> int:
        """How many seeds of both mixtures show such a difference."""
        return max(2, math.ceil(2 * (SHOWN * self.run_sd / difference) ** 2 - 1e-9))


@dataclass(frozen=True)
class NoiseFloor:
    """
    Attributes:
        mixtures: how many were trained with several seeds.
        objective: of the objective; `metrics`: of each of its metrics.
    """

    mixtures: int
    objective: Noise
    metrics: dict[str, Noise]


def measure_noise(
    objective: Objective, entries: Iterable[Completed], baseline: Mixture | None = None
) -> NoiseFloor | None:
    """From runs at one fidelity, the confirmation's too; None while no two mixtures share two seeds.

    Args:
        baseline: that the objective is measured against, if it is, seed by seed.
    """
    entries = list(entries)
    against = {
        entry.trial.seed: objective.losses(entry.measurement)
        for entry in entries
        if baseline is not None and entry.trial.mixture.same_as(baseline)
    }
    if objective.baseline is not None:
        entries = [entry for entry in entries if entry.trial.seed in against]
    groups = _repeated(entries)
    if groups is None:
        return None
    kept, mixture_N, seed_N = groups
    values_NM = np.array([objective.losses(entry.measurement) for entry in kept])
    objective_N = np.array(
        [
            float(objective.value(values_M[None], against.get(entry.trial.seed))[0])
            for entry, values_M in zip(kept, values_NM, strict=True)
        ]
    )
    mixtures = int(mixture_N.max()) + 1
    if (whole := two_way(objective_N, mixture_N, seed_N, mixtures).noise) is None:
        return None
    metrics = {
        name: noise
        for name, values_N in zip(objective.metrics, values_NM.T, strict=True)
        if (noise := two_way(values_N, mixture_N, seed_N, mixtures).noise) is not None
    }
    return NoiseFloor(mixtures, whole, metrics)


@dataclass(frozen=True, eq=False)
class Layout:
    """Runs of several mixtures with several seeds, taken apart.

    Attributes:
        mean_K: of each mixture, without what each seed did to all; NaN for one that has no run.
        noise: None where nothing is left over to estimate it from.
    """

    mean_K: Float[np.ndarray, " K"]
    noise: Noise | None


def two_way(
    values_N: Float[np.ndarray, " N"], mixture_N: Int[np.ndarray, " N"], seed_N: Int[np.ndarray, " N"], mixtures: int
) -> Layout:
    """A two-way layout without interaction, unbalanced, by least squares.

    Two seeds of one mixture say next to nothing of the noise, two of six mixtures enough.
    """
    mean_K = np.full(mixtures, np.nan)
    if not len(values_N):
        return Layout(mean_K, None)
    design_NP = np.hstack([np.eye(mixtures)[mixture_N], np.eye(int(seed_N.max()) + 1)[seed_N]])
    effects_P, _, rank, _ = np.linalg.lstsq(design_NP, values_N)
    seed_S = effects_P[mixtures:]
    known = np.unique(mixture_N)
    mean_K[known] = effects_P[known] + seed_S.mean()
    freedom = len(values_N) - int(rank)
    if freedom < 1:
        return Layout(mean_K, None)
    run_variance = float(((values_N - design_NP @ effects_P) ** 2).sum()) / freedom
    of_chance = run_variance * float((1 / np.bincount(seed_N)).mean())
    seed_variance = max(float(seed_S.var(ddof=1)) - of_chance, 0.0) if len(seed_S) > 1 else 0.0
    return Layout(mean_K, Noise(math.sqrt(run_variance), math.sqrt(seed_variance), freedom))


def by_seed(values: Sequence[Mapping[int, float]]) -> Layout:
    """As `two_way`, of the values of each mixture by its seeds."""
    cells = [(mixture, seed, value) for mixture, runs in enumerate(values) for seed, value in sorted(runs.items())]
    seeds = sorted({seed for _, seed, _ in cells})
    return two_way(
        np.array([value for _, _, value in cells], dtype=np.float64),
        np.array([mixture for mixture, _, _ in cells], dtype=np.int64),
        np.array([seeds.index(seed) for _, seed, _ in cells], dtype=np.int64),
        len(values),
    )


def seed_shifts(
    mixtures: Iterable[object], seed_N: Int[np.ndarray, " N"], values_NM: Float[np.ndarray, "N M"]
) -> Float[np.ndarray, "N M"]:
    """What the seeds of repeated runs are taken to have added to these values, compared with the search's, [N, M].

    The mean over the other mixtures that have both seeds, pulled to nothing as if by one further that shows none: by
    its own runs, a mixture's luck would be taken for its seed's.
    """
    mixtures = list(mixtures)
    runs: dict[int, dict[object, Float[np.ndarray, " M"]]] = {}
    for mixture, seed, values_M in zip(mixtures, seed_N.tolist(), values_NM, strict=True):
        runs.setdefault(seed, {})[mixture] = values_M
    usual, shift_NM = runs.get(SEARCH_SEED, {}), np.zeros_like(values_NM)
    for place, (mixture, seed) in enumerate(zip(mixtures, seed_N.tolist(), strict=True)):
        others = [other for other in runs[seed] if other in usual and other != mixture]
        if seed != SEARCH_SEED and others:
            apart_KM = np.array([runs[seed][other] - usual[other] for other in others])
            shift_NM[place] = apart_KM.sum(axis=0) / (len(others) + 1)
    return shift_NM


def _repeated(
    entries: Iterable[Completed],
) -> tuple[list[Completed], Int[np.ndarray, " N"], Int[np.ndarray, " N"]] | None:
    """The runs of mixtures with several seeds, and the number of the mixture and seed of each."""
    by_mixture: dict[frozenset[tuple[str, float]], list[Completed]] = {}
    for entry in entries:
        by_mixture.setdefault(_key(entry), []).append(entry)
    kept = [entry for runs in by_mixture.values() if len(runs) > 1 for entry in runs]
    if not kept:
        return None

    def numbers(of: Callable[[Completed], object]) -> Int[np.ndarray, " N"]:
        keys = [of(entry) for entry in kept]
        places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        return np.array([places[key] for key in keys])

    return kept, numbers(_key), numbers(lambda entry: entry.trial.seed)


def _key(entry: Completed) -> frozenset[tuple[str, float]]:
    return frozenset(entry.trial.mixture.as_dict().items())
