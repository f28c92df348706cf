"""When a search has enough, by what the study file names: an objective, trials without a better one, a known gain.

What is decided follows from what has ended, in the order in which it did. Trials that ran meanwhile come later and
might say otherwise, so the end is recorded: a study that is run again with the same setting has ended there.
"""

from __future__ import annotations

import json
from math import ceil, inf

from mixopt.study.plan import Plan
from mixopt.study.progress import Watcher
from search.errors import SearchError
from search.history import History
from search.objective import UNITS
from search.problem import Standing
from search.recommendation.recommendation import Estimate
from search.seeds import SEARCH_SEED, is_of_search
from search.trial import Trial
from tracking import keys
from tracking.recorder import Recorder

# To know the gain takes a fit, so it is looked at after so many trials at the target, and each time some more.
FIRST_LOOK = 8
GROWTH = 1.1


class Ending:
    """
    Attributes:
        reason: why the search has ended, in a sentence; None while it goes on.
    """

    def __init__(self, plan: Plan, recorder: Recorder, watcher: Watcher) -> None:
        self._plan = plan
        self._recorder = recorder
        self._watcher = watcher
        self._standings: dict[str, Standing] = {}
        begun = recorder.begun
        trials = {trial.id: trial for trial in begun.history.trials}
        self._ended = [trials[each] for each in begun.ended if self._counts(trials[each])]
        self._looked_at = self._at_target(begun.history) - 1
        self.reason = self._recorded()

    def closed(self, trial: Trial) -> None:
        """The last that has ended is this one."""
        if self._counts(trial):
            # One that failed before, and is trained again, stands there already.
            self._ended = [*(each for each in self._ended if each.id != trial.id), trial]

    def is_reached(self, history: History) -> bool:
        """Whether one of the criteria is met now, or was before."""
        if self.reason is None:
            search = self._plan.file.search
            for criterion, reason in (
                ("stop_at_objective", self._objective_reached(history, search.stop_at_objective)),
                ("stop_without_improvement", self._nothing_better(history, search.stop_without_improvement)),
                ("stop_at_gain_width", self._gain_known(history, search.stop_at_gain_width)),
            ):
                if reason is not None:
                    self.reason = f"{reason} (search.{criterion})"
                    self._record(criterion)
                    break
        return self.reason is not None

    def _objective_reached(self, history: History, wanted: float | None) -> str | None:
        if wanted is None:
            return None
        reached = (
            (trial, standing) for trial in self._ended if (standing := self._standing(trial, history)) is not None
        )
        for trial, standing in reached:
            if standing.allowed and standing.objective <= wanted:
                return f"trial {trial.id[:6]} ({trial.origin}) reached {standing.objective:.4f}, {wanted:g} was wanted"
        return None

    def _nothing_better(self, history: History, most: int | None) -> str | None:
        if most is None:
            return None
        stopped = {entry.trial.id for entry in history.stopped}
        best, since = inf, 0
        for trial in self._ended:
            standing = self._standing(trial, history)
            if standing is not None and standing.order < best:
                best, since = standing.order, 0
            elif standing is not None or trial.id in stopped:
                since += 1
        return f"the last {since} trials of the target brought nothing better" if since >= most else None

    def _gain_known(self, history: History, width: float | None) -> str | None:
        trials = self._at_target(history)
        if width is None or not _is_due(self._looked_at, trials):
            return None
        self._looked_at = trials
        with self._watcher.busy("looking how well the gain is known"):
            gain = self._gain(history)
        if gain is None or gain.upper - gain.lower >= width:
            return None
        unit = UNITS[self._plan.problem.objective.unit]
        return (
            f"after {trials} trials of the target the gain is known to lie between {gain.lower:+.4f} and "
            f"{gain.upper:+.4f} {unit}, {gain.upper - gain.lower:.4f} apart"
        )

    def _gain(self, history: History) -> Estimate | None:
        """What the answer is expected to gain over proportional; None while no regression is trusted with that."""
        try:
            return self._plan.strategy.recommend(history.without_running()).gain
        except SearchError:
            return None  # too little has been measured for any answer

    def _standing(self, trial: Trial, history: History) -> Standing | None:
        """None before the baseline that it is judged by is measured."""
        if trial.id not in self._standings:
            found = self._plan.problem.standing(trial, history)
            if found is None:
                return None
            self._standings[trial.id] = found
        return self._standings[trial.id]

    def _counts(self, trial: Trial) -> bool:
        return trial.fidelity == self._plan.problem.target and trial.seed == SEARCH_SEED

    def _at_target(self, history: History) -> int:
        return sum(is_of_search(entry.trial.seed) for entry in history.at(self._plan.problem.target))

    def _record(self, criterion: str) -> None:
        end = {"criterion": criterion, "value": getattr(self._plan.file.search, criterion), "reason": self.reason}
        self._recorder.log_metrics({}, 0, {keys.SEARCH_ENDED: json.dumps(end)})

    def _recorded(self) -> str | None:
        """Why the search ended before, where the study file names that criterion still, with the same value."""
        try:
            end = json.loads(self._recorder.begun.tags.get(keys.SEARCH_ENDED, "null"))
            criterion, reason = end["criterion"], str(end["reason"])
            return reason if getattr(self._plan.file.search, criterion, None) == end["value"] else None
        except (ValueError, TypeError, KeyError):
            return None


def _is_due(looked_at: int, trials: int) -> bool:
    """Whether a count at which one looks was reached since `looked_at` trials."""
    point = FIRST_LOOK
    while point <= looked_at:
        point = max(point + 1, ceil(GROWTH * point))
    return point <= trials
