"""A made-up world of pools that are split into levels of quality.

Each pool has a set of good text of its own that counts alike, c + A (v . u)^-g, where u are shares of levels, less what
repeating them too often costs (benchmarks.worlds, Scarce). What a level is worth falls with its rank, in a way that the
search does not know and that differs from pool to pool:

graded      gently or steeply, exp(-s rank)
spoilt      not at all as far as some rank, and to a tenth beyond it
mixed       of four pools one is graded, one spoilt, one scored by what says nothing, one by what misleads

Shapes: D levels of all pools, L levels of one, M metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float

from benchmarks.worlds import TARGET, Laws, Scarce
from search.designs.baselines import baselines
from search.fidelity import Fidelity
from search.graded_space import GradedSpace
from search.problem import Problem
from search.randomness import generator
from search.space import DomainLimits, Space
from search.trial import Trial

LEVELS = 5
# What a search chooses: shares of levels, any or as sampling functions give them; or shares of whole pools.
Searched = Literal["cells", "function", "pools"]
Kind = Literal["graded", "spoilt", "silent", "misleading"]
KINDS: Mapping[str, tuple[Kind, ...]] = {
    "graded": ("graded",),
    "spoilt": ("spoilt",),
    "mixed": ("graded", "spoilt", "silent", "misleading"),
}


@dataclass(frozen=True)
class Levelled(Scarce):
    """
    Attributes:
        domains: levels of all pools, a multiple of LEVELS.
        world: a key of KINDS.
        noise_share: standard deviation of a loss, in units of the spread of losses over random mixtures.
        peak: epochs at which a level gives most.
    """

    world: str = "graded"

    @property
    def pools(self) -> int:
        return self.domains // LEVELS

    @cached_property
    def levels(self) -> Mapping[str, tuple[str, ...]]:
        return {f"p{pool}": tuple(f"p{pool}.q{level + 1}" for level in range(LEVELS)) for pool in range(self.pools)}

    @cached_property
    def weights(self) -> Mapping[str, float]:
        return {f"good {pool}": 1.0 for pool in self.levels}

    @cached_property
    def laws(self) -> Laws:
        rng = generator(self.seed, "levels", self.domains, self.world)
        kinds = KINDS[self.world]
        quality_D = np.concatenate([self._quality(kinds[pool % len(kinds)], rng) for pool in range(self.pools)])
        # Another pool's text is worth a tenth, give or take.
        worth_MP = 0.1 * np.exp(rng.standard_normal((self.pools, self.pools)))
        np.fill_diagonal(worth_MP, 1.0)
        worth_MD = np.repeat(np.minimum(worth_MP, 1), LEVELS, axis=1) * quality_D
        return Laws(
            rng.uniform(1, 3, self.pools),
            rng.lognormal(0, 0.3, self.pools),
            rng.uniform(0.15, 0.45, self.pools),
            worth_MD,
        )

    def _quality(self, kind: Kind, rng: np.random.Generator) -> Float[np.ndarray, " L"]:
        rank_L = (np.arange(LEVELS) + 0.5) / LEVELS
        steepness, threshold, any_L = rng.uniform(0.5, 4), rng.uniform(0.4, 0.9), rng.uniform(0.1, 1, LEVELS)
        graded_L = np.exp(-steepness * rank_L)
        if kind == "spoilt":
            return np.where(rank_L < threshold, 1.0, 0.1)
        return {"graded": graded_L, "silent": any_L, "misleading": graded_L[::-1]}[kind]

    @cached_property
    def space(self) -> Space:
        tokens_P = generator(self.seed, "tokens").lognormal(0, 0.7, self.pools)
        tokens_P *= self.supply * TARGET.tokens / tokens_P.sum()
        return Space(
            tuple(
                DomainLimits(level, int(tokens / LEVELS))
                for tokens, levels in zip(tokens_P, self.levels.values(), strict=True)
                for level in levels
            )
        )

    @cached_property
    def spread(self) -> float:
        random_ND = generator(self.seed, "spread").dirichlet(np.ones(self.domains), size=500)
        return float(self.losses(random_ND).std(axis=0).mean())

    def noise(self, true_M: Float[np.ndarray, " M"], trial: Trial) -> Float[np.ndarray, " M"]:
        noise_M: Float[np.ndarray, " M"] = generator(self.seed, "noise", trial.id).standard_normal(len(true_M))
        return self.noise_share * self.spread * noise_M

    def losses(self, weights_ND: Float[np.ndarray, "N D"], fidelity: Fidelity = TARGET) -> Float[np.ndarray, "N M"]:
        """Of mixtures of the levels; or of the pools, whose levels then have their natural shares."""
        if weights_ND.shape[1] == self.pools:
            weights_ND = np.repeat(weights_ND / LEVELS, LEVELS, axis=1)
        return super().losses(weights_ND, fidelity)

    def question(self, runs: int, searched: Searched) -> Problem:
        """The problem of a search that may train so many mixtures in all, its two baselines among them."""
        problem = self.problem(runs - len(self.baselines))
        if searched == "pools":
            space = GradedSpace(self.space, self.levels).smaller
            named = {each.name: each.mixture for each in baselines(space, self.baselines)}
            rungs = tuple(replace(rung, supply=None) for rung in problem.rungs)
            return replace(problem, space=space, baselines=named, rungs=rungs)
        return replace(problem, grades=self.levels if searched == "function" else {})

    @property
    def proportional(self) -> float:
        """The objective of taking every level as it comes."""
        return float(self.value(self.space.natural.array[None])[0])
