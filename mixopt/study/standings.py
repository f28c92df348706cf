"""Where the trials of a record stand, by their objective: what a `Problem` says of them, without the study's tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mixopt.settings.schema import StudyFile
from mixopt.study.objective import objective_in, objective_of
from search.history import Completed, History
from search.mixture import Mixture
from search.objective import Objective
from search.problem import BASELINE, Standing, standing_of
from search.seeds import SEARCH_SEED
from search.trial import Trial
from tracking.record import Record


@dataclass(frozen=True)
class Standings:
    """
    Attributes:
        proxy: the target's.
    """

    record: Record
    objective: Objective
    proxy: str

    @classmethod
    def of(cls, record: Record, file: StudyFile | None = None) -> Standings | None:
        """By what the file asks, or else what the study began with; None where neither says it."""
        if file is not None:
            return cls(record, objective_of(file), list(file.proxies)[-1])
        settings = record.subject.settings
        objective = objective_in(settings)
        if objective is None or settings is None:
            return None
        return cls(record, objective, settings["order"]["proxies"][-1])

    @property
    def history(self) -> History:
        return self.record.history

    @property
    def at_target(self) -> list[Completed]:
        """All that was completed at the target, the confirmation too."""
        return [entry for entry in self.history.completed if entry.trial.fidelity.proxy == self.proxy]

    @property
    def baseline(self) -> Mixture | None:
        """The mixture that the objective is measured against, if it is, and was trained."""
        name = f"{BASELINE}{self.objective.baseline}"
        return next((trial.mixture for trial in self.history.trials if trial.origin == name), None)

    def standings(self, trials: Iterable[Trial]) -> dict[str, Standing]:
        """By trial id; without those that cannot be judged (yet)."""
        baseline, history = self.baseline, self.history
        found = ((trial.id, standing_of(self.objective, baseline, trial, history)) for trial in trials)
        return {name: standing for name, standing in found if standing is not None}

    @property
    def searched(self) -> list[tuple[Trial, Standing]]:
        """The search's trials of the target in the order in which they ended, without its repeats."""
        place = {name: number for number, name in enumerate(self.record.ended)}
        trials = [entry.trial for entry in self.at_target if entry.trial.seed == SEARCH_SEED]
        trials.sort(key=lambda trial: place.get(trial.id, -1))
        standings = self.standings(trials)
        return [(trial, standings[trial.id]) for trial in trials if trial.id in standings]
