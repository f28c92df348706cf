"""THE LOOP: one study from its first trial, or wherever it was left, to its answer.

resume      the history is what the journal holds; a first start finds it empty
search      ask -> open -> launch -> collect -> close, until the strategy has nothing to ask, the budget is spent, or
            what the study names as enough is reached; somebody may pause or stop it (mixopt/study/wishes.py), or queue
            mixtures, which come before the strategy's (mixopt/study/queue.py)
recommend   from the search's trials alone: strategies look at no other seed; what is expected of it is kept now
confirm     the candidates and the baselines again, at the target fidelity, with seeds that chose nothing
answer      the mixture of which most is expected after that, beside proportional and the best baseline
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import accumulate
from types import MappingProxyType
from typing import Any

from mixopt.base.errors import ConfigError
from mixopt.results.answer import Answer
from mixopt.results.predictions import Predictions
from mixopt.results.queue import QueuedMixture
from mixopt.study.answer import build_answer, how_far
from mixopt.study.ending import Ending
from mixopt.study.mlflow_page.keeper import PageKeeper
from mixopt.study.plan import Plan
from mixopt.study.predictions import foretell, kept, past_calibration, read_predictions, with_outcomes
from mixopt.study.progress import Watcher
from mixopt.study.queue import became_of, broken_by, confirmation_began, queued, trials_of
from mixopt.study.wishes import LOOK_SECONDS, Wish, activity
from mixopt.workers.executor import Executor, Unwanted
from mixopt.workers.messages import Event, Notice, TrialEnd, TrialProgress, TrialRestart
from search.recommendation.confirmation import Confirmation, confirm
from search.recommendation.confirmation_trials import confirmation_size, next_confirmations
from search.recommendation.predictor import Predictor
from search.recommendation.recommendation import Recommendation
from search.seeds import is_of_search
from search.trial import Failure, FailureKind, Measurement, Trial
from tracking import keys
from tracking.errors import TrackingAway
from tracking.recorder import Recorder

log = logging.getLogger(__name__)

# So many failures in a row, before any trial has lived and after: a mistake that more trials will not mend.
FAILURES_AT_FIRST = 4
FAILURES_LATER = 20
# A study that has its answer waits so long for MLflow to take the last of it.
MLFLOW_AWAY_SECONDS = 600.0
GOES_ON = "run again, it goes on from there"
# What the log says once something else is asked of the study.
SAID: Mapping[Wish | None, str] = MappingProxyType(
    {
        None: "the study goes on",
        Wish.PAUSE: "paused: what runs is trained to its end, nothing new begins; mixopt resume {file} goes on",
        Wish.STOP: "stopped: what runs is ended, and the answer made from what is there",
        Wish.CONFIRM: "stopped: what runs is trained to its end, then the answer is confirmed",
    }
)


class Loop:
    """One search. The strategy decides, the executor trains, the recorder remembers, the watcher shows.

    Attributes:
        mlflow_is_away: whether it lacked a record when that was looked at last.
    """

    def __init__(
        self,
        plan: Plan,
        recorder: Recorder,
        executor: Executor[Any],
        watcher: Watcher,
        retry_failed: bool = False,
        asked: Callable[[], Wish | None] = lambda: None,
    ) -> None:
        """`asked`: what somebody asks of the study at this moment."""
        self.plan = plan
        self.recorder = recorder
        self.executor = executor
        self.watcher = watcher
        self.history = recorder.begun.history
        self._anew: set[str] = set()  # trials that failed, and are yet to be begun again
        if retry_failed:
            self._anew = {entry.trial.id for entry in self.history.failed}
            self.history = self.history.opened(*(entry.trial for entry in self.history.failed))
        self.predictor: Predictor | None = None  # of the answer, once there is one
        self._predictions: Predictions | None = None
        self._in_flight: dict[str, Trial] = {}
        self._compiled: set[str] = set()  # proxies, those too of which that failed
        self._remarks: list[str] = []
        self._left_out: set[str] = set()  # queued mixtures of which it was said
        self._out_of_budget = False
        self._asked = asked
        self._wish: Wish | None = None  # as it was seen last
        self._stopped = False  # nothing more is trained
        self._search_stopped = False  # nor, at least, searched
        self._ending = Ending(plan, recorder, watcher)
        self._activity = ""
        self._failures_in_a_row = 0
        self.mlflow_is_away = recorder.trouble is not None  # said by whoever began without it
        self._seconds_before = float(recorder.begun.tags.get(keys.SEARCH_SECONDS, "0"))
        self._began = time.monotonic()
        self._page = PageKeeper(plan, recorder, self.history, recorder.begun.restarts, lambda: self._seconds)

    def run(self) -> Answer:
        """Returns the answer; `finish` comes next.

        Raises:
            ConfigError: trial after trial fails; or a later version of mixopt has recorded an answer.
            SearchError: the trials that completed are not enough for an answer.
            KeyboardInterrupt: somebody cancelled it.
        """
        if (answer := self.recorder.begun.written.get(keys.ANSWER)) is not None:
            Answer.read(answer)  # that of a later version is not overwritten
        self.plan.exchange.sweep(self.history)
        trouble = self.recorder.trouble or ""
        if trouble != self.recorder.begun.tags.get(keys.AWAY, ""):
            self._remember_mlflow(trouble)
        with self._page:
            self._search()
        with self.watcher.busy("fitting the losses, looking for the best mixture"):
            recommendation = self.plan.strategy.recommend(self.history.without_running())
        self.predictor = recommendation.predictor
        self._predict(recommendation)
        if keys.ANSWER not in self.recorder.begun.written:
            self._answer(recommendation, None)
        return self._answer(recommendation, self._confirm(recommendation))

    def finish(self) -> None:
        """Wait until MLflow has the last of the record.

        Raises:
            TrackingAway: it does not take it; the journal keeps it.
        """
        self._tell(keys.ACTIVITY_ENDED)
        self.recorder.finish()
        if not self.recorder.drain(MLFLOW_AWAY_SECONDS):
            what = f"{self.recorder.unsent} of its records" if self.recorder.unsent else "the copy of its journal"
            raise TrackingAway(
                f"the study has its answer, but {what} did not reach MLflow: {self.recorder.trouble or 'it is slow'}",
                hint="they are kept; run the same command again when it works",
            )

    def _search(self) -> None:
        interrupted = deque(self.history.running)

        def ask(slots: int) -> list[Trial]:
            resumed = [interrupted.popleft() for _ in range(min(slots, len(interrupted)))]
            left = slots - len(resumed)
            # The first trial that the budget does not pay for ends the search.
            if self._out_of_budget or left == 0 or self._is_enough():
                return resumed
            wanted: list[Trial] = []
            # Once a confirmation has begun, nothing new is trained unless the search itself goes on.
            if not confirmation_began(self.history) or self.plan.strategy.ask(self.history, left):
                wanted = self._queued()[:left]
            if len(wanted) < left:
                known = self.history.opened(*wanted) if wanted else self.history
                wanted += self.plan.strategy.ask(known, left - len(wanted))
            affordable = self._affordable(wanted)
            self._out_of_budget = len(affordable) < len(wanted)
            return [*resumed, *affordable]

        expected = self.plan.strategy.expected
        self.watcher.begin("search", expected, self.plan.searched(self.history))
        self._work(ask, lambda trial: is_of_search(trial.seed))
        self._search_stopped = self._stopped or self._wish is Wish.CONFIRM
        if self._search_stopped:
            return
        if self._ending.reason is not None:
            self._remark(f"the search ended early: {self._ending.reason}")
        elif not self._out_of_budget and self.plan.searched(self.history).total() < expected.total():
            with self.watcher.busy("looking whether more trials would pay"):
                reason = self.plan.strategy.why_over(self.history)
            if reason is not None:
                self._remark(f"the search ended early: {reason}")

    def _queued(self) -> list[Trial]:
        """What somebody wants trained, and nobody has asked for yet."""
        queue = self._queue()
        for each in queue:
            if each.state == "left_out" and each.named not in self._left_out:
                self._left_out.add(each.named)
                self._say(f"{each.named} is not trained: {each.why}")
        return trials_of(queue, self.plan.problem)

    def _queue(self) -> tuple[QueuedMixture, ...]:
        """What somebody queued, as if no confirmation had begun; nothing where it cannot be read, which is said."""
        problem = self.plan.problem
        try:
            waiting = queued(self.plan.file.work_directory)
        except (ConfigError, OSError) as error:
            if "queue" not in self._left_out:
                self._left_out.add("queue")
                self._say(f"the queue is not read: {error}")
            return ()
        if not waiting:
            return ()
        search = self.history.only(lambda trial: is_of_search(trial.seed))
        return became_of(waiting, search, problem.target.proxy, broken_by(problem))

    def _never_trained(self) -> list[str]:
        """A sentence for each queued mixture of which the answer knows nothing."""
        if self._out_of_budget:
            why = "the budget did not pay for it"
        elif self._stopped or self._search_stopped:
            why = "mixopt stop ended the search before"
        else:
            why = "the search had ended before; raise trials, and it goes on with it"
        again = "mixopt ask --again" if self.plan.file.executor.kind == "external" else "--retry-failed"
        told = []
        for each in self._queue():
            if each.state == "failed":
                told.append(f"{each.named} failed, trial {each.trial}: {each.why}; {again} trains it again")
            elif each.state in ("waiting", "left_out"):
                told.append(f"{each.named} was not trained: {each.why or why}")
        return told

    def _is_enough(self) -> bool:
        """Whether nothing more is to be searched: somebody says so, or the study's own criteria."""
        return self._wish is Wish.CONFIRM or self._ending.is_reached(self.history)

    def _confirm(self, recommendation: Recommendation) -> Confirmation | None:
        settings = self.plan.file.confirm
        if settings.candidates == 0:
            return None
        candidates = recommendation.candidates[: settings.candidates]
        problem, seeds = self.plan.problem, settings.seeds

        def ask(slots: int) -> list[Trial]:
            return next_confirmations(problem, candidates, seeds, self.history)[:slots]

        ended = self.history.without_running().trials
        done = sum(not is_of_search(trial.seed) for trial in ended)
        expected = confirmation_size(problem, len(candidates), seeds)
        if not self._stopped:
            self.watcher.begin("confirm", Counter({problem.target: expected}), Counter({problem.target: done}))
            self._work(ask, lambda trial: not is_of_search(trial.seed))
        if self._stopped and next_confirmations(problem, candidates, seeds, self.history.without_running()):
            return None
        trust = self.plan.strategy.settings.trust
        found = confirm(problem, candidates, seeds, self.history, recommendation.expects, trust)
        if self._predictions is not None:
            self._keep(with_outcomes(self._predictions, found))
        return found

    def _predict(self, recommendation: Recommendation) -> None:
        """Before anything is confirmed, keep what is expected of it; what was kept before stays as it was."""
        predictions = foretell(self.plan, recommendation, past_calibration(self.plan))
        known = kept(predictions, self.recorder.begun.written.get(keys.PREDICTIONS))
        if known is not None:
            self._keep(known)

    def _keep(self, predictions: Predictions) -> None:
        recorded = self._predictions or read_predictions(self.recorder.begun.written.get(keys.PREDICTIONS))
        if predictions != recorded:
            self.recorder.write(keys.PREDICTIONS, predictions.plain(), keys.PREDICTIONS_FILE)
        self._predictions = predictions

    def _answer(self, recommendation: Recommendation, confirmation: Confirmation | None) -> Answer:
        remarks = [*self._remarks]
        if self._out_of_budget:
            remarks.append(f"the budget ended the search after {how_far(self.plan, self.history)}")
        if self._search_stopped:
            remarks.append(f"mixopt stop ended the search after {how_far(self.plan, self.history)}; {GOES_ON}")
        elif self._stopped:
            remarks.append(f"mixopt stop ended the study before its answer was confirmed; {GOES_ON}")
        remarks += self._never_trained()
        ended = confirmation is not None or self._stopped or self.plan.file.confirm.candidates == 0
        answer = build_answer(
            self.plan,
            self.history,
            recommendation,
            confirmation,
            self.recorder.run_id,
            ended,
            remarks,
            self._predictions,
        )
        self.recorder.write(keys.ANSWER, answer.plain(), keys.ANSWER_FILE)
        log.info("the answer: %s", answer.verdict)
        self._page.answered(answer)
        return answer

    def _work(self, ask: Callable[[int], list[Trial]], of_phase: Callable[[Trial], bool]) -> None:
        """Keep the executor's slots filled with what `ask` gives, until it gives nothing and none of the phase runs.

        It is asked again once a trial has closed, before which it knows no more, or where more slots have come; not at
        all while the study is paused. Where it is stopped, what runs is ended.
        """
        due, left_free, over = True, 0, False
        asked: list[Trial] = []  # that were not launched yet
        while True:
            self._heed()
            if self._stopped:
                return
            paused = self._wish is Wish.PAUSE
            free = self.executor.slots - len(self._in_flight)
            if not paused and (asked or due or free > left_free):
                asked = asked or (ask(free) if free > 0 else [])
                due = False
                if asked and not self._compile():
                    if self._asked() is Wish.CONFIRM:
                        # The search takes up what was begun before, and nothing new; a confirmation is asked again.
                        begun = {trial.id for trial in self.history.running}
                        asked, due = [trial for trial in asked if trial.id in begun], True
                    continue
                self.executor.announce(asked)
                for trial in asked:
                    self._launch(trial)
                left_free = self.executor.slots - len(self._in_flight)
                over, asked = len(asked) < free, []
            if not any(map(of_phase, self._in_flight.values())) and (over or not self._in_flight):
                if not paused:
                    return
                self._wait()
                due = True
                continue
            for event in self.executor.events():
                self._hear(event)
                due = due or isinstance(event, TrialEnd)
            self._look_after_mlflow()
            self._page.refresh()

    def _hear(self, event: Event) -> None:
        """What the executor has to say."""
        match event:
            case TrialEnd():
                self._close(event.trial, event.outcome)
            case Notice():
                self._say(event.text)
                if event.waits is not None:
                    self.watcher.waits(event.text if event.waits else None)
            case TrialRestart():
                log.warning("trial %s: start %d, because %s", event.trial.id, event.start, event.reason)
                self.recorder.restarted(event.trial, event.start, event.reason)
                self._page.restarted()
                self.watcher.restarted(event)
            case TrialProgress():
                self.watcher.progressed(event)
                if event.losses:
                    self.recorder.progress(event.trial, event.tokens, event.losses)

    def _heed(self) -> None:
        """Look what is asked of the study, and say so where it is something new.

        Raises:
            KeyboardInterrupt: it is cancelled.
        """
        wish, before = self._asked(), self._wish
        self._wish = wish
        if wish is Wish.CANCEL:
            raise KeyboardInterrupt
        self._tell(activity(wish, trains=bool(self._in_flight)))
        if wish is Wish.STOP:
            self._stopped = True
            self.executor.close()
        if wish != before:
            self._say(SAID[wish].format(file=self.plan.file.file))

    def _tell(self, told: str) -> None:
        if told != self._activity:
            self._activity = told
            self.recorder.tell(told)

    def _wait(self) -> None:
        """Until something else is asked than a pause, which is no part of the study's time."""
        began = time.monotonic()
        while self._asked() is Wish.PAUSE:
            self._look_after_mlflow()
            # A cluster that goes away meanwhile has to be let go of.
            for event in self.executor.events():
                self._hear(event)
            time.sleep(LOOK_SECONDS)
        self._began += (paused := time.monotonic() - began)
        self.watcher.paused(paused)

    def _remark(self, text: str) -> None:
        """Something that is said now, and in the answer."""
        self._remarks.append(text)
        self._say(text)

    def _say(self, text: str) -> None:
        log.warning(text)
        self.watcher.remark(text)

    def _launch(self, trial: Trial) -> None:
        job = self.plan.given(trial, self.history)
        if trial.id in self._anew:
            self._anew.remove(trial.id)
            self.executor.forget(job)
        if not (self.executor.trains_on and trial in self.history.running):
            self.recorder.open(trial, self.plan.strategy.foreseen(trial), self.executor.client)
            where = (trial.id, trial.origin, trial.fidelity.proxy, trial.seed)
            log.info("trial %s (%s, proxy %s, seed %d) is launched", *where)
            self.history = self.history.opened(trial)
            self._page.opened(trial)
        self.watcher.launched(trial)
        self.executor.launch(job)
        self._in_flight[trial.id] = trial

    def _look_after_mlflow(self) -> None:
        """Say when it goes away, and when it has everything again.

        Raises:
            TrackingError: another driver has the study now, or MLflow refuses for good.
        """
        self.recorder.check()
        trouble = self.recorder.trouble
        if not self.mlflow_is_away and trouble is not None:
            self.mlflow_is_away = True
            self._say(f"{trouble}; the trials go on, their records wait for it")
            self._remember_mlflow(trouble)
        elif self.mlflow_is_away and trouble is None and not self.recorder.is_behind:
            self.mlflow_is_away = False
            self._say("MLflow is back, and has every record")
            self._remember_mlflow("")

    def _remember_mlflow(self, trouble: str) -> None:
        """For whoever asks for the study's status."""
        self.recorder.log_metrics({}, 0, {keys.AWAY: trouble})

    def _compile(self) -> bool:
        """Before the first trial, so that none waits for it; later the machines are busy.

        Returns:
            Whether that is done; else something new was asked of the study, and it is to be done again.
        """
        for proxy, recipe in self.plan.recipes.items():
            if not recipe.compiled or proxy in self._compiled:
                continue
            with self.watcher.busy(f"compiling proxy {proxy}, once per machine"):
                try:
                    reason = self.executor.compile(recipe, self.watcher.remark, self._is_heeded)
                except Unwanted:
                    return False
            self._compiled.add(proxy)
            if reason is not None:
                # No trial needs to find out again.
                recipes = dict(self.plan.recipes) | {proxy: replace(recipe, compiled=False)}
                self.plan = replace(self.plan, recipes=recipes)
                self._remark(f"proxy {proxy} is trained without being compiled, slower: {reason}")
        return True

    def _is_heeded(self) -> bool:
        """Whether nothing was asked of the study since it last looked."""
        return self._asked() is self._wish

    def _close(self, trial: Trial, outcome: Measurement | Failure) -> None:
        del self._in_flight[trial.id]
        self._ending.closed(trial)
        self.history = self.history.closed(trial, outcome)
        standing = self.plan.problem.standing(trial, self.history)
        objective = None if standing is None else standing.objective
        self.recorder.close_trial(trial, outcome, objective)
        if isinstance(outcome, Failure):
            said = f"{outcome.kind.value}: {outcome.message}\n{outcome.traceback}".rstrip()
            log.warning("trial %s failed: %s", trial.id, said)
        else:
            log.info("trial %s is measured in %.1f s, objective %s", trial.id, outcome.seconds, objective)
        # The checkpoint has done its duty only now that the outcome is recorded.
        self.plan.exchange.discard(trial)
        self._page.closed(trial, outcome, standing, self.history)
        self.watcher.closed(trial, outcome, standing)
        self._give_up_after_failures(trial, outcome)

    def _give_up_after_failures(self, trial: Trial, outcome: Measurement | Failure) -> None:
        if isinstance(outcome, Measurement):
            self._failures_in_a_row = 0
            return
        if self.plan.file.executor.kind == "external":
            return  # whoever tells of failures sees them
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= (FAILURES_LATER if self.history.completed else FAILURES_AT_FIRST):
            raise ConfigError(
                f"{self._failures_in_a_row} trials in a row failed, the last: {outcome.kind.value}: {outcome.message}",
                hint=self._remedy(trial, outcome),
            )

    def _remedy(self, trial: Trial, failure: Failure) -> str:
        """What mends a failure: how proxies are trained is part of the study, so to change that begins another."""
        if failure.kind is FailureKind.DIVERGED and self.plan.recipes:
            proxy = f"proxies.{trial.fidelity.proxy}"
            rate = self.plan.recipes[trial.fidelity.proxy].learning_rate
            return (
                f"set {proxy}.learning_rate below its {rate:.2g}, and another name under `study:`: trials of two "
                "learning rates are no one study"
            )
        return "mend the cause (executor, directory and tracking may change), then run it again with --retry-failed"

    @property
    def _seconds(self) -> float:
        """How long the study has run, over all resumes."""
        return self._seconds_before + time.monotonic() - self._began

    def _affordable(self, trials: list[Trial]) -> list[Trial]:
        """The first of `trials` that the budget pays for, with the confirmation's part kept aside.

        Failed trials are charged in full: what they spent before they died is not known; stopped ones as measured.
        """
        budget = self.plan.file.budget
        if budget.time is not None and self._seconds >= budget.time:
            return []
        if budget.flops is None:
            return trials
        left = budget.flops - self.plan.confirmation_flops
        saved = {entry.trial.id: entry.trial.fidelity.flops - entry.measurement.flops for entry in self.history.stopped}
        left -= sum(
            trial.fidelity.flops - saved.get(trial.id, 0.0) for trial in self.history.trials if is_of_search(trial.seed)
        )
        costs = accumulate(trial.fidelity.flops for trial in trials)
        return [trial for trial, cost in zip(trials, costs, strict=True) if cost <= left]
