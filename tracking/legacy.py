"""Studies that began with a version before 0.2: their record lies in tags of their MLflow runs, JSON cut into pieces.

Read, and never written: the first resume by this version makes a journal of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from search.trial import Trial
from tracking import codec, keys
from tracking.entries import Closed, Entry, Opened, Restarted, StudyMetrics, Written
from tracking.errors import TrackingError
from tracking.record import Subject

if TYPE_CHECKING:
    from mlflow.entities import Run

STUDY_SETTINGS = "mixopt.study_settings"
TRIAL = "mixopt.trial"
MEASUREMENT = "mixopt.measurement"
FAILURE = "mixopt.failure"


def subject_in_tags(tags: Mapping[str, str]) -> Subject:
    """What a study is about, from the tags of its run.

    Raises:
        TrackingError: a tag is missing.
    """
    if keys.CORPUS not in tags:
        raise TrackingError(f"the record lacks the tag {keys.CORPUS}", hint="was it deleted by hand?")
    return Subject(tags[keys.STUDY_NAME], _value(STUDY_SETTINGS, tags) or {}, tags[keys.CORPUS])


def entries_in_tags(tags: Mapping[str, str], children: Iterable[Run]) -> Iterator[Entry]:
    """Everything that was recorded of a study.

    Args:
        tags: of its run.
        children: the runs of its trials, the oldest first.

    Raises:
        TrackingError: a tag is missing.
    """
    kept: dict[str, tuple[Trial, Run]] = {}
    for run in children:
        trial = codec.trial_from_plain(_required(TRIAL, run))
        # Of several runs of a trial, which an answer that came too late could leave, one that is closed counts.
        if trial.id not in kept or (not _is_closed(kept[trial.id][1]) and _is_closed(run)):
            kept[trial.id] = trial, run
    for trial, run in kept.values():
        state = run.data.tags[keys.STATE]
        measurement, failure = _value(MEASUREMENT, run.data.tags), _value(FAILURE, run.data.tags)
        yield Opened(trial)
        yield from (
            Restarted(trial, start, "recorded by an earlier version")
            for start in range(2, int(run.data.tags.get(keys.STARTS, "1")) + 1)
        )
        if state in (keys.STATE_COMPLETED, keys.STATE_STOPPED) and measurement is not None:
            yield Closed(trial, codec.measurement_from_plain(measurement))
        elif state == keys.STATE_FAILED and failure is not None:
            yield Closed(trial, codec.failure_from_plain(failure))
    answer = _value(keys.ANSWER, tags)
    if answer is not None:
        yield Written(keys.ANSWER, answer, keys.ANSWER_FILE)
    remembered = {name: tags[name] for name in (keys.SEARCH_SECONDS,) if name in tags}
    yield StudyMetrics({}, 0, 0, remembered)


def _is_closed(run: Run) -> bool:
    return bool(run.data.tags[keys.STATE] != keys.STATE_RUNNING)


def _required(key: str, run: Run) -> Mapping[str, Any]:
    value = _value(key, run.data.tags)
    if value is None:
        raise TrackingError(f"the run {run.info.run_id} lacks the tag {key}", hint="was it deleted by hand?")
    return value


def _value(key: str, tags: Mapping[str, str]) -> Mapping[str, Any] | None:
    """The JSON that was cut into tags `key.0`, `key.1`, ...; `key` itself is their number. None where it is not there.

    Raises:
        TrackingError: a part of it is missing.
    """
    if key not in tags:
        return None
    parts = [f"{key}.{index}" for index in range(int(tags[key]))]
    if missing := [part for part in parts if part not in tags]:
        raise TrackingError(f"the record lacks the tag {missing[0]}", hint="was it deleted by hand?")
    value: Mapping[str, Any] = json.loads("".join(tags[part] for part in parts))
    return value
