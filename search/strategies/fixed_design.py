"""Strategies that know all their trials beforehand: baselines, then a design at every rung."""

from __future__ import annotations

from collections import Counter

from search.designs.anchors import Anchors
from search.designs.choices import choices
from search.errors import SearchError
from search.fidelity import Fidelity
from search.history import History
from search.problem import Problem, Rung
from search.randomness import generator
from search.seeds import SEARCH_SEED
from search.strategies.base import Settings, Strategy
from search.trial import Trial


class FixedDesign(Strategy):
    def __init__(self, problem: Problem, settings: Settings | None = None) -> None:
        """Raises SearchError where the space holds fewer distinct mixtures than a rung asks for."""
        super().__init__(problem, settings)
        self._trials = baselines_and_design(problem, self.design)

    @property
    def expected(self) -> Counter[Fidelity]:
        return Counter(trial.fidelity for trial in self._trials)

    def ask(self, history: History, slots: int) -> list[Trial]:
        return history.new(self._trials)[:slots]


def baselines_and_design(problem: Problem, design: str) -> tuple[Trial, ...]:
    """What is known to be trained before any result is.

    Args:
        design: its name.

    Raises:
        SearchError: the space holds fewer distinct mixtures than a rung asks for.
    """
    designed = (trial for rung in problem.rungs for trial in _designed(problem, rung, design))
    return tuple(History().new([*problem.baseline_trials, *designed]))


def _designed(problem: Problem, rung: Rung, design: str) -> list[Trial]:
    """Rungs of one space have the same generator and so the same mixtures, as far as both go."""
    anchors = Anchors.of(problem.space, problem.objective, problem.baselines)
    rng = generator(problem.seed, "design")
    mixtures = choices(problem, rung.fidelity).design(design, anchors, rung.trials, rng)
    if len(mixtures) < rung.trials:
        raise SearchError(
            f"the space holds only about {len(mixtures)} distinct mixtures, {rung.trials} trials were asked for",
            hint="widen the bounds of its domains and groups, or lower trials",
        )
    return [Trial(mixture, rung.fidelity, SEARCH_SEED) for mixture in mixtures]
