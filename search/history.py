"""The history of a study: all that a strategy sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter

from search.errors import SearchError
from search.fidelity import Fidelity
from search.mixture import Mixture
from search.trial import Failure, Measurement, Trial


@dataclass(frozen=True)
class Completed:
    trial: Trial
    measurement: Measurement


@dataclass(frozen=True)
class Failed:
    trial: Trial
    failure: Failure


@dataclass(frozen=True)
class History:
    """Completed, running, failed and stopped trials, each in the order of their ids.

    A stopped trial measured its mixture at fewer tokens than its fidelity's, because it was hopeless.

    The order of arrival is forgotten on purpose: a study that was killed and resumed, or ran on other
    workers, has the same history, and so the same next question and the same answer.

    Raises:
        SearchError: a trial stands in two places.
    """

    completed: tuple[Completed, ...] = ()
    running: tuple[Trial, ...] = ()
    failed: tuple[Failed, ...] = ()
    stopped: tuple[Completed, ...] = ()

    def __post_init__(self) -> None:
        for place in ("completed", "failed", "stopped"):
            object.__setattr__(self, place, tuple(sorted(getattr(self, place), key=attrgetter("trial.id"))))
        object.__setattr__(self, "running", tuple(sorted(self.running, key=attrgetter("id"))))
        count = len(self.completed) + len(self.running) + len(self.failed) + len(self.stopped)
        if len(self.trial_ids) != count:
            raise SearchError("a trial is recorded twice in one history")

    @classmethod
    def of(cls, trials: Iterable[Trial], outcomes: Mapping[str, Measurement | Failure]) -> History:
        """The history of these trials, by id with what became of them; the rest are running."""
        completed: list[Completed] = []
        stopped: list[Completed] = []
        failed: list[Failed] = []
        running: list[Trial] = []
        for trial in trials:
            outcome = outcomes.get(trial.id)
            if outcome is None:
                running.append(trial)
            elif isinstance(outcome, Failure):
                failed.append(Failed(trial, outcome))
            else:
                (completed if outcome.stopped_at is None else stopped).append(Completed(trial, outcome))
        return cls(tuple(completed), tuple(running), tuple(failed), tuple(stopped))

    @cached_property
    def trial_ids(self) -> frozenset[str]:
        """Every trial ever asked for, whatever became of it."""
        return frozenset(map(attrgetter("id"), self.trials))

    @property
    def trials(self) -> tuple[Trial, ...]:
        measured = (entry.trial for entry in (*self.completed, *self.stopped))
        return (*measured, *(entry.trial for entry in self.failed), *self.running)

    @cached_property
    def measurements(self) -> dict[str, Measurement]:
        """Measurements of the completed trials, by trial id."""
        return {entry.trial.id: entry.measurement for entry in self.completed}

    @property
    def measured_ids(self) -> frozenset[str]:
        """Of the completed and the stopped trials."""
        return frozenset(entry.trial.id for entry in (*self.completed, *self.stopped))

    def at(self, fidelity: Fidelity) -> tuple[Completed, ...]:
        """The completed trials at one fidelity."""
        return tuple(entry for entry in self.completed if entry.trial.fidelity == fidelity)

    def measured(self, mixture: Mixture, fidelity: Fidelity, seed: int) -> Measurement | None:
        """The measurement of that very trial, or None where it has none (yet)."""
        return self.measurements.get(Trial(mixture, fidelity, seed).id)

    def opened(self, *trials: Trial) -> History:
        """The history in which these trials are running, whatever had become of them."""
        return self._with(trials, running=trials)

    def closed(self, trial: Trial, outcome: Measurement | Failure) -> History:
        """The history in which this trial ended so."""
        if isinstance(outcome, Failure):
            return self._with([trial], failed=[Failed(trial, outcome)])
        entry = Completed(trial, outcome)
        if outcome.stopped_at is not None:
            return self._with([trial], stopped=[entry])
        return self._with([trial], completed=[entry])

    def _with(
        self,
        trials: Iterable[Trial],
        completed: Iterable[Completed] = (),
        running: Iterable[Trial] = (),
        failed: Iterable[Failed] = (),
        stopped: Iterable[Completed] = (),
    ) -> History:
        """These entries in the place of whatever had become of the trials."""
        known = {trial.id for trial in trials} & self.trial_ids
        # Histories grow long and this is done for each trial: only the running ones are looked through, as a rule.
        going_on = tuple(trial for trial in self.running if trial.id not in known)
        rest = self
        if len(self.running) - len(going_on) < len(known):
            rest = self.only(lambda trial: trial.id not in known)
        return History(
            (*rest.completed, *completed), (*going_on, *running), (*rest.failed, *failed), (*rest.stopped, *stopped)
        )

    def only(self, wanted: Callable[[Trial], bool]) -> History:
        """The history of the trials that are `wanted`."""
        return History(
            tuple(entry for entry in self.completed if wanted(entry.trial)),
            tuple(trial for trial in self.running if wanted(trial)),
            tuple(entry for entry in self.failed if wanted(entry.trial)),
            tuple(entry for entry in self.stopped if wanted(entry.trial)),
        )

    def without_running(self) -> History:
        return replace(self, running=())

    @property
    def flops(self) -> float:
        """Floating-point operations of the completed and the stopped trials."""
        return sum(entry.measurement.flops for entry in (*self.completed, *self.stopped))

    def new(self, trials: Iterable[Trial]) -> list[Trial]:
        """Those of `trials` never asked for before, each once, in the given order."""
        seen = set(self.trial_ids)
        fresh = []
        for trial in trials:
            if trial.id not in seen:
                seen.add(trial.id)
                fresh.append(trial)
        return fresh
