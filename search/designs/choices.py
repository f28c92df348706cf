"""The mixtures that can be chosen: any of a space, or, when finished runs are replayed, those that were run.

Strategies ask here, so that the same code proposes trials and is judged on a table of finished runs.

Shapes: N mixtures, D domains.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from search.designs.anchors import Anchors
from search.designs.around_baselines import around_baselines
from search.designs.grades import design_grades, sample_grades
from search.designs.samples import sample_mixtures
from search.designs.tempered_dirichlet import tempered_dirichlet
from search.fidelity import Fidelity
from search.frozen_space import FrozenSpace
from search.graded_space import GradedSpace
from search.mixture import ROUNDING, Mixture
from search.problem import Problem
from search.runs import among
from search.space import Space

# So many distinct feasible mixtures, the first of a longer design; fewer only where the space does not hold so many.
Design = Callable[[Space, Anchors, int, np.random.Generator], list[Mixture]]

AROUND_BASELINES, TEMPERED_DIRICHLET = "around_baselines", "tempered_dirichlet"
DESIGNS: Mapping[str, Design] = {
    AROUND_BASELINES: around_baselines,
    TEMPERED_DIRICHLET: lambda space, anchors, count, generator: tempered_dirichlet(space, count, generator),
}


class Choices(ABC):
    """Where mixtures come from."""

    @abstractmethod
    def design(self, name: str, anchors: Anchors, count: int, generator: np.random.Generator) -> list[Mixture]:
        """`count` distinct mixtures by the design of that name, fewer only where there are not so many."""

    @abstractmethod
    def sample(
        self, trained_ND: Float[np.ndarray, "N D"], count: int, generator: np.random.Generator
    ) -> Float[np.ndarray, "Q D"]:
        """About `count` mixtures among which the best is looked for; all that there are, where these are few."""

    @abstractmethod
    def near(
        self, best_ND: Float[np.ndarray, "N D"], count: int, generator: np.random.Generator
    ) -> Float[np.ndarray, "Q D"]:
        """At most `count` mixtures around and between these."""

    @abstractmethod
    def mixture(self, weights_D: Float[np.ndarray, " D"]) -> Mixture:
        """The mixture that can be chosen nearest to these weights."""


class SpaceChoices(Choices):
    def __init__(self, space: Space) -> None:
        self.space = space

    def design(self, name: str, anchors: Anchors, count: int, generator: np.random.Generator) -> list[Mixture]:
        return DESIGNS[name](self.space, anchors, count, generator)

    def sample(
        self, trained_ND: Float[np.ndarray, "N D"], count: int, generator: np.random.Generator
    ) -> Float[np.ndarray, "Q D"]:
        return sample_mixtures(self.space, trained_ND, count, generator)

    def near(
        self, best_ND: Float[np.ndarray, "N D"], count: int, generator: np.random.Generator
    ) -> Float[np.ndarray, "Q D"]:
        """From one of them towards another, or away from it, as far as the space goes."""
        one_ND, other_ND = (best_ND[generator.integers(len(best_ND), size=count)] for _ in range(2))
        step_N1 = generator.uniform(-1, 1, size=(count, 1))
        near_ND = np.clip(one_ND + step_N1 * (other_ND - one_ND), 0, None)
        near_ND /= near_ND.sum(axis=1, keepdims=True)
        feasible_QD: Float[np.ndarray, "Q D"] = near_ND[self.space.feasible(near_ND)]
        return feasible_QD

    def mixture(self, weights_D: Float[np.ndarray, " D"]) -> Mixture:
        # What an optimiser leaves of a domain is nothing.
        weights_D = np.where(weights_D < ROUNDING, 0, weights_D)
        if self.space.feasible(weights_D[None] / weights_D.sum())[0]:
            return Mixture.from_array(self.space.domains, weights_D)
        return self.space.project(weights_D)


class PoolChoices(Choices):
    def __init__(self, pool: Sequence[Mixture]) -> None:
        self.pool = tuple(pool)
        self.weights_ND = np.array([mixture.array for mixture in pool])

    def design(self, name: str, anchors: Anchors, count: int, generator: np.random.Generator) -> list[Mixture]:
        """Any of the pool: runs that were made by a design are one already."""
        return [self.pool[place] for place in generator.permutation(len(self.pool))[:count]]

    def sample(
        self, trained_ND: Float[np.ndarray, "N D"], count: int, generator: np.random.Generator
    ) -> Float[np.ndarray, "Q D"]:
        return self.weights_ND

    def near(
        self, best_ND: Float[np.ndarray, "N D"], count: int, generator: np.random.Generator
    ) -> Float[np.ndarray, "Q D"]:
        return self.weights_ND[:0]

    def mixture(self, weights_D: Float[np.ndarray, " D"]) -> Mixture:
        return self.pool[int(np.abs(self.weights_ND - weights_D).sum(axis=1).argmin())]


class FrozenChoices(Choices):
    """Mixtures in which some domains keep their relative weights."""

    def __init__(self, frozen: FrozenSpace) -> None:
        self.frozen = frozen
        self.smaller = SpaceChoices(frozen.smaller)

    def design(self, name: str, anchors: Anchors, count: int, generator: np.random.Generator) -> list[Mixture]:
        """Of the smaller space, in which what is kept is one domain, as much needed as any of its own."""
        space = self.frozen.smaller
        moved_KR = [space.project(weights_R).array for weights_R in self.frozen.reduce(anchors.weights_KD)]
        needed_R = self.frozen.reduce(anchors.needed_D[None].astype(float))[0] > 0
        smaller = Anchors(np.array(moved_KR), needed_R)
        return [self._expanded(mixture) for mixture in self.smaller.design(name, smaller, count, generator)]

    def sample(
        self, trained_ND: Float[np.ndarray, "N D"], count: int, generator: np.random.Generator
    ) -> Float[np.ndarray, "Q D"]:
        """Trained mixtures count with their relative weights replaced by those that are kept."""
        space = self.frozen.smaller
        trained_NR = self.frozen.reduce(trained_ND)
        # Perhaps no trained mixture stays feasible.
        centre_1R = space.project(space.natural.array).array[None]
        feasible_NR = np.vstack([centre_1R, trained_NR[space.feasible(trained_NR)]])
        return self.frozen.expand(self.smaller.sample(feasible_NR, count, generator))

    def near(
        self, best_ND: Float[np.ndarray, "N D"], count: int, generator: np.random.Generator
    ) -> Float[np.ndarray, "Q D"]:
        return self.frozen.expand(self.smaller.near(self.frozen.reduce(best_ND), count, generator))

    def mixture(self, weights_D: Float[np.ndarray, " D"]) -> Mixture:
        """That with the nearest sum of the kept domains and weights of the others."""
        return self._expanded(self.smaller.mixture(self.frozen.reduce(weights_D[None])[0]))

    def _expanded(self, mixture: Mixture) -> Mixture:
        return Mixture.from_array(self.frozen.space.domains, self.frozen.expand(mixture.array[None])[0])


class GradedChoices(Choices):
    """Mixtures that read a better grade of a pool at least as often as a worse one."""

    def __init__(self, graded: GradedSpace) -> None:
        self.graded = graded
        self.whole = SpaceChoices(graded.space)

    def design(self, name: str, anchors: Anchors, count: int, generator: np.random.Generator) -> list[Mixture]:
        return design_grades(self.graded, anchors, name == TEMPERED_DIRICHLET, count, generator)

    def sample(
        self, trained_ND: Float[np.ndarray, "N D"], count: int, generator: np.random.Generator
    ) -> Float[np.ndarray, "Q D"]:
        return sample_grades(self.graded, trained_ND, count, generator)

    def near(
        self, best_ND: Float[np.ndarray, "N D"], count: int, generator: np.random.Generator
    ) -> Float[np.ndarray, "Q D"]:
        near_ND = self.whole.near(best_ND, count, generator)
        in_order_QD: Float[np.ndarray, "Q D"] = near_ND[self.graded.in_order(near_ND)]
        return in_order_QD

    def mixture(self, weights_D: Float[np.ndarray, " D"]) -> Mixture:
        weights_D = np.where(weights_D < ROUNDING, 0, weights_D)
        if self.graded.feasible(weights_D[None] / weights_D.sum())[0]:
            return Mixture.from_array(self.graded.space.domains, weights_D)
        return self.graded.project(weights_D)


def choices(problem: Problem, fidelity: Fidelity | None = None) -> Choices:
    """What can be trained at a fidelity, by default the target: only a pool differs between them."""
    if problem.pool is not None:
        return PoolChoices(problem.pool[(fidelity or problem.target).proxy])
    if problem.frozen is not None:
        return FrozenChoices(problem.frozen)
    if problem.graded is not None:
        return GradedChoices(problem.graded)
    return SpaceChoices(problem.space)


def unseen(weights_ND: Float[np.ndarray, "N D"], seen_KD: Float[np.ndarray, "K D"]) -> Float[np.ndarray, "Q D"]:
    """Those rows of the first that are not among the second's."""
    unseen_QD: Float[np.ndarray, "Q D"] = weights_ND[~among(weights_ND, seen_KD)]
    return unseen_QD
