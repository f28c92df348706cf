"""THE LOOP: one study from its first trial, or wherever it was left, to its answer.

resume      the history is what the store holds; a first start finds it empty
search      ask -> open -> launch -> collect -> close, until the strategy has nothing to ask or the budget is spent
recommend   from the search's trials alone: strategies look at no other seed
confirm     the candidates and the baselines again, at the target fidelity, with seeds that chose nothing
answer      the mixture with the lowest confirmed objective, and by how much it beats proportional
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from mixopt.answer import answer_document
from mixopt.assemble import Plan
from mixopt.display import markdown
from mixopt.errors import ConfigError
from mixopt.events import Closed, Progressed, Restarted
from mixopt.executors.base import Executor
from mixopt.watch import Watcher
from search.confirm import Confirmation, confirm, confirmation_trials
from search.recommend import Recommendation
from search.trial import Failure, Measurement, Trial
from tracking import names
from tracking.store import StudyRecord

# A study in which this many trials die and none lives has a mistake in it that more trials will not mend.
HOPELESS_FAILURES = 4


class Study:
    """One search. The strategy decides, the executor trains, the record remembers, the watcher shows."""

    def __init__(
        self, plan: Plan, record: StudyRecord, executor: Executor, watcher: Watcher, retry_failed: bool = False
    ) -> None:
        self.plan = plan
        self.record = record
        self.executor = executor
        self.watcher = watcher
        self.history = record.history()
        for entry in self.history.failed if retry_failed else ():
            self.history = self.history.opened(entry.trial)
        self._in_flight: set[str] = set()
        self._sweep()

    def run(self) -> dict[str, Any]:
        """Returns the answer, as it is recorded.

        Raises:
            ConfigError: every trial fails.
            SearchError: the trials that completed are not enough for an answer.
        """
        self._search()
        with self.watcher.busy("fitting the losses, looking for the best mixture"):
            recommendation = self.plan.strategy.recommend(self.history)
        self._answer(recommendation, None)
        confirmation = self._confirm(recommendation)
        answer = self._answer(recommendation, confirmation)
        self.record.finish()
        return answer

    def _search(self) -> None:
        interrupted = deque(self.history.running)
        before = float(self.record.tags.get(names.SEARCH_SECONDS, "0"))
        began = time.monotonic()

        def seconds() -> float:
            return before + time.monotonic() - began

        def ask(slots: int) -> list[Trial]:
            if interrupted:
                return [interrupted.popleft() for _ in range(min(slots, len(interrupted)))]
            if self._budget_is_spent(seconds()):
                return []
            return self.plan.strategy.ask(self.history, slots)

        self.watcher.begin("search", self.plan.search_trials, self.history)
        self._work(ask, lambda: self.record.set_tags({names.SEARCH_SECONDS: f"{seconds():.1f}"}))

    def _confirm(self, recommendation: Recommendation) -> Confirmation | None:
        settings = self.plan.file.confirm
        if settings.candidates == 0:
            return None
        candidates = recommendation.candidates[: settings.candidates]
        wanted = confirmation_trials(self.plan.problem, candidates, settings.seeds)

        def ask(slots: int) -> list[Trial]:
            return self.history.new(wanted)[:slots]

        self.watcher.begin("confirm", tuple(wanted), self.history)
        self._work(ask)
        return confirm(self.plan.problem, candidates, settings.seeds, self.history)

    def _answer(self, recommendation: Recommendation, confirmation: Confirmation | None) -> dict[str, Any]:
        document = answer_document(self.plan, self.history, recommendation, confirmation, self.record.run_id)
        self.record.write(names.ANSWER, document, names.ANSWER_FILE)
        self.record.describe(markdown(document))
        return document

    def _work(self, ask: Callable[[int], list[Trial]], after_each: Callable[[], None] = lambda: None) -> None:
        """Keep the executor's slots filled with what `ask` gives, until it gives nothing and nothing runs."""
        while True:
            for trial in ask(self.executor.slots - len(self._in_flight)):
                self.record.open(trial)
                self.history = self.history.opened(trial)
                self.watcher.launched(trial)
                self.executor.launch(self.plan.job(trial))
                self._in_flight.add(trial.id)
            if not self._in_flight:
                return
            for event in self.executor.events():
                match event:
                    case Closed():
                        self._close(event.trial, event.outcome)
                        after_each()
                    case Restarted():
                        self.watcher.restarted(event)
                    case Progressed():
                        self.watcher.progressed(event)
                        if event.losses:
                            self.record.progress(event.trial, event.tokens, event.losses)

    def _sweep(self) -> None:
        """Remove what a killed run left: half-written files, and checkpoints of trials that are closed."""
        for file in self.plan.checkpoints.glob("*"):
            if file.stem not in {trial.id for trial in self.history.running}:
                file.unlink()

    def _close(self, trial: Trial, outcome: Measurement | Failure) -> None:
        self._in_flight.remove(trial.id)
        self.history = self.history.closed(trial, outcome)
        objective = self.plan.problem.objective_of(trial, self.history)
        self.record.close(trial, outcome, objective)
        self._report()
        # The checkpoint has done its duty only now that the outcome is recorded.
        self.plan.checkpoint(trial).unlink(missing_ok=True)
        self.watcher.closed(trial, outcome, objective)
        if len(self.history.failed) >= HOPELESS_FAILURES and not self.history.completed:
            reason = self.history.failed[-1].failure
            raise ConfigError(
                f"the first {len(self.history.failed)} trials all failed: {reason.kind.value}: {reason.message}",
                hint="mend the cause, then resume with --retry-failed",
            )

    def _report(self) -> None:
        completed, failed = self.history.completed, self.history.failed
        metrics = {
            names.COMPLETED_TRIALS: float(len(completed)),
            names.FAILED_TRIALS: float(len(failed)),
            names.SPENT_FLOPS: self.history.flops,
        }
        best = self.plan.problem.best_observed(self.history)
        if best is not None:
            metrics[names.BEST_OBJECTIVE] = best
        self.record.report(metrics, step=len(completed) + len(failed))

    def _budget_is_spent(self, seconds: float) -> bool:
        budget = self.plan.file.budget
        if budget.time is not None and seconds >= budget.time:
            return True
        if budget.flops is None:
            return False
        committed = self.history.flops + sum(trial.fidelity.flops for trial in self.history.running)
        return committed + self.plan.confirmation_flops >= budget.flops
