"""The noise floor: what a seed does to every mixture alike, and what it does to one mixture alone.

The second decides what a study can resolve: two mixtures compared over S shared seeds differ, by chance alone, by its
standard deviation times sqrt(2 / S).

Shapes: N runs, M metrics, K mixtures and S seeds that were combined in R runs, Q quantities of a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from search.history import Completed
from search.mixture import Mixture
from search.objective import Objective
from search.seeds import SEARCH_SEED

# A paired difference over seeds is shown where it is larger than so many of its standard errors: 95%, two-sided, for
# two candidates at once, and a noise that is known from some ten degrees of freedom.
SHOWN = 2.6


def resolved(run_sd: float, seeds: int) -> float:
    """The difference between two mixtures that so many seeds of both show, more often than not."""
    return SHOWN * run_sd * math.sqrt(2 / seeds)


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
        return resolved(self.run_sd, seeds)

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

    Where the confirmation has documents of its own, its runs are compared among themselves, for on other documents the
    same run measures something else.

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
    runs: dict[tuple[bool, Hashable], dict[int, Float[np.ndarray, " M"]]] = {}
    for entry in entries:
        mixture = frozenset(entry.trial.mixture.as_dict().items())
        of_mixture = runs.setdefault((bool(entry.measurement.documents), mixture), {})
        of_mixture[entry.trial.seed] = objective.losses(entry.measurement)
    repeated = {key: losses for key, losses in runs.items() if len(losses) > 1}

    def value(seed: int, losses_M: Float[np.ndarray, " M"]) -> float:
        return float(objective.value(losses_M[None], against.get(seed))[0])

    def noise_of(read: Callable[[int, Float[np.ndarray, " M"]], float]) -> Noise | None:
        layouts = [
            by_seed(
                [
                    {seed: read(seed, each_M) for seed, each_M in losses.items()}
                    for (others, _), losses in repeated.items()
                    if others == documents
                ]
            )
            for documents in (False, True)
        ]
        return _pooled([layout.noise for layout in layouts if layout.noise is not None])

    whole = noise_of(value)
    if whole is None:
        return None
    metrics = {}
    for place, name in enumerate(objective.metrics):
        noise = noise_of(partial(_at, place))
        assert noise is not None, "the same runs tell the objective's"
        metrics[name] = noise
    return NoiseFloor(len({mixture for _, mixture in repeated}), whole, metrics)


def _at(place: int, seed: int, losses_M: Float[np.ndarray, " M"]) -> float:
    return float(losses_M[place])


def _pooled(found: Sequence[Noise]) -> Noise | None:
    """One noise of several that are independent: variances weighed by their degrees of freedom."""
    freedom = sum(noise.freedom for noise in found)
    if not found:
        return None
    run_sd, seed_sd = (
        math.sqrt(sum(noise.freedom * getattr(noise, name) ** 2 for noise in found) / freedom)
        for name in ("run_sd", "seed_sd")
    )
    return Noise(run_sd, seed_sd, freedom)


@dataclass(frozen=True, eq=False)
class Layout:
    """Runs of several mixtures with several seeds, taken apart.

    Attributes:
        mean_K: of each mixture, without what each seed did to all; NaN for one that has no run.
        noise: None where nothing is left over to estimate it from.
    """

    mean_K: Float[np.ndarray, " K"]
    noise: Noise | None


@dataclass(frozen=True, eq=False)
class TwoWay:
    """Runs of several mixtures with several seeds, by least squares: a layout without interaction, any cell empty.

    Attributes:
        mixture_R, seed_R: of each run, a number from 0 on.
        mixture_KQ, seed_SQ: what each mixture, and each seed, has of each quantity.
        residual_RQ: what neither explains.
        freedom: degrees of freedom of a quantity's residuals.
    """

    mixture_R: Int[np.ndarray, " R"]
    seed_R: Int[np.ndarray, " R"]
    mixture_KQ: Float[np.ndarray, "K Q"]
    seed_SQ: Float[np.ndarray, "S Q"]
    residual_RQ: Float[np.ndarray, "R Q"]
    freedom: int

    @classmethod
    def of(cls, values: Sequence[Mapping[int, Float[np.ndarray, " Q"]]]) -> TwoWay | None:
        """None without a run.

        Args:
            values: of each mixture, by seed.
        """
        cells = [(mixture, seed, each) for mixture, runs in enumerate(values) for seed, each in sorted(runs.items())]
        if not cells:
            return None
        seeds = sorted({seed for _, seed, _ in cells})
        mixture_R = np.array([mixture for mixture, _, _ in cells])
        seed_R = np.array([seeds.index(seed) for _, seed, _ in cells])
        values_RQ = np.array([each for *_, each in cells], dtype=np.float64)
        design_RP = np.hstack([np.eye(len(values))[mixture_R], np.eye(len(seeds))[seed_R]])
        effects_PQ, _, rank, _ = np.linalg.lstsq(design_RP, values_RQ)
        return cls(
            mixture_R,
            seed_R,
            effects_PQ[: len(values)],
            effects_PQ[len(values) :],
            values_RQ - design_RP @ effects_PQ,
            len(cells) - int(rank),
        )

    @property
    def variance_Q(self) -> Float[np.ndarray, " Q"]:
        """Of a run, by what is left over; there has to be something."""
        variance_Q: Float[np.ndarray, " Q"] = (self.residual_RQ**2).sum(axis=0) / self.freedom
        return variance_Q


def by_seed(values: Sequence[Mapping[int, float]]) -> Layout:
    """Taken apart as `TwoWay` has it: two seeds of one mixture say next to nothing of the noise, two of six enough.

    Args:
        values: of each mixture, by seed.
    """
    mean_K = np.full(len(values), np.nan)
    found = TwoWay.of([{seed: np.array([value]) for seed, value in runs.items()} for runs in values])
    if found is None:
        return Layout(mean_K, None)
    seed_S, known = found.seed_SQ[:, 0], np.unique(found.mixture_R)
    mean_K[known] = found.mixture_KQ[known, 0] + seed_S.mean()
    if found.freedom < 1:
        return Layout(mean_K, None)
    run_variance = float(found.variance_Q[0])
    of_chance = run_variance * float((1 / np.bincount(found.seed_R)).mean())
    seed_variance = max(float(seed_S.var(ddof=1)) - of_chance, 0.0) if len(seed_S) > 1 else 0.0
    return Layout(mean_K, Noise(math.sqrt(run_variance), math.sqrt(seed_variance), found.freedom))


def within_mixtures(
    values_NM: Float[np.ndarray, "N M"], mixture_N: Int[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, " M"], int]:
    """What runs of one mixture differ by, whatever their seeds: the sum of squares, [M], and its degrees of freedom.

    Args:
        mixture_N: a number for each run, equal for equal mixtures.
    """
    _, place_N, count_K = np.unique(mixture_N, return_inverse=True, return_counts=True)
    mean_KM = np.zeros((len(count_K), values_NM.shape[1]))
    np.add.at(mean_KM, place_N, values_NM / count_K[place_N, None])
    square_M: Float[np.ndarray, " M"] = ((values_NM - mean_KM[place_N]) ** 2).sum(axis=0)
    return square_M, int((count_K - 1).sum())


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
