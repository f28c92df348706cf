"""Made-up worlds whose best mixture is known: what a search found can be compared with what there was to find.

Each metric follows the law of effective data, c + A (v . w)^-g, with its own worth v of each domain, so that the mean
over metrics is convex in the mixture; its optimum is usually on a face of the simplex. The cheap fidelity has other
worths, so that its optimum is elsewhere. Noise grows with the loss.

Shapes: N mixtures, D domains, M metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from search.designs.baselines import baselines
from search.fidelity import Fidelity
from search.history import History
from search.objective import WeightedMean
from search.problem import Problem, Rung
from search.randomness import generator
from search.space import DomainLimits, Space
from search.strategies import STRATEGIES
from search.strategies.base import Settings
from search.trial import Loss, Measurement, Trial

METRICS = 4
POWER = 0.4
# What a domain is worth to a metric that it does not serve.
AT_LEAST = 0.05
# By how much the logarithms of the worths differ between fidelities.
SHIFT = 0.5
COST_RATIO = 50
# By what share a domain may gain more than the mean at what counts as the optimum.
OPTIMAL = 1e-7

TARGET = Fidelity("large", params=10**8, tokens=10**9, flops=float(COST_RATIO))
CHEAP = Fidelity("small", params=10**6, tokens=10**8, flops=1.0)


@dataclass(frozen=True)
class World:
    """
    Attributes:
        noise: standard deviation of a loss at the target, in units of the spread of losses over random mixtures.
    """

    domains: int
    seed: int
    noise: float

    @cached_property
    def worth_MD(self) -> Float[np.ndarray, "M D"]:
        """At the target: some domains serve a metric, most hardly do."""
        rng = generator(self.seed, "worth", self.domains)
        serves_MD = rng.random((METRICS, self.domains)) < max(0.15, 1.5 / self.domains)
        return AT_LEAST + np.where(
            serves_MD, rng.uniform(0.5, 2.0, serves_MD.shape), rng.exponential(0.1, serves_MD.shape)
        )

    @cached_property
    def cheap_worth_MD(self) -> Float[np.ndarray, "M D"]:
        rng = generator(self.seed, "cheap worth", self.domains)
        shifted_MD: Float[np.ndarray, "M D"] = self.worth_MD * np.exp(SHIFT * rng.standard_normal(self.worth_MD.shape))
        return shifted_MD

    def losses(self, weights_ND: Float[np.ndarray, "N D"], fidelity: Fidelity = TARGET) -> Float[np.ndarray, "N M"]:
        """Without noise, [N, M]."""
        worth_MD = self.worth_MD if fidelity == TARGET else self.cheap_worth_MD
        scale = 1.0 if fidelity == TARGET else 1.5
        losses_NM: Float[np.ndarray, "N M"] = 2.0 + scale * (weights_ND @ worth_MD.T) ** -POWER
        return losses_NM

    def value(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        """The true objective, the mean loss at the target, [N]."""
        value_N: Float[np.ndarray, " N"] = self.losses(weights_ND).mean(axis=1)
        return value_N

    @cached_property
    def optimum(self) -> float:
        """The lowest mean loss: a convex problem over the simplex, by multiplicative updates.

        There, and only there, every domain that is used gains as much by a larger share, and no other gains more.
        """
        weights_D = np.full(self.domains, 1 / self.domains)
        while True:
            gain_D = self.worth_MD.T @ (self.worth_MD @ weights_D) ** -(POWER + 1)
            ratio_D = gain_D / (weights_D @ gain_D)
            if ratio_D.max() < 1 + OPTIMAL:
                return float(self.value(weights_D[None])[0])
            weights_D = weights_D * np.sqrt(ratio_D)
            weights_D /= weights_D.sum()

    @cached_property
    def spread(self) -> float:
        """Standard deviation of a metric over random mixtures."""
        random_ND = generator(self.seed, "spread").dirichlet(np.ones(self.domains), size=500)
        return float(self.losses(random_ND).std(axis=0).mean())

    @cached_property
    def space(self) -> Space:
        tokens_D = generator(self.seed, "tokens").lognormal(23, 1.5, self.domains)
        return Space(tuple(DomainLimits(f"d{place}", int(tokens)) for place, tokens in enumerate(tokens_D)))

    def measure(self, trial: Trial) -> Measurement:
        true_M = self.losses(trial.mixture.array[None], trial.fidelity)[0]
        noise_M = self.noise * self.spread * (true_M - 2) / np.mean(true_M - 2)
        measured_M = true_M + noise_M * generator(self.seed, "noise", trial.id).standard_normal(METRICS)
        losses = {f"m{metric}": Loss(float(value), float(value)) for metric, value in enumerate(measured_M)}
        return Measurement(losses, (), {}, {}, trial.fidelity.flops, 1.0)

    def problem(self, target_trials: int, cheap_trials: int = 0) -> Problem:
        rungs: tuple[Rung, ...] = (Rung(TARGET, target_trials),)
        if cheap_trials:
            rungs = (Rung(CHEAP, cheap_trials), *rungs)
        return Problem(
            space=self.space,
            rungs=rungs,
            objective=WeightedMean({f"m{metric}": 1.0 for metric in range(METRICS)}),
            baselines={each.name: each.mixture for each in baselines(self.space, ("proportional", "uniform"))},
            seed=self.seed,
        )


def regret(world: World, problem: Problem, strategy: str, settings: Settings, batch: int = 8) -> tuple[float, float]:
    """How far the recommended mixture's true loss is above the optimum, and what the search cost in target runs."""
    history = History()
    searching = STRATEGIES[strategy](problem, settings)
    while trials := searching.ask(history, batch):
        for trial in trials:
            history = history.closed(trial, world.measure(trial))
    answer = STRATEGIES[strategy](problem, settings).recommend(history)
    found = float(world.value(answer.mixture.array[None])[0])
    return found - world.optimum, history.flops / TARGET.flops
