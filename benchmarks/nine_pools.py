"""A world like a real one: the laws that fit 97 proxies trained on nine pools of text (shared/data/nine_pools.csv).

Each metric's law, c + A (v . w)^-g, is fitted to all runs, those near the best counting more; in the basin it is off by
.01 nats of the mean of nine, which is what a seed does. Its optimum is .012 below uniform and .15 below proportional,
as far as the runs tell.

Shapes: N runs, D domains, M metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.optimize import least_squares

from benchmarks.worlds import Laws, World, seeded_noise
from mixopt.runs.table import read
from search.space import DomainLimits, Space
from search.trial import Trial

# Supplies, in tokens, as the proportional mixture of the runs has them.
TOKENS = {
    "arithmetic": 1_683_000,
    "chinese_poetry": 1_584_000,
    "german_law": 2_960_000,
    "go": 1_247_000,
    "handbook": 375_000,
    "literature": 1_447_000,
    "mathematics": 3_447_000,
    "music": 648_000,
    "rust": 608_000,
}
# Standard deviations in nats, as replicates show them: of the mean of nine .008 for a seed, .008 for mixture x seed.
SEED_SD, NOISE_SD = 0.024, 0.024
# A run counts as if it were off by so much, and by more the further it is from the best.
LEAST_SD, SD_PER_NAT = 0.01, 0.05
# What is believed of the logarithms: of the power, and of what other domains are worth to a set.
LOG_POWER, LOG_WORTH = (np.log(0.25), 1.0), (-5.0, 6.0)
LEAST_WORTH = 1e-7


@dataclass(frozen=True)
class Pools(World):
    """
    Attributes:
        judged: the sets that count; none named: all.
    """

    table: Path
    seed: int
    judged: tuple[str, ...] = ()

    baselines = ("proportional", "uniform", "unimax", "temperature")

    @cached_property
    def weights(self) -> Mapping[str, float]:
        return dict.fromkeys(self.judged or tuple(TOKENS), 1.0)

    @cached_property
    def laws(self) -> Laws:
        every = fitted(self.table)
        places = [tuple(TOKENS).index(name) for name in self.weights]
        return Laws(*(each[places] for each in (every.floor_M, every.height_M, every.power_M, every.worth_MD)))

    @cached_property
    def space(self) -> Space:
        return Space(tuple(DomainLimits(name, tokens) for name, tokens in TOKENS.items()))

    def noise(self, true_M: Float[np.ndarray, " M"], trial: Trial) -> Float[np.ndarray, " M"]:
        return seeded_noise(self.seed, trial, len(self.weights), SEED_SD, NOISE_SD)


@lru_cache
def fitted(table: Path) -> Laws:
    """The laws of all nine metrics."""
    runs, _ = read(table)
    order_D, order_M = [[names.index(name) for name in TOKENS] for names in (runs.domains, runs.metrics)]
    weights_ND, values_NM = runs.weights_ND[:, order_D], runs.values_NM[:, order_M]
    mean_N = values_NM.mean(axis=1)
    sd_N = LEAST_SD + SD_PER_NAT * (mean_N - mean_N.min())
    laws = [fit_law(weights_ND, values_N, sd_N, own) for own, values_N in enumerate(values_NM.T)]
    floor_M, height_M, power_M, worth_MD = (np.array(each) for each in zip(*laws, strict=True))
    return Laws(floor_M, height_M, power_M, worth_MD)


def fit_law(
    weights_ND: Float[np.ndarray, "N D"], values_N: Float[np.ndarray, " N"], sd_N: Float[np.ndarray, " N"], own: int
) -> tuple[float, float, float, Float[np.ndarray, " D"]]:
    """Floor, height, power, and worths [D], that of its own domain 1."""
    other_D = np.arange(weights_ND.shape[1]) != own

    def law(theta: Float[np.ndarray, " P"]) -> tuple[float, float, float, Float[np.ndarray, " D"]]:
        worth_D = np.ones(len(other_D))
        worth_D[other_D] = LEAST_WORTH + np.exp(theta[3:])
        return float(theta[0]), float(np.exp(theta[1])), float(np.exp(theta[2])), worth_D

    def misfit(theta: Float[np.ndarray, " P"]) -> Float[np.ndarray, " Q"]:
        floor, height, power, worth_D = law(theta)
        error_N = (floor + height * (weights_ND @ worth_D) ** -power - values_N) / sd_N
        priors = (theta[2] - LOG_POWER[0]) / LOG_POWER[1], *((theta[3:] - LOG_WORTH[0]) / LOG_WORTH[1])
        return np.append(error_N, priors)

    least = float(values_N.min())
    starts = [
        np.array([0.7 * least, np.log(0.3 * least), np.log(power), *np.full(other_D.sum(), worth)])
        for power in (0.1, 0.3)
        for worth in (-3.0, -6.0)
    ]
    found = [least_squares(misfit, start, loss="soft_l1", max_nfev=2000) for start in starts]
    return law(min(found, key=lambda each: float(each.cost)).x)
