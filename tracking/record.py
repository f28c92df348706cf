"""What is recorded of a study, all of its entries taken together, wherever they were read."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from search.history import History
from search.trial import Failure, Measurement, Trial
from tracking.entries import Closed, Entry, Opened, Restarted, StudyMetrics, Written
from tracking.errors import OtherSubject

RENAME = "give this one another name under `study:`, or restore what was changed"


@dataclass(frozen=True)
class Subject:
    """What a study is about: two with the same subject are one.

    Attributes:
        study: its name.
        settings: what decides its numbers. None in records of versions before 0.2, which did not say.
        corpus: the fingerprint of the tokenised corpus.
    """

    study: str
    settings: Mapping[str, Any] | None
    corpus: str

    def require(self, settings: Mapping[str, Any], corpus: str | None = None) -> None:
        """Make sure that the study was begun with these settings, which may be a part of all, and on this corpus.

        Raises:
            TrackingError: with the names of the settings that differ.
        """
        if self.settings is not None:
            # What is compared has been through JSON on both sides, where tuples are lists.
            asked = json.loads(json.dumps(settings))
            changed = [name for key in asked for name in differences(self.settings.get(key), asked[key], key)]
            if changed:
                raise OtherSubject(
                    f"study {self.study} exists with another study file; changed: {', '.join(changed)}",
                    hint=RENAME,
                    changed=tuple(changed),
                )
        if corpus is not None and corpus != self.corpus:
            raise OtherSubject(
                f"study {self.study} was begun on other text: its data have changed since",
                hint=f"results on both cannot be compared; {RENAME}",
                changed=("corpus",),
            )


@dataclass(frozen=True)
class Record:
    """
    Attributes:
        starts: of the trials that were started more than once, how often.
        tags: what the study has to remember.
        written: the last value of each key.
        ended: ids of the trials that have ended, in the order in which they did.
        reasons: why trials were started again, each time.
        clients: who trains the trials that somebody asked for, by id.
        opened_at, closed_at: when trials were launched last, and ended, in ms of Unix time, where that is known; in the
            order in which they were first launched, and in which they ended.
        metrics: of the study, as they were reported last.
        told_at: when something was last recorded, in ms of Unix time.
        now: what its driver last said of itself, in its own form, where MLflow was asked and somebody runs the study.
    """

    subject: Subject
    history: History
    starts: Mapping[str, int]
    tags: Mapping[str, str]
    written: Mapping[str, Mapping[str, Any]]
    ended: tuple[str, ...] = ()
    reasons: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    clients: Mapping[str, str] = field(default_factory=dict)
    opened_at: Mapping[str, int | None] = field(default_factory=dict)
    closed_at: Mapping[str, int | None] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    told_at: int | None = None
    now: str | None = None

    @classmethod
    def of(cls, subject: Subject, entries: Iterable[Entry]) -> Record:
        """The record that these entries lead to."""
        with _uncollected():
            return _taken_together(subject, entries)

    @property
    def restarts(self) -> int:
        """How often a trial went on from its checkpoint, after its worker had died."""
        return sum(start - 1 for start in self.starts.values())


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """The dotted names of the settings in which two trees of settings differ."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return [
            difference
            for key in [*before, *(key for key in after if key not in before)]
            for difference in differences(before.get(key), after.get(key), f"{path}.{key}" if path else key)
        ]
    return [] if before == after else [path]


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


def _taken_together(subject: Subject, entries: Iterable[Entry]) -> Record:
    opened: dict[str, Trial] = {}
    outcomes: dict[str, Measurement | Failure] = {}
    starts: dict[str, int] = {}
    tags: dict[str, str] = {}
    written: dict[str, Mapping[str, Any]] = {}
    reasons: dict[str, tuple[str, ...]] = {}
    clients: dict[str, str] = {}
    opened_at: dict[str, int | None] = {}
    closed_at: dict[str, int | None] = {}
    metrics: dict[str, float] = {}
    told_at: int | None = None
    for entry in entries:
        told_at = getattr(entry, "at", None) or told_at
        match entry:
            case Opened(trial, at, client=client):
                opened[trial.id] = trial
                opened_at[trial.id] = at
                if client is not None:
                    clients[trial.id] = client
                outcomes.pop(trial.id, None)
                closed_at.pop(trial.id, None)
            case Restarted(trial, _, reason):
                starts[trial.id] = starts.get(trial.id, 1) + 1
                reasons[trial.id] = (*reasons.get(trial.id, ()), reason)
            case Closed(trial, outcome, _, at):
                outcomes[trial.id] = outcome
                closed_at[trial.id] = at
            case StudyMetrics(reported, tags=more):
                metrics |= reported
                tags |= more
            case Written(key, data, _):
                written[key] = data
    history = History.of(opened.values(), outcomes)
    ended = tuple(outcomes)
    return Record(
        subject,
        history,
        starts,
        tags,
        written,
        ended,
        reasons,
        clients,
        opened_at,
        closed_at,
        metrics,
        told_at,
    )
