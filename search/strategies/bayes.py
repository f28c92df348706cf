"""Bayesian optimisation: cheap runs first, then at the target whatever is most worth training, given all that is known.

1. The baselines at every rung, the target's first.
2. A warm start: a design at the cheapest rung, for about what one target run costs. Where no rung is cheap, or what it
   tells was known before, a small design at the target.
3. At each rung between, as many mixtures as one target run would pay for, then trials at the target: each the mixture
   with the highest acquisition (search.acquisitions), running trials counted as done with what is expected of them.
4. Now and then instead the next mixture of the design at the target, a control that no model chose.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from search.acquisitions import ACQUISITIONS
from search.acquisitions.base import Acquisition
from search.acquisitions.fitting import MetricFit, enough, fit_metrics
from search.errors import SearchError
from search.evidence import Evidence, evidence_of, gather, runs_of
from search.fidelity import Fidelity
from search.history import History
from search.objective import Pareto, WeightedMean
from search.problem import SEARCH_SEED, Problem, Rung
from search.recommendation.ranking import rank_correlation
from search.recommendation.recommend import recommend
from search.recommendation.recommendation import Recommendation
from search.strategies.base import CHEAP, WARM_RUNS_PER_DOMAIN, Settings, Strategy
from search.strategies.fixed_design import baselines_and_design
from search.trial import Trial

if TYPE_CHECKING:
    from search.acquisitions.propose import Proposals

# A rung between the cheapest and the target is cheap where a target run pays for so many of its runs.
CHEAP_BETWEEN = 3.0
# With so many target runs it is known how the cheap ones carry over.
FEWEST_AT_TARGET = 6
# Rank correlation of target runs with what the cheap ones predict of them, below which these are no help; and, as it
# would be were the cheap ones predicted perfectly, above which better predictions would help.
UNRELATED, RELATED = 0.3, 0.7
# Share of the cheap runs' variance beyond which more of them improve predictions little, and below which it is not
# believed: the correlation would be divided by next to nothing.
WELL_EXPLAINED, LEAST_EXPLAINED = 0.9, 0.3
# Target trials wait for the cheap ones, soon done, while more than this share of them is running.
STILL_RUNNING = 0.25
# One of so many target trials is a control.
CONTROL_EVERY = 8


class Carried(NamedTuple):
    """What the cheap runs tell of the target.

    Attributes:
        correlation: of target runs, by rank, with what the cheap ones predict of them.
        explained: the share of the cheap runs' variance that is predicted when they are left out.
    """

    correlation: float
    explained: float


def warm_start(cost_ratio: float, domains: int, carried: Carried | None = None) -> int:
    """How many mixtures to train at the cheapest rung.

    Args:
        cost_ratio: of a run at the target to one there.
        carried: None while it is not known.
    """
    if cost_ratio < CHEAP:
        return 0
    first = min(int(cost_ratio), WARM_RUNS_PER_DOMAIN * domains)
    if carried is None:
        return first
    if carried.correlation < UNRELATED:
        return 0
    attainable = carried.correlation / max(carried.explained, LEAST_EXPLAINED) ** 0.5
    return 2 * first if attainable > RELATED and carried.explained < WELL_EXPLAINED else first


class Bayes(Strategy):
    def __init__(self, problem: Problem, settings: Settings | None = None) -> None:
        """
        Raises:
            SearchError: the space holds fewer distinct mixtures than a rung asks for, or the acquisition and the
                objective do not go together.
        """
        super().__init__(problem, settings)
        pareto = isinstance(problem.objective, Pareto)
        if self.settings.acquisition == "hypervolume" and not pareto:
            raise SearchError("acquisition hypervolume is for a pareto objective", hint="choose log_ei")
        self._origin = "hypervolume" if pareto else self.settings.acquisition
        self._target = problem.rungs[-1]
        self._baselines = History().new(problem.baseline_trials)
        self._baseline_ids = {trial.id for trial in self._baselines}
        designed = [trial for trial in baselines_and_design(problem) if trial.id not in self._baseline_ids]
        self._designs = [[trial for trial in designed if trial.fidelity == rung.fidelity] for rung in problem.rungs]
        self._cost_ratio = problem.target.flops / problem.rungs[0].fidelity.flops
        self._domains = len(problem.space.domains)
        self._earlier = 0 if problem.earlier is None else len(problem.earlier)
        self._warm = max(min(warm_start(self._cost_ratio, self._domains), problem.rungs[0].trials) - self._earlier, 0)
        # What the last question was put with: it is often put again, and what was costly to choose is passed on.
        self._learned: tuple[History, Evidence, tuple[MetricFit, ...]] | None = None

    @property
    def expected(self) -> Counter[Fidelity]:
        expected = Counter(trial.fidelity for trial in self._baselines)
        expected[self.problem.target] += self._target.trials
        if self._warm:
            cheapest = self.problem.rungs[0]
            expected[cheapest.fidelity] += min(2 * self._warm + self._earlier, cheapest.trials)
        for rung in self.problem.rungs[1:-1]:
            expected[rung.fidelity] += self._share(rung)
        return expected

    def ask(self, history: History, slots: int) -> list[Trial]:
        """None while most of the warm start is being trained and nothing of it is left to ask."""
        if slots <= 0:
            return []
        asked = history.new([*self._baselines, *self._opening(history)])[:slots]
        history = history.opened(*asked)
        if len(asked) < slots and not self._waits(history):
            learned = self._learn(history)
            slots -= len(asked)
            asked += self._chosen(history, slots, *learned) if learned else self._unchosen(history, slots)
        return asked

    def recommend(self, history: History) -> Recommendation:
        return recommend(self.problem, gather(self.problem, history), self.settings.surrogate, self.settings.trust)

    @cached_property
    def _acquisition(self) -> Acquisition:
        return ACQUISITIONS[self._origin]()

    def _opening(self, history: History) -> list[Trial]:
        """The warm start, as long as what is known by now says that it should be; or the small design."""
        if not self._warm:
            small = min(2 * self._domains + 2 - self._earlier, self._target.trials // 2)
            return self._designs[-1][: max(small, 0)]
        wanted = warm_start(self._cost_ratio, self._domains, self._carried(history)) - self._earlier
        return [replace(trial, origin="warm") for trial in self._designs[0][: max(wanted, 0)]]

    def _asked(self, history: History, rung: Rung) -> int:
        """How many of the search's trials are of this rung, baselines aside."""
        return sum(
            trial.fidelity == rung.fidelity and trial.seed == SEARCH_SEED and trial.id not in self._baseline_ids
            for trial in history.trials
        )

    def _waits(self, history: History) -> bool:
        cheapest = self.problem.rungs[0]
        running = sum(trial.fidelity == cheapest.fidelity for trial in history.running)
        return self._warm > 0 and running > STILL_RUNNING * self._asked(history, cheapest)

    def _share(self, rung: Rung) -> int:
        """How many trials a rung between the cheapest and the target gets."""
        ratio = self.problem.target.flops / rung.fidelity.flops
        return min(int(ratio), rung.trials) if ratio >= CHEAP_BETWEEN else 0

    def _due(self, history: History) -> Rung | None:
        """The rung that the next trial is for; None when all have theirs."""
        for rung in self.problem.rungs[1:-1]:
            if self._asked(history, rung) < self._share(rung):
                return rung
        return self._target if self._asked(history, self._target) < self._target.trials else None

    def _unchosen(self, history: History, slots: int) -> list[Trial]:
        """With too little to learn from, more of the design: half of the budget at most while results may come."""
        if self._warm and history.running:
            return []
        most = self._target.trials // 2 if history.running else self._target.trials
        left = max(most - self._asked(history, self._target), 0)
        return history.new(self._designs[-1])[: min(slots, left)]

    def _chosen(self, history: History, slots: int, evidence: Evidence, fits: tuple[MetricFit, ...]) -> list[Trial]:
        """One after the other, each counted as running for the next."""
        from search.acquisitions.propose import Proposals

        if self._due(history) is None:
            return []
        running = [trial for trial in history.running if trial.seed == SEARCH_SEED]
        proposals = Proposals.of(self.problem, self._acquisition, evidence, fits).believing(running)
        asked: list[Trial] = []
        while len(asked) < slots and (rung := self._due(history)):
            trial = self._next(history, rung, proposals)
            if trial is None:
                break
            asked.append(trial)
            history = history.opened(trial)
            proposals = proposals.believing([trial])
        return asked

    def _next(self, history: History, rung: Rung, proposals: Proposals) -> Trial | None:
        """The next trial of a rung; None where every mixture was tried."""
        place = self._asked(history, rung) + 1
        if rung is self._target and self.problem.pool is None and place % CONTROL_EVERY == 0:
            controls = history.new(self._designs[-1])
            if controls:
                return replace(controls[0], origin="control")
        taken = [trial.mixture for trial in history.trials if trial.fidelity == rung.fidelity]
        best = proposals.best(rung.fidelity, taken)
        return None if best is None else Trial(best, rung.fidelity, SEARCH_SEED, self._origin)

    def _learn(self, history: History) -> tuple[Evidence, tuple[MetricFit, ...]] | None:
        """What is known, as the acquisition wants it, and the processes fitted to it; None where it is too little."""
        baseline = self.problem.objective.baseline
        if baseline and Trial(self.problem.baselines[baseline], self.problem.target, SEARCH_SEED) in history.running:
            return None
        known = history.without_running()
        if self._learned is None or self._learned[0] != known:
            evidence = evidence_of(self.problem, known, runs_of(self.problem, known))
            if not self._acquisition.by_metric:
                evidence = _judged(evidence)
            if not enough(evidence.runs):
                return None
            earlier = () if self._learned is None else self._learned[2]
            self._learned = known, evidence, fit_metrics(evidence.runs, self.problem.seed, earlier)
        return self._learned[1:]

    def _carried(self, history: History) -> Carried | None:
        """As `warm_start` wants it; None while it is not known."""
        if len(history.at(self.problem.target)) < FEWEST_AT_TARGET or (learned := self._learn(history)) is None:
            return None
        evidence, fits = learned
        known_N = np.isfinite(evidence.at_target_N)
        if known_N.sum() < FEWEST_AT_TARGET or any(fit.process.lines.reference == fit.process.target for fit in fits):
            return None
        predicted_NM = np.column_stack([fit.process.carried_over(evidence.runs.weights_ND[known_N]) for fit in fits])
        predicted_N = evidence.objective.value(predicted_NM, evidence.baseline_M)
        correlation = rank_correlation(predicted_N, evidence.at_target_N[known_N])
        return Carried(correlation or 0.0, float(np.mean([fit.process.explained for fit in fits])))


def _judged(evidence: Evidence) -> Evidence:
    """The same runs with the objective, in the units of their own fidelities, as their only metric."""
    runs = replace(evidence.runs, metrics=("objective",), values_NM=evidence.objective_N[:, None])
    return Evidence(runs, WeightedMean({"objective": 1.0}))
