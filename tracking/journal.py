"""The journal of a study: what its driver decided and learned, in order, on the disk before the driver goes on.

    study.py ──entry──▶ journal.jsonl ──Recorder──▶ MLflow
                            │            (waits where MLflow is away)
                            └──history()──▶ a driver that begins where another died

One line of JSON an entry. A line that a death cut off is no entry: it is removed when the journal is opened again.
`journal.sent` counts the entries that MLflow has; entries may be sent twice, which changes nothing there.
"""

from __future__ import annotations

import gc
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from search.history import History
from search.trial import Failure, Measurement, Trial
from tracking import codec
from tracking.errors import TrackingError

SCHEMA = 2
WITHOUT_IT = "remove it: the study then resumes from what MLflow has"


@dataclass(frozen=True)
class Opened:
    """A trial is about to be launched, `at` ms of Unix time."""

    trial: Trial
    at: int | None = None


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
class Reported:
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


Entry = Opened | Restarted | Closed | Reported | Written | Finished


class Journal:
    """
    Attributes:
        id: of this very file: MLflow remembers which journal was the last to write to it.
        subject: what the study is about, as `create` was told.
        sent: how many of its entries MLflow has.

    Raises:
        TrackingError: the file is no journal.
    """

    def __init__(self, path: Path) -> None:
        """Open the journal that `create` made, for the only process that writes to it."""
        self.path = path
        self._sent_path = path.with_suffix(".sent")
        header = _header(path)
        self.id = identity(path)
        self.subject: str = header["subject"]
        self.sent = self._read_sent()
        # What comes next must not stick to a line that a death cut off.
        os.truncate(path, _whole_lines(path))
        self._file = path.open("ab")

    @classmethod
    def create(cls, path: Path, subject: str, sent: Iterable[Entry], unsent: Iterable[Entry] = ()) -> Self:
        """A new journal in the place of any other.

        Args:
            sent: entries that MLflow has already.
            unsent: those that it is to get.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        header = {"schema": SCHEMA, "subject": subject, "id": uuid.uuid4().hex}
        temporary = path.with_suffix(".partial")
        count = 0
        with temporary.open("wb") as file:
            file.write(_line(header))
            for entry in sent:
                file.write(_line(_to_plain(entry)))
                count += 1
            for entry in unsent:
                file.write(_line(_to_plain(entry)))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        journal = cls(path)
        journal.mark_sent(count)
        return journal

    def append(self, entry: Entry) -> None:
        """Keep an entry; it is on the disk when this returns."""
        self._file.write(_line(_to_plain(entry)))
        self._file.flush()
        os.fsync(self._file.fileno())

    def mark_sent(self, count: int) -> None:
        """MLflow has the first `count` entries. Where this is lost all are sent again."""
        self.sent = count
        temporary = self._sent_path.with_suffix(".sent.partial")
        temporary.write_text(json.dumps({"id": self.id, "sent": count}))
        temporary.replace(self._sent_path)

    def entries(self) -> Iterator[Entry]:
        return read(self.path)

    def close(self) -> None:
        self._file.close()

    def _read_sent(self) -> int:
        try:
            sent = json.loads(self._sent_path.read_text())
        except (FileNotFoundError, ValueError):
            return 0
        # A death between the two renames of `create` leaves the count of the journal before.
        return int(sent["sent"]) if sent["id"] == self.id else 0


def identity(path: Path) -> str:
    """The id of a journal."""
    name: str = _header(path)["id"]
    return name


def read(path: Path) -> Iterator[Entry]:
    """The entries of a journal, the oldest first; it may be written to meanwhile.

    Raises:
        TrackingError: it is damaged.
    """
    _header(path)
    trials: dict[str, Trial] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                continue
            if not line.endswith(b"\n"):
                return  # it is being written
            try:
                entry = _from_plain(json.loads(line), trials)
            except (ValueError, KeyError, TypeError) as error:
                raise TrackingError(
                    f"{path}:{number} is damaged ({type(error).__name__}: {error})", hint=WITHOUT_IT
                ) from error
            if isinstance(entry, Opened):
                trials[entry.trial.id] = entry.trial
            yield entry


@dataclass
class Contents:
    """What a journal says, all entries taken together.

    Attributes:
        starts: of the trials that were started more than once, how often.
        tags: what the study has to remember.
        written: the last value of each key.
    """

    history: History
    starts: dict[str, int]
    tags: dict[str, str]
    written: dict[str, Mapping[str, Any]]


def contents(entries: Iterable[Entry]) -> Contents:
    with _uncollected():
        return _contents(entries)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, which would walk the growing history again and again, and find nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _contents(entries: Iterable[Entry]) -> Contents:
    opened: dict[str, Trial] = {}
    outcomes: dict[str, Measurement | Failure] = {}
    found = Contents(History(), {}, {}, {})
    for entry in entries:
        match entry:
            case Opened(trial):
                opened[trial.id] = trial
                outcomes.pop(trial.id, None)
            case Restarted(trial):
                found.starts[trial.id] = found.starts.get(trial.id, 1) + 1
            case Closed(trial, outcome, _):
                outcomes[trial.id] = outcome
            case Reported(tags=tags):
                found.tags |= tags
            case Written(key, data, _):
                found.written[key] = data
            case Finished():
                pass
    found.history = History.of(opened.values(), outcomes)
    return found


def entries_of(history: History) -> Iterator[Entry]:
    """The entries that lead to a history."""
    for trial in history.trials:
        yield Opened(trial)
    for entry in (*history.completed, *history.stopped):
        yield Closed(entry.trial, entry.measurement)
    for each in history.failed:
        yield Closed(each.trial, each.failure)


def _to_plain(entry: Entry) -> dict[str, Any]:
    plain: dict[str, Any]
    match entry:
        case Opened(trial, at):
            plain = {"opened": codec.trial_to_plain(trial), "at": at}
        case Restarted(trial, start, reason):
            plain = {"restarted": trial.id, "start": start, "reason": reason}
        case Closed(trial, Failure() as failure, _, at):
            plain = {"closed": trial.id, "failure": codec.failure_to_plain(failure), "at": at}
        case Closed(trial, Measurement() as measurement, objective, at):
            measured = codec.measurement_to_plain(measurement)
            plain = {"closed": trial.id, "objective": objective, "measurement": measured, "at": at}
        case Reported(metrics, step, at, tags):
            plain = {"reported": dict(metrics), "step": step, "at": at, "tags": dict(tags)}
        case Written(key, data, file):
            plain = {"written": key, "data": dict(data), "file": file}
        case Finished():
            plain = {"finished": True}
    return plain


def _from_plain(plain: dict[str, Any], trials: Mapping[str, Trial]) -> Entry:
    match plain:
        case {"opened": trial, "at": at}:
            return Opened(codec.trial_from_plain(trial), at)
        case {"restarted": trial_id, "start": start, "reason": reason}:
            return Restarted(trials[trial_id], start, reason)
        case {"closed": trial_id, "measurement": measurement, "objective": objective, "at": at}:
            return Closed(trials[trial_id], codec.measurement_from_plain(measurement), objective, at)
        case {"closed": trial_id, "failure": failure, "at": at}:
            return Closed(trials[trial_id], codec.failure_from_plain(failure), at=at)
        case {"reported": metrics, "step": step, "at": at, "tags": tags}:
            return Reported(metrics, step, at, tags)
        case {"written": key, "data": data, "file": file}:
            return Written(key, data, file)
        case {"finished": True}:
            return Finished()
    raise ValueError("an entry of no known kind")


def _line(plain: Mapping[str, Any]) -> bytes:
    return json.dumps(plain, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _header(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            header: dict[str, Any] = json.loads(file.readline())
        if header["schema"] == SCHEMA:
            return header
        reason = f"it is of schema {header['schema']}, this version of mixopt writes {SCHEMA}"
    except (ValueError, KeyError, TypeError):
        reason = "its first line is no journal's"
    raise TrackingError(f"{path} cannot be read: {reason}", hint=WITHOUT_IT)


def _whole_lines(path: Path) -> int:
    """How many bytes of the file are whole lines."""
    size = path.stat().st_size
    with path.open("rb") as file:
        end = size
        while end > 0:
            begin = max(0, end - 65_536)
            file.seek(begin)
            newline = file.read(end - begin).rfind(b"\n")
            if newline >= 0:
                return begin + newline + 1
            end = begin
    return 0
