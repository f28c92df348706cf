"""The trials of a study as a list: what for, what became of them, and what they measured."""

from __future__ import annotations

import csv
from io import StringIO
from math import inf
from typing import TYPE_CHECKING, Literal

from mixopt.results.trials import ListedTrial, Purpose, State, TrialList
from mixopt.runs.table import WEIGHT
from mixopt.study.attaching import ORIGIN as ATTACHED
from mixopt.study.queue import ORIGIN as QUEUED
from mixopt.study.standings import Standings
from mixopt.study.status import activity_now, shown_moment, state_of
from search.history import Completed, Failed
from search.problem import BASELINE
from search.seeds import SEARCH_SEED, is_of_search
from tracking import keys
from tracking.record import Record

if TYPE_CHECKING:
    from mixopt.settings.schema import StudyFile
    from search.trial import Trial

Sorting = Literal["began", "ended", "objective", "seconds"]
# Of strategies: trials that are asked for before anything is known.
DESIGNS = ("design", "warm")


def list_trials(
    record: Record,
    file: StudyFile | None = None,
    sort: Sorting = "began",
    failed: bool = False,
    limit: int | None = None,
) -> TrialList:
    """
    Args:
        sort: by when they began or ended, the oldest first; by objective, the target's first, and of each proxy the
            best; by seconds, the longest first.
        failed: those that failed alone.
        limit: so many; of those in time the latest, else the first.
    """
    standings = Standings.of(record, file)
    found = _all(record, file, standings)
    wanted = [each for each in found if each.state == "failed"] if failed else found
    if sort == "ended":
        place = {name: number for number, name in enumerate(record.ended)}
        # Those that have not ended come first, so that the latest to end are the last.
        wanted.sort(key=lambda each: place.get(each.trial, -1))
    elif sort == "seconds":
        wanted.sort(key=lambda each: inf if each.seconds is None else -each.seconds)
    elif sort == "objective":
        target = None if standings is None else standings.proxy
        wanted.sort(key=lambda each: _by_objective(each, target))
    if limit is not None:
        wanted = wanted[:limit] if sort in ("objective", "seconds") else wanted[max(len(wanted) - limit, 0) :]
    return TrialList(
        study=record.subject.study,
        target=None if standings is None else standings.proxy,
        unit=None if standings is None else standings.objective.unit,
        of=len(found),
        trials=tuple(wanted),
    )


def rows_of(listed: TrialList) -> list[dict[str, object]]:
    """A row per trial, with a column for each domain's share."""
    return [
        each.model_dump(exclude={"mixture"}) | {WEIGHT + domain: share for domain, share in each.mixture.items()}
        for each in listed.trials
    ]


def csv_text(listed: TrialList) -> str:
    """The rows as CSV; numbers keep every bit."""
    rows, text = rows_of(listed), StringIO()
    columns = rows[0] if rows else [name for name in ListedTrial.model_fields if name != "mixture"]
    writer = csv.DictWriter(text, fieldnames=list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def purpose_of(trial: Trial) -> Purpose:
    if not is_of_search(trial.seed):
        return "confirm"
    if trial.seed != SEARCH_SEED:
        return "repeat"
    if trial.origin.startswith(BASELINE):
        return "baseline"
    if trial.origin == QUEUED:
        return "queued"
    if trial.origin == ATTACHED:
        return "attached"
    return "design" if trial.origin in DESIGNS else "search"


def _all(record: Record, file: StudyFile | None, standings: Standings | None) -> list[ListedTrial]:
    """In the order in which they began."""
    history = record.history
    entries: dict[str, Completed | Failed] = {
        **{entry.trial.id: entry for entry in (*history.completed, *history.stopped)},
        **{entry.trial.id: entry for entry in history.failed},
    }
    judged = {} if standings is None else standings.standings(history.trials)
    activity, _ = activity_now(record, file)
    nobody = activity in (keys.ACTIVITY_PAUSED, keys.ACTIVITY_INTERRUPTED, keys.ACTIVITY_ENDED)
    place = {name: number for number, name in enumerate(record.opened_at)}
    listed = []
    for trial in sorted(history.trials, key=lambda each: place.get(each.id, -1)):
        entry, standing = entries.get(trial.id), judged.get(trial.id)
        failure = entry.failure if isinstance(entry, Failed) else None
        open_state: State = "interrupted" if nobody else "running"
        listed.append(
            ListedTrial(
                trial=trial.id,
                purpose=purpose_of(trial),
                origin=trial.origin,
                proxy=trial.fidelity.proxy,
                tokens=trial.fidelity.tokens,
                seed=trial.seed,
                state=open_state if entry is None else state_of(entry),
                objective=None if standing is None else standing.objective,
                allowed=None if standing is None else standing.allowed,
                seconds=None if entry is None else _seconds(entry),
                starts=record.starts.get(trial.id, 1),
                began=shown_moment(record.opened_at.get(trial.id)),
                ended=shown_moment(record.closed_at.get(trial.id)),
                mixture=trial.mixture.as_dict(),
                kind=None if failure is None else failure.kind.value,
                message=None if failure is None else failure.message,
            )
        )
    return listed


def _seconds(entry: Completed | Failed) -> float:
    return entry.failure.seconds if isinstance(entry, Failed) else entry.measurement.seconds


def _by_objective(each: ListedTrial, target: str | None) -> tuple[bool, str, bool, bool, float]:
    """The target's first, then the others by name; the confirmation, which has other documents, after the search.

    What breaks a constraint, or measured nothing, comes behind the others.
    """
    value = inf if each.objective is None else each.objective
    return each.proxy != target, each.proxy, each.purpose == "confirm", each.allowed is not True, value
