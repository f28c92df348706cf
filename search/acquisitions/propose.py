"""Mixtures that are worth training at the target, given what is known and what is running.

Shapes: N runs or candidates, K trained mixtures, D domains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float

from search.acquisitions.base import Acquisition
from search.acquisitions.fitting import MetricFit
from search.acquisitions.foresight import foresee
from search.acquisitions.maximise import climb, rank
from search.acquisitions.outlook import Outlook
from search.acquisitions.posterior_mean import PosteriorMean
from search.acquisitions.prospect import Prospect, prospect
from search.designs.choices import PoolChoices, choices, unseen
from search.designs.factorial import around, signs
from search.evidence import Evidence
from search.fidelity import Fidelity
from search.mixture import NEAR, Mixture
from search.problem import Problem
from search.randomness import generator
from search.trial import Trial
from search.trust_region import TrustRegion, distance

CANDIDATES = 1_500
# Candidates are the best trained mixtures, so many, others, and points between.
BEST_TRAINED = 100
# A control is one of the best in so many of the candidates.
CONTROLS_AMONG = 5
# Steps of a refinement, in logarithms of shares, and by how many standard deviations of a run they should be seen.
STEPS = (0.1, 0.15, 0.2, 0.3, 0.45)
SEEN = 2.0


@dataclass(frozen=True, eq=False)
class Proposals:
    """
    Attributes:
        sampled_ND: mixtures among which the best is looked for.
        proxies: of the runs' fidelities.
        trust: where the answer may lie; trials may go further, but not where nothing near was ever trained.
        trained_KD: every mixture that was trained.
    """

    problem: Problem
    acquisition: Acquisition
    outlook: Outlook
    sampled_ND: Float[np.ndarray, "N D"]
    proxies: tuple[str, ...]
    trust: TrustRegion
    trained_KD: Float[np.ndarray, "K D"]

    @classmethod
    def of(
        cls,
        problem: Problem,
        acquisition: Acquisition,
        evidence: Evidence,
        fits: Sequence[MetricFit],
        trust: TrustRegion,
    ) -> Proposals:
        rng = generator(problem.seed, "proposals", len(evidence.runs))
        outlook = Outlook.of(fits, evidence, problem, int(rng.integers(2**31)))
        known_ND = np.vstack([evidence.runs.weights_ND, problem.space.project(problem.space.natural.array).array])
        known_ND = np.unique(known_ND[problem.space.feasible(known_ND)], axis=0)
        best_ND = rank(PosteriorMean().function(outlook, known_ND), known_ND)[:BEST_TRAINED]
        proxies = tuple(fidelity.proxy for fidelity in evidence.runs.fidelities)
        sampled_ND = choices(problem).sample(best_ND, CANDIDATES, rng)
        least_D, most_D = trust.worth_a_look(problem.space, evidence.runs.weights_ND)
        near_N = ((sampled_ND >= least_D) & (sampled_ND <= most_D)).all(axis=1)
        near_N &= trust.natural_enough(sampled_ND, problem.space)
        sampled_ND = sampled_ND[near_N] if near_N.any() else sampled_ND
        return cls(problem, acquisition, outlook, sampled_ND, proxies, trust, evidence.runs.weights_ND)

    def believing(self, running: Sequence[Trial]) -> Proposals:
        """Those where these trials count as done, with what is expected of them."""
        if not running:
            return self
        weights_PD = self._weights([trial.mixture for trial in running])
        fidelity_P = np.array([self.proxies.index(trial.fidelity.proxy) for trial in running])
        return replace(self, outlook=self.outlook.believing(weights_PD, fidelity_P))

    @cached_property
    def prospect(self) -> Prospect:
        """What the search may still find at the target, inside the trust region."""
        problem = self.problem
        sampled_ND = self.sampled_ND[self._known(self.sampled_ND)]
        if not len(sampled_ND):
            sampled_ND = self.sampled_ND
        baselines = {name: mixture.array for name, mixture in problem.baselines.items()}
        return prospect(self.outlook, choices(problem), sampled_ND, baselines)

    def foresees(self, mixture: Mixture) -> tuple[float, float]:
        """Mean and standard deviation of the objective of a new run of the mixture at the target."""
        return foresee(self.outlook, self._weights([mixture])[0])

    def control(self, taken: Sequence[Mixture]) -> Mixture | None:
        """The mixture that differs most from those that are taken, of those of which as much is expected as of most.

        No model chose it, but that none is wasted where all that is known speaks against it.
        """
        ranked_ND = rank(PosteriorMean().function(self.outlook, self.sampled_ND), self.sampled_ND)
        near_ND = ranked_ND[: max(len(ranked_ND) // CONTROLS_AMONG, 1)]
        near_ND = near_ND[self._known(near_ND)]
        if not taken or not len(near_ND):
            return None
        apart_N = distance(near_ND, self._weights(taken))
        return choices(self.problem).mixture(near_ND[int(apart_N.argmax())]) if apart_N.max() >= NEAR else None

    def refinement(self, number: int) -> Mixture:
        """Of a two-level design around the mixture that looks best, the run of this number, from 0.

        Its step is the least whose runs are expected to be worse than the centre by twice what a run is off by, on the
        average: nearer, all is noise, and further, more than the slope is seen.
        """
        at_hand, expected = choices(self.problem), PosteriorMean().function(self.outlook, self.sampled_ND)
        best_D = rank(expected, self.sampled_ND)[0]
        bounds = self.trust.worth_a_look(self.problem.space, self.trained_KD)
        centre_D = at_hand.mixture(climb(expected, self.problem, best_D, bounds)).array
        signs_ND = signs(len(centre_D))
        for step in STEPS:
            around_ND = around(centre_D, step, signs_ND)
            with torch.no_grad():
                worth_N = expected(torch.as_tensor(np.vstack([centre_D, around_ND]))[:, None]).numpy()
            if float(worth_N[0] - worth_N[1:].mean()) >= SEEN * self.prospect.run_sd:
                break
        return at_hand.mixture(around_ND[number])

    def _known(self, weights_ND: Float[np.ndarray, "N D"]) -> Bool[np.ndarray, " N"]:
        return self.trust.inside(weights_ND, self.problem.space, self.trained_KD)

    def best(self, fidelity: Fidelity, taken: Sequence[Mixture], repeatable: Sequence[Mixture] = ()) -> Mixture | None:
        """The mixture most worth training; None where all are taken.

        It differs in at least NEAR of its tokens from those that are taken there, where there is a choice; or it is one
        of those that can be run again, because nothing is worth more than to know more of it.
        """
        at_hand = choices(self.problem, fidelity)
        sampled_ND = self.sampled_ND
        if isinstance(at_hand, PoolChoices):
            sampled_ND = at_hand.weights_ND
        function = self.acquisition.function(self.outlook, sampled_ND)
        ranked_ND = rank(function, sampled_ND)
        if self.problem.pool is None:
            bounds = self.trust.worth_a_look(self.problem.space, self.trained_KD)
            found_D = at_hand.mixture(climb(function, self.problem, ranked_ND[0], bounds)).array
            if self.trust.natural_enough(found_D[None], self.problem.space)[0]:
                ranked_ND = np.vstack([rank(function, np.vstack([found_D, ranked_ND[:1]])), ranked_ND[1:]])
            if repeatable:
                again_KD = self._weights(repeatable)
                apart_K = np.abs(again_KD - ranked_ND[0]).sum(axis=1) / 2
                if apart_K.min() < NEAR:
                    return repeatable[int(apart_K.argmin())]
        if taken:
            taken_ND = self._weights(taken)
            ranked_ND = unseen(ranked_ND, taken_ND)
            if self.problem.pool is None and len(ranked_ND):
                apart_N = distance(ranked_ND, taken_ND) >= NEAR
                ranked_ND = ranked_ND[apart_N] if apart_N.any() else ranked_ND
        return at_hand.mixture(ranked_ND[0]) if len(ranked_ND) else None

    def _weights(self, mixtures: Sequence[Mixture]) -> Float[np.ndarray, "K D"]:
        return np.array([mixture.reordered(self.problem.space.domains).array for mixture in mixtures])
