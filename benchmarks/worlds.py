"""Made-up worlds whose best mixture is known: what a search found can be compared with what there was to find.

Each metric follows the law of effective data, c + A (v . w)^-g, with its own worth v of each domain, so that any
weighted mean over metrics is convex in the mixture, and its optimum is known.

Sparse      a few metrics, each served by some domains: the optimum is usually on a face of the simplex. The cheap
            fidelity has other worths, so that its optimum is elsewhere.
OwnSets     an evaluation set for each domain, and worths of other domains that may be next to nothing: where a pool is
            absent, its loss jumps. Every run has the effect of its seed, and noise.
Scarce      Sparse with so little text that domains repeat, and what is repeated too often is lost on the model.
benchmarks.nine_pools is another, with the laws that 97 real runs on nine pools of text were fitted with.

Shapes: N mixtures, D domains, M metrics.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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

# By what share a domain may gain more than the mean at what counts as the optimum.
OPTIMAL = 1e-7
# The optimum is looked for in so many steps at most; a hundred are enough, as a rule.
STEPS = 100_000
COST_RATIO = 50

TARGET = Fidelity("large", params=10**8, tokens=10**9, flops=float(COST_RATIO))
CHEAP = Fidelity("small", params=10**6, tokens=10**8, flops=1.0)


@dataclass(frozen=True, eq=False)
class Laws:
    """The losses of M metrics, c + A (v . w)^-g."""

    floor_M: Float[np.ndarray, " M"]
    height_M: Float[np.ndarray, " M"]
    power_M: Float[np.ndarray, " M"]
    worth_MD: Float[np.ndarray, "M D"]

    def losses(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N M"]:
        losses_NM: Float[np.ndarray, "N M"] = (
            self.floor_M + self.height_M * (weights_ND @ self.worth_MD.T) ** -self.power_M
        )
        return losses_NM

    def best(self, share_M: Float[np.ndarray, " M"]) -> Float[np.ndarray, " D"]:
        """The mixture with the lowest mean of the metrics with these shares, [D]."""
        slope_M = share_M * self.height_M * self.power_M

        def gain_D(weights_D: Float[np.ndarray, " D"]) -> Float[np.ndarray, " D"]:
            return np.asarray((slope_M * (self.worth_MD @ weights_D) ** -(self.power_M + 1)) @ self.worth_MD)

        return best_mixture(gain_D, self.worth_MD.shape[1])


def best_mixture(
    gain_D: Callable[[Float[np.ndarray, " D"]], Float[np.ndarray, " D"]], domains: int
) -> Float[np.ndarray, " D"]:
    """Where a convex loss is lowest on the simplex, [D], by multiplicative updates.

    There, and only there, every domain that is used gains as much by a larger share, and no other gains more.

    Args:
        gain_D: how much the loss falls with each share, above 0.
    """
    weights_D: Float[np.ndarray, " D"] = np.full(domains, 1 / domains)
    for _ in range(STEPS):
        found_D = gain_D(weights_D)
        ratio_D = found_D / (weights_D @ found_D)
        if ratio_D.max() < 1 + OPTIMAL:
            break
        weights_D = weights_D * np.sqrt(ratio_D)
        weights_D /= weights_D.sum()
    return weights_D


class World(ABC):
    """
    Attributes:
        seed: of everything random in it.
        weights: of the metrics in the objective, a weighted mean.
        baselines: that a search is given.
    """

    seed: int
    baselines: tuple[str, ...] = ("proportional", "uniform")

    @property
    @abstractmethod
    def laws(self) -> Laws: ...

    @property
    def cheap_laws(self) -> Laws:
        return self.laws

    @property
    @abstractmethod
    def space(self) -> Space: ...

    @property
    @abstractmethod
    def weights(self) -> Mapping[str, float]: ...

    @abstractmethod
    def noise(self, true_M: Float[np.ndarray, " M"], trial: Trial) -> Float[np.ndarray, " M"]:
        """What a run measures beyond the truth, [M]."""

    @cached_property
    def objective(self) -> WeightedMean:
        return WeightedMean(self.weights)

    def losses(self, weights_ND: Float[np.ndarray, "N D"], fidelity: Fidelity = TARGET) -> Float[np.ndarray, "N M"]:
        """Without noise, [N, M]."""
        return (self.laws if fidelity == TARGET else self.cheap_laws).losses(weights_ND)

    def value(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        """The true objective at the target, [N]."""
        value_N: Float[np.ndarray, " N"] = self.losses(weights_ND) @ self._share_M
        return value_N

    @cached_property
    def optimum(self) -> float:
        """The lowest objective."""
        return float(self.value(self.laws.best(self._share_M)[None])[0])

    def measure(self, trial: Trial) -> Measurement:
        true_M = self.losses(trial.mixture.array[None], trial.fidelity)[0]
        measured_M = true_M + self.noise(true_M, trial)
        losses = {name: Loss(float(value), float(value)) for name, value in zip(self.weights, measured_M, strict=True)}
        return Measurement(losses, (), {}, {}, trial.fidelity.flops, 1.0)

    def problem(self, target_trials: int, cheap_trials: int = 0) -> Problem:
        rungs: tuple[Rung, ...] = (Rung(TARGET, target_trials),)
        if cheap_trials:
            rungs = (Rung(CHEAP, cheap_trials), *rungs)
        return Problem(
            space=self.space,
            rungs=rungs,
            objective=self.objective,
            baselines={each.name: each.mixture for each in baselines(self.space, self.baselines)},
            seed=self.seed,
        )

    @property
    def _share_M(self) -> Float[np.ndarray, " M"]:
        weights_M = np.array(list(self.weights.values()))
        share_M: Float[np.ndarray, " M"] = weights_M / weights_M.sum()
        return share_M


@dataclass(frozen=True)
class Sparse(World):
    """
    Attributes:
        noise_share: standard deviation of a loss at the target, in units of the spread of losses over random mixtures;
            it grows with the loss.
    """

    domains: int
    seed: int
    noise_share: float
    metrics: int = 4
    # What a domain is worth to a metric that it does not serve.
    at_least: float = 0.05
    # By how much the logarithms of the worths differ between fidelities.
    shift: float = 0.5

    @cached_property
    def weights(self) -> Mapping[str, float]:
        return {f"m{metric}": 1.0 for metric in range(self.metrics)}

    @cached_property
    def laws(self) -> Laws:
        """At the target: some domains serve a metric, most hardly do."""
        rng = generator(self.seed, "worth", self.domains)
        serves_MD = rng.random((self.metrics, self.domains)) < max(0.15, 1.5 / self.domains)
        worth_MD = self.at_least + np.where(
            serves_MD, rng.uniform(0.5, 2.0, serves_MD.shape), rng.exponential(0.1, serves_MD.shape)
        )
        return self._of(worth_MD, 1.0)

    @cached_property
    def cheap_laws(self) -> Laws:
        rng = generator(self.seed, "cheap worth", self.domains)
        worth_MD = self.laws.worth_MD
        return self._of(worth_MD * np.exp(self.shift * rng.standard_normal(worth_MD.shape)), 1.5)

    def _of(self, worth_MD: Float[np.ndarray, "M D"], height: float) -> Laws:
        floor_M, height_M, power_M = (np.full(self.metrics, value) for value in (2.0, height, 0.4))
        return Laws(floor_M, height_M, power_M, worth_MD)

    @cached_property
    def spread(self) -> float:
        """Standard deviation of a metric over random mixtures."""
        random_ND = generator(self.seed, "spread").dirichlet(np.ones(self.domains), size=500)
        return float(self.losses(random_ND).std(axis=0).mean())

    @cached_property
    def space(self) -> Space:
        return unequal(self.seed, tuple(f"d{place}" for place in range(self.domains)), 1.5)

    def noise(self, true_M: Float[np.ndarray, " M"], trial: Trial) -> Float[np.ndarray, " M"]:
        above_M = true_M - self.laws.floor_M
        drawn_M = generator(self.seed, "noise", trial.id).standard_normal(self.metrics)
        noise_M: Float[np.ndarray, " M"] = self.noise_share * self.spread * above_M / np.mean(above_M) * drawn_M
        return noise_M


@dataclass(frozen=True)
class OwnSets(World):
    """
    Attributes:
        judged: how many of the domains' sets count: all ask for the middle of the simplex, one for a corner.
        worth_of_others: the median worth of another domain's text; 1e-3 makes losses jump where a pool is absent.
        seed_sd, noise_sd: standard deviations, in nats, of what a seed does to a metric of all mixtures, and of what
            it does to it of one.
    """

    domains: int
    seed: int
    judged: int
    worth_of_others: float = 0.01
    seed_sd: float = 0.01
    noise_sd: float = 0.01

    baselines = ("proportional", "uniform", "unimax", "temperature")

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(f"d{place}" for place in range(self.domains))

    @cached_property
    def weights(self) -> Mapping[str, float]:
        judged = generator(self.seed, "judged", self.domains).permutation(self.domains)[: self.judged]
        return {self.names[place]: 1.0 for place in sorted(judged)}

    @cached_property
    def laws(self) -> Laws:
        rng, count = generator(self.seed, "own sets", self.domains), self.domains
        worth_MD = self.worth_of_others * np.exp(1.5 * rng.standard_normal((count, count)))
        np.fill_diagonal(worth_MD, 1.0)
        every = Laws(
            rng.uniform(1, 3, count),
            rng.lognormal(0, 0.3, count),
            rng.uniform(0.15, 0.45, count),
            np.minimum(worth_MD, 1),
        )
        places = [self.names.index(name) for name in self.weights]
        return Laws(*(each[places] for each in (every.floor_M, every.height_M, every.power_M, every.worth_MD)))

    @cached_property
    def space(self) -> Space:
        return unequal(self.seed, self.names, 0.7)

    def noise(self, true_M: Float[np.ndarray, " M"], trial: Trial) -> Float[np.ndarray, " M"]:
        return seeded_noise(self.seed, trial, len(self.weights), self.seed_sd, self.noise_sd)


@dataclass(frozen=True)
class Scarce(World):
    """Text that repeats is worth less: a share w of which E epochs are made counts as w / (1 + (E / peak)^2).

    More than `peak` epochs of a domain are a loss, whatever it is worth. This is no form that any surrogate has.

    Attributes:
        noise_share: as of Sparse.
        peak: in epochs; infinite where repeated text is as good as fresh.
        matched: a cheap run draws from so little that it repeats what a run at the target does; else from all there is.
        supply: tokens of all domains, in those of a run at the target.
    """

    domains: int
    seed: int
    noise_share: float
    peak: float
    matched: bool = True
    supply: float = 2.0

    @cached_property
    def fresh(self) -> Sparse:
        """The same without repetition, all fidelities alike."""
        return Sparse(self.domains, self.seed, self.noise_share)

    @property
    def weights(self) -> Mapping[str, float]:
        return self.fresh.weights

    @property
    def laws(self) -> Laws:
        return self.fresh.laws

    @cached_property
    def space(self) -> Space:
        tokens_D = np.array([limits.tokens for limits in self.fresh.space.limits], dtype=np.float64)
        tokens_D *= self.supply * TARGET.tokens / tokens_D.sum()
        names = self.fresh.space.domains
        return Space(tuple(DomainLimits(name, int(tokens)) for name, tokens in zip(names, tokens_D, strict=True)))

    def drawn_from(self, fidelity: Fidelity) -> tuple[float, ...]:
        """Tokens of each domain that runs at this fidelity have."""
        part = fidelity.tokens / TARGET.tokens if self.matched else 1.0
        return tuple(part * limits.tokens for limits in self.space.limits)

    def losses(self, weights_ND: Float[np.ndarray, "N D"], fidelity: Fidelity = TARGET) -> Float[np.ndarray, "N M"]:
        epochs_ND = weights_ND * fidelity.tokens / np.array(self.drawn_from(fidelity))
        losses_NM = self.laws.losses(weights_ND / (1 + (epochs_ND / self.peak) ** 2))
        # As the cheap fidelity of Sparse, but what a domain is worth stays.
        return losses_NM if fidelity == TARGET else 0.5 + 1.5 * (losses_NM - self.laws.floor_M) + self.laws.floor_M

    @cached_property
    def optimum(self) -> float:
        """Below the peaks, where it lies, the objective is convex."""
        from scipy.optimize import Bounds, LinearConstraint, minimize

        most_D = np.minimum(self.peak * np.array(self.drawn_from(TARGET)) / TARGET.tokens, 1)

        def value(weights_D: Float[np.ndarray, " D"]) -> float:
            return float(self.value(weights_D[None])[0])

        found = minimize(
            value,
            np.asarray(most_D / most_D.sum()),
            bounds=Bounds(0, most_D),
            constraints=LinearConstraint(np.ones((1, self.domains)), 1, 1),
            method="SLSQP",
            tol=1e-10,
            options={"maxiter": 1000},
        )
        return float(found.fun)

    def noise(self, true_M: Float[np.ndarray, " M"], trial: Trial) -> Float[np.ndarray, " M"]:
        noise_M: Float[np.ndarray, " M"] = generator(self.seed, "noise", trial.id).standard_normal(len(true_M))
        return self.noise_share * self.spread * noise_M

    @property
    def spread(self) -> float:
        return self.fresh.spread

    def problem(self, target_trials: int, cheap_trials: int = 0) -> Problem:
        problem = super().problem(target_trials, cheap_trials)
        return replace(
            problem, rungs=tuple(replace(rung, supply=self.drawn_from(rung.fidelity)) for rung in problem.rungs)
        )


def seeded_noise(world: int, trial: Trial, metrics: int, seed_sd: float, noise_sd: float) -> Float[np.ndarray, " M"]:
    """What a run's seed does to the metrics of every mixture, and what it does to those of its own alone, [M]."""
    of_seed_M = generator(world, "seed", trial.seed).standard_normal(metrics)
    noise_M: Float[np.ndarray, " M"] = seed_sd * of_seed_M + noise_sd * generator(
        world, "noise", trial.id
    ).standard_normal(metrics)
    return noise_M


