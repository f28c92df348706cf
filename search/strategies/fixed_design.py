"""Strategies that know all their trials beforehand: baselines, then a tempered Dirichlet design at every rung."""

from __future__ import annotations

from search.designs.tempered_dirichlet import tempered_dirichlet
from search.errors import SearchError
from search.history import History
from search.problem import SEARCH_SEED, Problem
from search.randomness import generator
from search.strategies.base import Strategy
from search.trial import Trial


class FixedDesign(Strategy):
    planned: tuple[Trial, ...]

    def __init__(self, problem: Problem) -> None:
        """Raises SearchError where the space holds fewer distinct mixtures than the largest rung asks for."""
        super().__init__(problem)
        wanted = max(rung.trials for rung in problem.rungs)
        design = tempered_dirichlet(problem.space, wanted, generator(problem.seed, "design"))
        if len(design) < wanted:
            raise SearchError(
                f"the space holds only about {len(design)} distinct mixtures, {wanted} trials were asked for",
                hint="widen the bounds of its domains and groups, or lower trials",
            )
        baselines = [
            Trial(mixture, rung.fidelity, SEARCH_SEED, f"baseline:{name}")
            # The target's first: a search that a budget ends early then has something to answer with.
            for rung in reversed(problem.rungs)
            for name, mixture in problem.baselines.items()
        ]
        designed = [
            Trial(mixture, rung.fidelity, SEARCH_SEED) for rung in problem.rungs for mixture in design[: rung.trials]
        ]
        self.planned = tuple(History().new([*baselines, *designed]))

    def ask(self, history: History, slots: int) -> list[Trial]:
        return history.new(self.planned)[:slots]
