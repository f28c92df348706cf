"""The mixtures that may be an answer: allowed, and near enough to the evidence.

Shapes: N mixtures, D domains, K mixtures with the best predictions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from search.designs.choices import Choices, choices
from search.errors import SearchError
from search.evidence import Evidence
from search.mixture import Mixture
from search.problem import Problem
from search.randomness import generator
from search.trust_region import TrustRegion, divergence

CANDIDATES = 4_000
# The answer is the average of the best: it does not chase the surrogate's errors as the single best does.
AVERAGED = 32
# Then mixtures around the best, so that the answer is not bound to what happened to be drawn.
ROUNDS = 3
NEARBY = 1_000
# A mixture beyond max_kl is moved half the way to the natural one, so often at most.
HALVINGS = 12

# From mixtures [N, D] to what is predicted of their objective, [N].
Predicted = Callable[[Float[np.ndarray, "N D"]], Float[np.ndarray, " N"]]


@dataclass(frozen=True)
class TrustedMixtures:
    problem: Problem
    evidence: Evidence
    trust: TrustRegion

    @cached_property
    def best_observed(self) -> Mixture | None:
        """The allowed mixture with the lowest objective measured at the target."""
        return self.evidence.best_observed(self.allowed(self.evidence.runs.weights_ND))

    def allowed(self, weights_ND: Float[np.ndarray, "N D"]) -> Bool[np.ndarray, " N"]:
        """Which mixtures may be an answer at all, whatever is expected of them: feasible, and within max_kl; [N]."""
        natural_N = self.trust.natural_enough(weights_ND, self.problem.space)
        allowed_N: Bool[np.ndarray, " N"] = np.logical_and(self.problem.feasible(weights_ND), natural_N)
        return allowed_N

    def best(self, predicted: Predicted) -> Float[np.ndarray, "N D"]:
        """Some of those with the lowest predictions, first from everywhere, then around the best of those, [N, D]."""
        rng = generator(self.problem.seed, "candidates")
        found_ND = self.everywhere(rng)
        for _ in range(ROUNDS):
            best_KD = found_ND[np.argsort(predicted(found_ND), kind="stable")[:AVERAGED]]
            nearby_ND = self._choices.near(best_KD, NEARBY, rng)
            found_ND = np.vstack([best_KD, nearby_ND[self._inside(nearby_ND)]])
        return found_ND

    def most_promising(self, predicted: Predicted) -> Float[np.ndarray, "K D"]:
        """Those with the lowest predictions, best first, whose average is an answer."""
        found_ND = self.best(predicted)
        best_KD: Float[np.ndarray, "K D"] = found_ND[np.argsort(predicted(found_ND), kind="stable")[:AVERAGED]]
        average, worst = predicted(np.array([best_KD.mean(axis=0), best_KD[-1]]))
        # An average that is worse than all that it averages is not of their kind.
        return best_KD[:1] if self.problem.pool is not None or average > worst else best_KD

    def within(self, objective: float, predicted: Predicted) -> Float[np.ndarray, "N D"]:
        """Some of those that are expected to reach an objective, [N, D]."""
        rng = generator(self.problem.seed, "within")
        found_ND = self.everywhere(rng)
        reached_ND = found_ND[predicted(found_ND) <= objective]
        if len(reached_ND) < AVERAGED:
            return reached_ND
        # From one towards another, and beyond: to the edge of what reaches it.
        nearby_ND = self._choices.near(reached_ND, CANDIDATES, rng)
        found_ND = np.vstack([reached_ND, nearby_ND[self._inside(nearby_ND)]])
        return found_ND[predicted(found_ND) <= objective]

    def everywhere(self, rng: np.random.Generator) -> Float[np.ndarray, "N D"]:
        """Allowed mixtures from all over the space, [N, D]: those near the evidence, or all where none is.

        Raises:
            SearchError: none is allowed.
        """
        problem, trained_ND = self.problem, self.evidence.runs.weights_ND
        drawn_ND = self._choices.sample(trained_ND[problem.space.feasible(trained_ND)], CANDIDATES, rng)
        if self.trust.max_kl is not None and problem.pool is None:
            drawn_ND = self._towards_natural(drawn_ND)
        allowed_ND = drawn_ND[self.allowed(drawn_ND)]
        if not len(allowed_ND):
            assert self.trust.max_kl is not None, "what can be chosen is feasible"
            nearest = float(divergence(self._natural_1D, problem.space.natural.array)[0])
            raise SearchError(
                f"no mixture that can be chosen is within max_kl {self.trust.max_kl:g} of the natural one; the one "
                f"nearest to it has {nearest:.3g}",
                hint="raise max_kl, or widen the limits",
            )
        known_ND: Float[np.ndarray, "N D"] = allowed_ND[self.trust.known(allowed_ND, trained_ND)]
        return known_ND if len(known_ND) else allowed_ND

    def _inside(self, weights_ND: Float[np.ndarray, "N D"]) -> Bool[np.ndarray, " N"]:
        """Which mixtures are allowed and near the evidence, [N]."""
        near_N = self.trust.known(weights_ND, self.evidence.runs.weights_ND)
        inside_N: Bool[np.ndarray, " N"] = np.logical_and(self.allowed(weights_ND), near_N)
        return inside_N

    @cached_property
    def _choices(self) -> Choices:
        return choices(self.problem)

    @cached_property
    def _natural_1D(self) -> Float[np.ndarray, "1 D"]:
        """The mixture that can be chosen nearest to the natural one."""
        return self._choices.mixture(self.problem.space.natural.array).array[None]

    def _towards_natural(self, drawn_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "Q D"]:
        """The nearest to the natural mixture, then the drawn, those beyond max_kl moved towards it until within."""
        for _ in range(HALVINGS):
            within_N = self.trust.natural_enough(drawn_ND, self.problem.space)
            drawn_ND = np.where(within_N[:, None], drawn_ND, (drawn_ND + self._natural_1D) / 2)
        return np.vstack([self._natural_1D, drawn_ND])