def unequal(seed: int, domains: tuple[str, ...], spread: float) -> Space:
    """Any mixture of domains whose supplies are log-normal."""
    tokens_D = generator(seed, "tokens").lognormal(23, spread, len(domains))
    return Space(tuple(DomainLimits(name, int(tokens)) for name, tokens in zip(domains, tokens_D, strict=True)))


@dataclass(frozen=True)
class Searched:
    """What became of one search in a world.

    Attributes:
        regret: how far the true objective of its answer is above the optimum.
        cost: what it spent, in target runs.
        answer: the true objective of its answer.
        history: of all that it trained.
    """

    regret: float
    cost: float
    answer: float
    history: History


def search(world: World, problem: Problem, strategy: str, settings: Settings, batch: int = 8) -> Searched:
    """Let a strategy look for the best mixture of a world, so many trials at a time."""
    history = History()
    searching = STRATEGIES[strategy](problem, settings)
    while trials := searching.ask(history, batch):
        for trial in trials:
            history = history.closed(trial, world.measure(trial))
    answer = STRATEGIES[strategy](problem, settings).recommend(history)
    found = float(world.value(answer.mixture.array[None])[0])
    return Searched(found - world.optimum, history.flops / TARGET.flops, found, history)


def regret(world: World, problem: Problem, strategy: str, settings: Settings, batch: int = 8) -> tuple[float, float]:
    """How far the recommended mixture's true loss is above the optimum, and what the search cost in target runs."""
    found = search(world, problem, strategy, settings, batch)
    return found.regret, found.cost
