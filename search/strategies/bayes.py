"""Bayesian optimisation: cheap runs first, then at the target whatever is most worth training, given all that is known.

1. the baselines at every rung, the target's first;
2. a warm start: a design at the cheapest rung, for about what one target run costs; without a rung that is cheap, a
   small design at the target;
3. at each rung between, as many mixtures as one target run would pay for, then trials at the target, each the mixture
   with the highest acquisition (search.acquisitions), running trials taken into account;
4. now and then the next mixture of the design at the target instead: a control that no model chose.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from search.acquisitions import ACQUISITIONS
from search.acquisitions.base import Acquisition
from search.acquisitions.fitting import Fit, Fitter, enough
from search.choices import choices
from search.errors import SearchError
from search.evidence import Evidence, evidence_of, gather, runs_of
from search.history import History
from search.mixture import Mixture
from search.objective import Pareto, WeightedMean
from search.problem import SEARCH_SEED, Problem, Rung
from search.randomness import generator
from search.recommend import Recommendation, recommend
from search.strategies.base import Settings, Strategy
from search.trial import Trial

if TYPE_CHECKING:
    from search.acquisitions.propose import Proposals

# A rung is cheap for a warm start where a target run pays for this many of its runs, and one between likewise.
CHEAP, CHEAP_BETWEEN = 2.0, 3.0
# More cheap runs than this a domain teach little (recipe: 2 to 4).
WARM_RUNS_PER_DOMAIN = 4
# With so many target runs it is known how the cheap ones carry over.
FEWEST_AT_TARGET = 6
# Rank correlation of the target with what the cheap runs predict, below which they are no help; and, once mended for
# the errors of these predictions, above which better predictions would help.
UNRELATED, RELATED = 0.3, 0.7
# Share of the variance of cheap runs beyond which more of them teach little.
WELL_EXPLAINED = 0.9
# Every so many target trials one is a control.
CONTROL_EVERY = 8
# Target trials wait for the cheap ones while more than this share of those is running.
WAIT_FOR = 0.25


def warm_start(cost_ratio: float, domains: int, carried: tuple[float, float] | None = None) -> int:
    """How many mixtures to train at the cheapest rung.

    Args:
        cost_ratio: of a run at the target to one there.
        carried: once it is known, the rank correlation of target runs with what the cheap ones predict of them, and
            the share of the variance of cheap runs that is predicted.
    """
    if cost_ratio < CHEAP:
        return 0
    first = min(int(cost_ratio), WARM_RUNS_PER_DOMAIN * domains)
    if carried is None:
        return first
    correlation, explained = carried
    if correlation < UNRELATED:
        return 0
    # Were the cheap fidelity predicted perfectly, it would correlate so much with the target.
    attainable = correlation / max(explained, UNRELATED) ** 0.5
    return 2 * first if attainable > RELATED and explained < WELL_EXPLAINED else first


class Bayes(Strategy):
    planned = None

    def __init__(self, problem: Problem, settings: Settings | None = None) -> None:
        """Raises SearchError where the acquisition and the objective do not go together."""
        super().__init__(problem, settings)
        pareto = isinstance(problem.objective, Pareto)
        if self.settings.acquisition == "hypervolume" and not pareto:
            raise SearchError(
                "acquisition hypervolume wants several objectives at once", hint="choose another, or pareto"
            )
        self._acquisition_name = "hypervolume" if pareto else self.settings.acquisition
        self._domains = len(problem.space.domains)
        self._cost_ratio = problem.target.flops / problem.rungs[0].fidelity.flops
        self._warm = min(warm_start(self._cost_ratio, self._domains), problem.rungs[0].trials)
        self._fitter = Fitter(problem.seed)
        self._baselines = [
            Trial(mixture, rung.fidelity, SEARCH_SEED, f"baseline:{name}")
            for rung in reversed(problem.rungs)
            for name, mixture in problem.baselines.items()
        ]
        self._baseline_ids = {trial.id for trial in self._baselines}

    def ask(self, history: History, slots: int) -> list[Trial]:
        asked = history.new([*self._baselines, *self._opening(history)])[:slots]
        if len(asked) < slots and not self._waits(history.opened(*asked)):
            asked += self._after_opening(history.opened(*asked), slots - len(asked))
        return asked

    def recommend(self, history: History) -> Recommendation:
        return recommend(self.problem, gather(self.problem, history), self.settings.surrogate, self.settings.trust)

    @cached_property
    def _design(self) -> list[Mixture]:
        """The warm start, the small design and the controls are its first mixtures."""
        count = max(2 * self._warm, self.problem.rungs[-1].trials)
        return choices(self.problem).design(count, generator(self.problem.seed, "design"))

    @cached_property
    def _acquisition(self) -> Acquisition:
        return ACQUISITIONS[self._acquisition_name]()

    def _designed(self, count: int, rung: Rung, origin: str) -> list[Trial]:
        return [Trial(mixture, rung.fidelity, SEARCH_SEED, origin) for mixture in self._design[:count]]

    def _asked(self, history: History, rung: Rung) -> int:
        """How many of the search's trials are of this rung, baselines aside."""
        return sum(
            trial.fidelity == rung.fidelity and trial.seed == SEARCH_SEED and trial.id not in self._baseline_ids
            for trial in history.trials
        )

    def _opening(self, history: History) -> list[Trial]:
        """What is asked for whatever the results, but for the further cheap trials that they may show to be worth it."""
        cheapest, target = self.problem.rungs[0], self.problem.rungs[-1]
        if not self._warm:
            return self._designed(min(2 * self._domains + 2, target.trials // 2), target, "design")
        wanted = warm_start(self._cost_ratio, self._domains, self._carried(history))
        return self._designed(min(wanted, cheapest.trials), cheapest, "warm")

    def _waits(self, history: History) -> bool:
        """Whether too many of the cheap trials, which are soon done, are still running."""
        cheapest = self.problem.rungs[0]
        running = sum(trial.fidelity == cheapest.fidelity for trial in history.running)
        return self._warm > 0 and running > WAIT_FOR * self._asked(history, cheapest)

    def _due(self, history: History) -> Rung | None:
        """The rung that the next trial is for; None when all have theirs."""
        *cheaper, target = self.problem.rungs
        for rung in cheaper[1:]:
            ratio = target.fidelity.flops / rung.fidelity.flops
            if ratio >= CHEAP_BETWEEN and self._asked(history, rung) < min(int(ratio), rung.trials):
                return rung
        return target if self._asked(history, target) < target.trials else None

    def _after_opening(self, history: History, slots: int) -> list[Trial]:
        from search.acquisitions.propose import Proposals

        learned = self._learn(history)
        if learned is None:
            return self._unlearned(history, slots)
        evidence, fits = learned
        running = [trial for trial in history.running if trial.seed == SEARCH_SEED]
        proposals = Proposals(self.problem, self._acquisition, evidence, fits)
        proposals.believe(running)
        asked: list[Trial] = []
        while len(asked) < slots and (rung := self._due(history)):
            trial = self._next(history, rung, proposals)
            if trial is None:
                break
            asked.append(trial)
            history = history.opened(trial)
            proposals.believe([trial])
        return asked

    def _unlearned(self, history: History, slots: int) -> list[Trial]:
        """With nothing to learn from yet: more of the design, half of the budget at most while results may still come."""
        target = self.problem.rungs[-1]
        if self._warm and history.running:
            return []
        most = target.trials // 2 if history.running else target.trials
        left = max(most - self._asked(history, target), 0)
        return history.new(self._designed(len(self._design), target, "design"))[: min(slots, left)]

    def _next(self, history: History, rung: Rung, proposals: Proposals) -> Trial | None:
        """The next trial of a rung; None where every mixture was tried."""
        is_target = rung is self.problem.rungs[-1]
        if is_target and self.problem.pool is None and self._asked(history, rung) % CONTROL_EVERY == CONTROL_EVERY - 1:
            controls = history.new(self._designed(len(self._design), rung, "control"))
            if controls:
                return controls[0]
        taken = [trial.mixture for trial in history.trials if trial.fidelity == rung.fidelity]
        best = proposals.best(taken)
        return None if best is None else Trial(best, rung.fidelity, SEARCH_SEED, self._acquisition_name)

    def _learn(self, history: History) -> tuple[Evidence, tuple[Fit, ...]] | None:
        """What is known as the acquisition wants it, and the processes fitted to it; None where it is too little."""
        baseline = self.problem.objective.baseline
        if baseline and Trial(self.problem.baselines[baseline], self.problem.target, SEARCH_SEED) in history.running:
            return None
        evidence = evidence_of(self.problem, history, runs_of(self.problem, history))
        if not self._acquisition.by_metric:
            evidence = _judged(evidence)
        return (evidence, self._fitter.fit(evidence.runs)) if enough(evidence.runs) else None

    def _carried(self, history: History) -> tuple[float, float] | None:
        """As `warm_start` wants it; None while it is not known."""
        from scipy.stats import spearmanr

        if len(history.at(self.problem.target)) < FEWEST_AT_TARGET or (learned := self._learn(history)) is None:
            return None
        evidence, fits = learned
        if any(fit.lines.reference == fit.target for fit in fits):
            return None
        known_N = np.isfinite(evidence.at_target_N)
        known_ND = evidence.runs.weights_ND[known_N]
        predicted_NM = np.column_stack([fit.centre + fit.scale * fit.base.mean(known_ND) for fit in fits])
        predicted_N = evidence.objective.value(predicted_NM, evidence.baseline_M)
        correlation = float(spearmanr(predicted_N, evidence.at_target_N[known_N]).statistic)
        return correlation, float(np.mean([fit.explained for fit in fits]))


def _judged(evidence: Evidence) -> Evidence:
    """The same runs with the objective as their only metric."""
    runs = replace(evidence.runs, metrics=("objective",), values_NM=evidence.objective_N[:, None])
    return replace(evidence, runs=runs, objective=WeightedMean({"objective": 1.0}), baseline_M=None)
