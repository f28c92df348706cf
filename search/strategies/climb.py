"""CLIMB: rounds of trials, each among what the rounds before make look best.

S. Diao et al., "CLIMB: CLustering-based Iterative Data Mixture Bootstrapping for Language Model Pre-training", NeurIPS
2025, Datasets and Benchmarks, section 3.

The baselines, the cheaper rungs' designs and the first round are known beforehand. For each later round the surrogate
is fitted to everything before it, and the trials are drawn at random from the best predicted mixtures: wider than to
train the very best, which chases the surrogate's errors, and narrower from round to round. Published: 64, 32 and 16
trials.

Beyond CLIMB: where cheaper rungs have runs, these are the first bootstrap, and every round at the target is predicted.

Shapes: N mixtures, D domains.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import accumulate, pairwise

import numpy as np
from jaxtyping import Float

from search.designs.choices import Choices, choices, unseen
from search.evidence import evidence_of, gather, runs_of
from search.fidelity import Fidelity
from search.history import History
from search.problem import Problem
from search.randomness import generator
from search.recommendation.predictor import predicted_baseline
from search.recommendation.recommend import recommend
from search.recommendation.recommendation import Recommendation
from search.recommendation.trusted_mixtures import CANDIDATES
from search.recommendation.validation import FEWEST_RUNS
from search.runs import numbered
from search.seeds import SEARCH_SEED
from search.strategies.base import Settings, Strategy
from search.strategies.fixed_design import baselines_and_design
from search.surrogates import SURROGATES
from search.surrogates.loss_model import LossModel
from search.trial import Trial

# Each round's part of the target's trials.
PARTS = (4, 2, 1)
# A round is drawn from this share of the candidates, or, where they are few, from so many for each of its trials.
BEST_SHARE, BEST_EACH = 0.05, 2
ORIGIN = "climb:"


class Climb(Strategy):
    def __init__(self, problem: Problem, settings: Settings | None = None) -> None:
        """Raises SearchError where the space holds fewer distinct mixtures than a rung asks for."""
        super().__init__(problem, settings)
        sizes = rounds(problem.rungs[-1].trials)
        bootstrapped = any(rung.trials for rung in problem.rungs[:-1])
        first, self._sizes = (0, sizes) if bootstrapped else (sizes[0], sizes[1:])
        everything = baselines_and_design(problem, self.design)
        at_target = [trial for trial in everything if trial.fidelity == problem.target]
        target_design = [trial for trial in at_target if trial.origin == "design"]
        # For rounds before which too little was measured.
        self._more_design = target_design[first:]
        self._known = everything[: len(everything) - len(self._more_design)]
        self._known_ids = {trial.id for trial in self._known}
        # By round, what was known before it, and what to train then: a round is asked for in parts, and fitted once.
        self._proposals: dict[int, tuple[History, list[Trial]]] = {}

    @property
    def expected(self) -> Counter[Fidelity]:
        return Counter(trial.fidelity for trial in self._known) + Counter({self.problem.target: sum(self._sizes)})

    def ask(self, history: History, slots: int) -> list[Trial]:
        """None while a round is being trained of which nothing is left to ask.

        Raises:
            SearchError: a round is due, and the baseline that the objective needs was not measured.
        """
        if known := history.new(self._known):
            return known[:slots]
        for number, size in enumerate(self._sizes, start=1):
            if any(self._round(trial) < number for trial in history.running):
                return []
            missing = size - sum(self._round(trial) == number for trial in history.trials)
            if missing > 0:
                return history.new(self._proposed(number, size, history))[: min(slots, missing)]
        return []

    def recommend(self, history: History) -> Recommendation:
        return recommend(self.problem, gather(self.problem, history), self.settings.surrogate, self.settings.trust)

    def _round(self, trial: Trial) -> int:
        """0 for what is known beforehand, whatever it was asked as."""
        if trial.id in self._known_ids or not trial.origin.startswith(ORIGIN):
            return 0
        return int(trial.origin.removeprefix(ORIGIN))

    def _proposed(self, number: int, size: int, history: History) -> list[Trial]:
        """A round's trials: the same whichever of them are asked, running or done."""
        before = history.only(lambda trial: self._round(trial) < number).without_running()
        if number not in self._proposals or self._proposals[number][0] != before:
            self._proposals[number] = (before, self._propose(number, size, before))
        return self._proposals[number][1]

    def _propose(self, number: int, size: int, before: History) -> list[Trial]:
        """The best predicted first."""
        problem = self.problem
        origin = f"{ORIGIN}{number}"
        runs = runs_of(problem, before)
        if len(np.unique(runs.mixture_N)) < FEWEST_RUNS:
            return [replace(trial, origin=origin) for trial in before.new(self._more_design)[:size]]
        # Says so where the baseline that the objective needs was not measured.
        evidence_of(problem, before, runs)
        model = LossModel.fit(SURROGATES[self.settings.surrogate](problem.seed), runs)
        rng = generator(problem.seed, "climb", number)
        at_hand = choices(problem)
        candidates_ND = self._candidates(at_hand, size, before, runs.weights_ND, rng)
        order_N = problem.objective.order(model.mean(candidates_ND), predicted_baseline(problem, model))
        best = max(round(BEST_SHARE * len(candidates_ND)), BEST_EACH * size)
        best_K = np.argsort(order_N, kind="stable")[:best]
        drawn = np.sort(rng.permutation(len(best_K))[:size])
        return [
            Trial(at_hand.mixture(weights_D), problem.target, SEARCH_SEED, origin)
            for weights_D in candidates_ND[best_K[drawn]]
        ]

    def _candidates(
        self,
        at_hand: Choices,
        size: int,
        before: History,
        trained_ND: Float[np.ndarray, "N D"],
        rng: np.random.Generator,
    ) -> Float[np.ndarray, "Q D"]:
        """Distinct mixtures not yet tried at the target, inside the trust region if it leaves a choice, [N, D]."""
        space = self.problem.space
        candidates_ND = at_hand.sample(trained_ND[space.feasible(trained_ND)], CANDIDATES, rng)
        tried = [trial.mixture for trial in before.trials if trial.fidelity == self.problem.target]
        tried_ND = np.array([mixture.reordered(space.domains).array for mixture in tried]).reshape(
            -1, len(space.domains)
        )
        new_ND = unseen(candidates_ND, tried_ND)
        # Candidates that a rounding makes one are one trial, and a round of it would never be full.
        new_ND = new_ND[np.unique(numbered(new_ND), return_index=True)[1]]
        trusted_ND = new_ND[self.settings.trust.inside(new_ND, space, trained_ND)]
        return trusted_ND if len(trusted_ND) >= BEST_EACH * size else new_ND


def rounds(trials: int) -> tuple[int, ...]:
    """The target's trials in rounds that shrink as PARTS do."""
    ends = [round(trials * part / sum(PARTS)) for part in accumulate(PARTS)]
    return tuple(end - begin for begin, end in pairwise([0, *ends]))
