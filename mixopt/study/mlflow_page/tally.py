"""What is counted of a study for its MLflow page, kept up trial by trial."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mixopt.study.plan import Plan
from search.history import History
from search.problem import PROPORTIONAL, Standing
from search.seeds import SEARCH_SEED, is_of_search
from search.trial import Failure, FailureKind, Measurement, Trial
from tracking import keys


@dataclass(frozen=True)
class Best:
    """The search trial that stands first at the target."""

    trial: Trial
    standing: Standing


class Tally:
    """What is counted of a study, kept up trial by trial.

    Attributes:
        trials: how many there are, by state and proxy.
        searched, confirmed: how many of the search and of the confirmation have ended, however.
        restarts: how often a trial went on from its checkpoint, after its worker had died.
        flops: of the completed and the stopped trials.
        best: so far; None before a trial completed at the target.
        reference: objective that the search measured for the proportional mixture at the target.
    """

    def __init__(self, plan: Plan, history: History, restarts: int = 0) -> None:
        self.problem = plan.problem
        self.expected = plan.strategy.expected.total()
        self.expected_to_confirm = plan.confirmation_size
        self.trials: Counter[tuple[str, str]] = Counter()
        self.searched = self.confirmed = 0
        self.restarts = restarts
        self.flops = history.flops
        self._running = {trial.id for trial in history.running}
        self._failed: dict[str, FailureKind] = {}
        self._reference, self._baseline = (
            None if name is None else Trial(self.problem.baselines[name], self.problem.target, SEARCH_SEED).id
            for name in (PROPORTIONAL, self.problem.objective.baseline)
        )
        for trial in history.running:
            self.trials[keys.STATE_RUNNING, trial.fidelity.proxy] += 1
        for state, entries in ((keys.STATE_COMPLETED, history.completed), (keys.STATE_STOPPED, history.stopped)):
            for entry in entries:
                self._count_ended(entry.trial, state)
        for failed in history.failed:
            self._count_ended(failed.trial, keys.STATE_FAILED)
            self._failed[failed.trial.id] = failed.failure.kind
        self._look_for_best(history)

    def opened(self, trial: Trial) -> None:
        """A trial is launched: a new one, one that was interrupted, or one that failed, once more."""
        if trial.id in self._running:
            return
        self._running.add(trial.id)
        self.trials[keys.STATE_RUNNING, trial.fidelity.proxy] += 1
        if self._failed.pop(trial.id, None) is not None:
            self._count_ended(trial, keys.STATE_FAILED, -1)

    def restarted(self) -> None:
        self.restarts += 1

    def closed(self, trial: Trial, outcome: Measurement | Failure, standing: Standing | None, history: History) -> None:
        """A trial ended so, and stands there; `history` knows it already, and is hardly ever looked at."""
        self._running.remove(trial.id)
        self.trials[keys.STATE_RUNNING, trial.fidelity.proxy] -= 1
        if isinstance(outcome, Failure):
            self._count_ended(trial, keys.STATE_FAILED)
            self._failed[trial.id] = outcome.kind
            return
        self.flops += outcome.flops
        self._count_ended(trial, keys.STATE_COMPLETED if outcome.stopped_at is None else keys.STATE_STOPPED)
        if trial.id == self._baseline:
            # Until now no objective of this kind was known.
            self._look_for_best(history)
        elif standing is not None and trial.seed == SEARCH_SEED and trial.fidelity == self.problem.target:
            self._compare(trial, standing)

    @property
    def failures(self) -> Counter[FailureKind]:
        return Counter(self._failed.values())

    @property
    def confirming(self) -> bool:
        """Whether trials of the confirmation have ended."""
        return self.confirmed > 0

    def in_state(self, state: str) -> int:
        return sum(count for (each, _), count in self.trials.items() if each == state)

    def _count_ended(self, trial: Trial, state: str, by: int = 1) -> None:
        self.trials[state, trial.fidelity.proxy] += by
        if is_of_search(trial.seed):
            self.searched += by
        else:
            self.confirmed += by

    def _look_for_best(self, history: History) -> None:
        self.best: Best | None = None
        self.reference: float | None = None
        for entry in history.at(self.problem.target):
            standing = self.problem.standing(entry.trial, history)
            if standing is not None and entry.trial.seed == SEARCH_SEED:
                self._compare(entry.trial, standing)

    def _compare(self, trial: Trial, standing: Standing) -> None:
        if self.best is None or standing.order < self.best.standing.order:
            self.best = Best(trial, standing)
        if trial.id == self._reference:
            self.reference = standing.objective
