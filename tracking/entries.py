"""What a driver records of a study, entry by entry: values, as plain data for JSON and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from search.history import History
from search.trial import Failure, Measurement, Trial
from tracking import codec


@dataclass(frozen=True)
class Opened:
    """A trial is about to be launched, `at` ms of Unix time.

    Attributes:
        foreseen: mean and standard deviation of the objective that is expected of it, where it was asked for by that.
        client: who trains it, where that is somebody who asked for it.
    """

    trial: Trial
    at: int | None = None
    foreseen: tuple[float, float] | None = None
    client: str | None = None


@dataclass(frozen=True)
class Restarted:
    """A trial goes on from its checkpoint; `start` is 2 after the first death of a worker that this driver saw."""

    trial: Trial
    start: int
    reason: str


@dataclass(frozen=True)
class Closed:
    """What became of a trial, known `at` ms of Unix time."""

    trial: Trial
    outcome: Measurement | Failure
    objective: float | None = None
    at: int | None = None


@dataclass(frozen=True)
class StudyMetrics:
    """Metrics of the study after `step` closed trials, `at` ms of Unix time, and tags that it has from now on."""

    metrics: Mapping[str, float]
    step: int
    at: int
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Written:
    """A JSON value that belongs to the study, and the artifact to see it in."""

    key: str
    data: Mapping[str, Any]
    file: str


@dataclass(frozen=True)
class Finished:
    """The study came to its end."""


Entry = Opened | Restarted | Closed | StudyMetrics | Written | Finished


def entries_of(history: History) -> Iterator[Entry]:
    """The entries that lead to a history."""
    for trial in history.trials:
        yield Opened(trial)
    for entry in (*history.completed, *history.stopped):
        yield Closed(entry.trial, entry.measurement)
    for each in history.failed:
        yield Closed(each.trial, each.failure)


def entry_to_plain(entry: Entry) -> dict[str, Any]:
    plain: dict[str, Any]
    match entry:
        case Opened(trial, at, foreseen, client):
            plain = {"opened": codec.trial_to_plain(trial), "at": at}
            if foreseen is not None:
                plain["foreseen"] = list(foreseen)
            if client is not None:
                plain["client"] = client
        case Restarted(trial, start, reason):
            plain = {"restarted": trial.id, "start": start, "reason": reason}
        case Closed(trial, Failure() as failure, _, at):
            plain = {"closed": trial.id, "failure": codec.failure_to_plain(failure), "at": at}
        case Closed(trial, Measurement() as measurement, objective, at):
            measured = codec.measurement_to_plain(measurement)
            plain = {"closed": trial.id, "objective": objective, "measurement": measured, "at": at}
        case StudyMetrics(metrics, step, at, tags):
            plain = {"reported": dict(metrics), "step": step, "at": at, "tags": dict(tags)}
        case Written(key, data, file):
            plain = {"written": key, "data": dict(data), "file": file}
        case Finished():
            plain = {"finished": True}
    return plain


def entry_from_plain(plain: Mapping[str, Any], trials: Mapping[str, Trial]) -> Entry:
    """
    Args:
        trials: those of the entries before, by id.

    Raises:
        ValueError, KeyError, TypeError: it is no entry, or one of a trial that was never opened.
    """
    match plain:
        case {"opened": trial, "at": at}:
            client = plain.get("client")
            if not isinstance(client, str | None):
                raise TypeError("a client is a name")
            return Opened(codec.trial_from_plain(trial), at, _pair(plain.get("foreseen")), client)
        case {"restarted": str(trial_id), "start": int(start), "reason": str(reason)}:
            return Restarted(trials[trial_id], start, reason)
        case {"closed": str(trial_id), "measurement": dict(measurement), "objective": objective, "at": at}:
            return Closed(trials[trial_id], codec.measurement_from_plain(measurement), objective, at)
        case {"closed": str(trial_id), "failure": dict(failure), "at": at}:
            return Closed(trials[trial_id], codec.failure_from_plain(failure), at=at)
        case {"reported": dict(metrics), "step": int(step), "at": at, "tags": dict(tags)}:
            return StudyMetrics(metrics, step, at, tags)
        case {"written": str(key), "data": dict(data), "file": str(file)}:
            return Written(key, data, file)
        case {"finished": True}:
            return Finished()
    raise ValueError("an entry of no known kind")


def _pair(plain: Any) -> tuple[float, float] | None:
    if plain is None:
        return None
    mean, sd = plain
    return float(mean), float(sd)
