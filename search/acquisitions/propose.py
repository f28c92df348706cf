"""Mixtures that are worth training at the target, given what is known and what is running.

Shapes: N runs or candidates, D domains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from search.acquisitions.base import Acquisition
from search.acquisitions.fitting import MetricFit
from search.acquisitions.maximise import climb, rank
from search.acquisitions.outlook import Outlook
from search.acquisitions.posterior_mean import PosteriorMean
from search.designs.choices import PoolChoices, choices, unseen
from search.evidence import Evidence
from search.fidelity import Fidelity
from search.mixture import NEAR, Mixture
from search.problem import Problem
from search.randomness import generator
from search.trial import Trial
from search.trust_region import distance

CANDIDATES = 1_500
# Candidates are the best trained mixtures, so many, others, and points between.
ANCHORS = 100


@dataclass(frozen=True, eq=False)
class Proposals:
    """
    Attributes:
        sampled_ND: mixtures among which the best is looked for.
        proxies: of the runs' fidelities.
    """

    problem: Problem
    acquisition: Acquisition
    outlook: Outlook
    sampled_ND: Float[np.ndarray, "N D"]
    proxies: tuple[str, ...]

    @classmethod
    def of(cls, problem: Problem, acquisition: Acquisition, evidence: Evidence, fits: Sequence[MetricFit]) -> Proposals:
        rng = generator(problem.seed, "proposals", len(evidence.runs))
        outlook = Outlook.of(fits, evidence, problem, int(rng.integers(2**31)))
        known_ND = np.vstack([evidence.runs.weights_ND, problem.space.project(problem.space.natural.array).array])
        known_ND = np.unique(known_ND[problem.space.feasible(known_ND)], axis=0)
        anchors_ND = rank(PosteriorMean().function(outlook, known_ND), known_ND)[:ANCHORS]
        proxies = tuple(fidelity.proxy for fidelity in evidence.runs.fidelities)
        return cls(problem, acquisition, outlook, choices(problem).sample(anchors_ND, CANDIDATES, rng), proxies)

    def believing(self, running: Sequence[Trial]) -> Proposals:
        """Those where these trials count as done, with what is expected of them."""
        if not running:
            return self
        weights_PD = self._weights([trial.mixture for trial in running])
        fidelity_P = np.array([self.proxies.index(trial.fidelity.proxy) for trial in running])
        return replace(self, outlook=self.outlook.believing(weights_PD, fidelity_P))

    def best(self, fidelity: Fidelity, taken: Sequence[Mixture]) -> Mixture | None:
        """The mixture most worth training, none of those that are taken there; None where all are.

        Where there is a choice, it differs from these in at least NEAR of its tokens.
        """
        at_hand = choices(self.problem, fidelity)
        sampled_ND = self.sampled_ND
        if isinstance(at_hand, PoolChoices):
            sampled_ND = at_hand.weights_ND
        function = self.acquisition.function(self.outlook, sampled_ND)
        ranked_ND = rank(function, sampled_ND)
        if self.problem.pool is None:
            found_D = at_hand.mixture(climb(function, self.problem, ranked_ND[0])).array
            ranked_ND = np.vstack([rank(function, np.vstack([found_D, ranked_ND[:1]])), ranked_ND[1:]])
        if taken:
            taken_ND = self._weights(taken)
            ranked_ND = unseen(ranked_ND, taken_ND)
            if self.problem.pool is None and len(ranked_ND):
                apart_N = distance(ranked_ND, taken_ND) >= NEAR
                ranked_ND = ranked_ND[apart_N] if apart_N.any() else ranked_ND
        return at_hand.mixture(ranked_ND[0]) if len(ranked_ND) else None

    def _weights(self, mixtures: Sequence[Mixture]) -> Float[np.ndarray, "K D"]:
        return np.array([mixture.reordered(self.problem.space.domains).array for mixture in mixtures])
