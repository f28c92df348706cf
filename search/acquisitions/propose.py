"""Mixtures that are worth training at the target, given what is known and what is running.

Shapes: N runs or candidates, D domains.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.acquisitions.base import Acquisition
from search.acquisitions.fitting import Fit
from search.acquisitions.maximise import climb, rank
from search.acquisitions.outlook import Outlook
from search.acquisitions.posterior_mean import PosteriorMean
from search.designs.choices import PoolChoices, choices, unseen
from search.evidence import Evidence
from search.fidelity import Fidelity
from search.mixture import FloatArray, Mixture
from search.problem import Problem
from search.randomness import generator
from search.trial import Trial
from search.trust_region import distance

CANDIDATES = 1_500
# Candidates are the best trained mixtures, so many, others, and points between.
ANCHORS = 100
# Mixtures nearer than this, in total variation, teach hardly more than one of them.
APART = 0.01


class Proposals:
    def __init__(self, problem: Problem, acquisition: Acquisition, evidence: Evidence, fits: Sequence[Fit]) -> None:
        self._problem, self._acquisition = problem, acquisition
        self._fidelities = [fidelity.proxy for fidelity in evidence.runs.fidelities]
        rng = generator(problem.seed, "proposals", len(evidence.runs))
        self._outlook = Outlook(fits, evidence, problem, int(rng.integers(2**31)))
        known_ND = np.vstack([evidence.runs.weights_ND, problem.space.project(problem.space.natural.array).array])
        known_ND = np.unique(known_ND[problem.space.feasible(known_ND)], axis=0)
        anchors_ND = rank(PosteriorMean().function(self._outlook, known_ND), known_ND)[:ANCHORS]
        self._candidates_ND = choices(problem).candidates(anchors_ND, CANDIDATES, rng)

    def believe(self, running: Sequence[Trial]) -> None:
        """Count these trials as done, with what is expected of them."""
        if running:
            weights_PD = self._weights([trial.mixture for trial in running])
            level_P = np.array([self._fidelities.index(trial.fidelity.proxy) for trial in running])
            self._outlook.believe(weights_PD, level_P)

    def best(self, fidelity: Fidelity, taken: Sequence[Mixture]) -> Mixture | None:
        """The mixture most worth training, none of those that are taken there; None where all are.

        Where there is a choice, it differs from these in at least APART of its tokens.
        """
        at_hand = choices(self._problem, fidelity)
        candidates_ND = self._candidates_ND
        if isinstance(at_hand, PoolChoices):
            candidates_ND = at_hand.weights_ND
        function = self._acquisition.function(self._outlook, candidates_ND)
        ranked_ND = rank(function, candidates_ND)
        if self._problem.pool is None:
            found_D = at_hand.mixture(climb(function, self._problem, ranked_ND[0])).array
            ranked_ND = np.vstack([rank(function, np.vstack([found_D, ranked_ND[:1]])), ranked_ND[1:]])
        if taken:
            taken_ND = self._weights(taken)
            ranked_ND = unseen(ranked_ND, taken_ND)
            if self._problem.pool is None and len(ranked_ND):
                apart_N = distance(ranked_ND, taken_ND) >= APART
                ranked_ND = ranked_ND[apart_N] if apart_N.any() else ranked_ND
        return at_hand.mixture(ranked_ND[0]) if len(ranked_ND) else None

    def _weights(self, mixtures: Sequence[Mixture]) -> FloatArray:
        return np.array([mixture.reordered(self._problem.space.domains).array for mixture in mixtures])
