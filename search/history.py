"""The history of a study: all that a strategy sees."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

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
    """Completed, running and failed trials, each in the order of their ids.

    The order of arrival is forgotten on purpose: a study that was killed and resumed, or ran on other
    workers, has the same history, and so the same next question and the same answer.

    Raises:
        SearchError: a trial stands in two places.
    """

    completed: tuple[Completed, ...] = ()
    running: tuple[Trial, ...] = ()
    failed: tuple[Failed, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "completed", tuple(sorted(self.completed, key=lambda entry: entry.trial.id)))
        object.__setattr__(self, "running", tuple(sorted(self.running, key=lambda trial: trial.id)))
        object.__setattr__(self, "failed", tuple(sorted(self.failed, key=lambda entry: entry.trial.id)))
        if len(self.trial_ids) != len(self.completed) + len(self.running) + len(self.failed):
            raise SearchError("a trial is recorded twice in one history")

    @cached_property
    def trial_ids(self) -> frozenset[str]:
        """Every trial ever asked for, whatever became of it."""
        return frozenset(trial.id for trial in self.trials)

    @property
    def trials(self) -> tuple[Trial, ...]:
        done = (*(entry.trial for entry in self.completed), *(entry.trial for entry in self.failed))
        return (*done, *self.running)

    @cached_property
    def measurements(self) -> dict[str, Measurement]:
        """Measurements by trial id."""
        return {entry.trial.id: entry.measurement for entry in self.completed}

    def at(self, fidelity: Fidelity) -> tuple[Completed, ...]:
        """The completed trials at one fidelity."""
        return tuple(entry for entry in self.completed if entry.trial.fidelity.same_as(fidelity))

    def measured(self, mixture: Mixture, fidelity: Fidelity, seed: int) -> Measurement | None:
        """The measurement of that very trial, or None where it has none (yet)."""
        return self.measurements.get(Trial(mixture, fidelity, seed).id)

    def opened(self, *trials: Trial) -> History:
        """The history in which these trials are running, whatever had become of them."""
        completed, running, failed = self._without({trial.id for trial in trials})
        return History(completed, (*running, *trials), failed)

    def closed(self, trial: Trial, outcome: Measurement | Failure) -> History:
        """The history in which this trial ended so."""
        completed, running, failed = self._without({trial.id})
        if isinstance(outcome, Measurement):
            return History((*completed, Completed(trial, outcome)), running, failed)
        return History(completed, running, (*failed, Failed(trial, outcome)))

    def _without(self, ids: set[str]) -> tuple[tuple[Completed, ...], tuple[Trial, ...], tuple[Failed, ...]]:
        return (
            tuple(entry for entry in self.completed if entry.trial.id not in ids),
            tuple(trial for trial in self.running if trial.id not in ids),
            tuple(entry for entry in self.failed if entry.trial.id not in ids),
        )

    def without_running(self) -> History:
        return History(self.completed, (), self.failed)

    @property
    def flops(self) -> float:
        """Floating-point operations of the completed trials."""
        return sum(entry.measurement.flops for entry in self.completed)

    def new(self, trials: Iterable[Trial]) -> list[Trial]:
        """Those of `trials` never asked for before, each once, in the given order."""
        seen = set(self.trial_ids)
        fresh = []
        for trial in trials:
            if trial.id not in seen:
                seen.add(trial.id)
                fresh.append(trial)
        return fresh
