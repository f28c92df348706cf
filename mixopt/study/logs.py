"""What is known of a study that went wrong: its log on this machine, and what became of each trial."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mixopt.base.errors import ConfigError
from mixopt.base.files import bytes_in
from mixopt.base.log import LOG_FILE, MOST_BYTES
from mixopt.results.logs import StudyLog, TrialLog
from mixopt.settings.schema import StudyFile
from search.history import History
from search.trial import Failure
from tracking.record import Record


def log_path(file: StudyFile) -> Path:
    return file.work_directory / LOG_FILE


def read_log(file: StudyFile) -> StudyLog:
    """
    Raises:
        ConfigError: the study never ran on this machine.
    """
    path = log_path(file)
    before = path.with_name(f"{path.name}.1")  # rotated
    hint = f"it is written while the study runs here: mixopt run {file.file}"
    parts = [bytes_in(each, "log", hint, 2 * MOST_BYTES) for each in (before, path) if each == path or each.exists()]
    return StudyLog(study=file.study, file=str(path), log=b"".join(parts).decode(errors="replace"))


def trial_log(record: Record, begins: str) -> TrialLog:
    """What became of the trial whose id begins so.

    Raises:
        ConfigError: there is none, or several.
    """
    history = record.history
    found = [trial for trial in history.trials if trial.id.startswith(begins)]
    if len(found) != 1:
        several = f"{len(found)} trials begin with {begins}" if found else f"no trial begins with {begins}"
        raise ConfigError(
            f"study {record.subject.study}: {several}", hint="mixopt status names those that failed, MLflow all"
        )
    [trial] = found
    failure = next((entry.failure for entry in history.failed if entry.trial.id == trial.id), None)
    return TrialLog(
        study=record.subject.study,
        trial=trial.id,
        origin=trial.origin,
        proxy=trial.fidelity.proxy,
        tokens=trial.fidelity.tokens,
        seed=trial.seed,
        mixture=trial.mixture.as_dict(),
        state=_state(trial.id, history, failure),
        restarts=record.reasons.get(trial.id, ()),
        kind=None if failure is None else failure.kind.value,
        message=None if failure is None else failure.message,
        traceback=(failure.traceback or None) if failure is not None else None,
    )


def _state(
    trial_id: str, history: History, failure: Failure | None
) -> Literal["running", "completed", "stopped", "failed"]:
    if failure is not None:
        return "failed"
    if trial_id in {trial.id for trial in history.running}:
        return "running"
    return "stopped" if trial_id in {entry.trial.id for entry in history.stopped} else "completed"
