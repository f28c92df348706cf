"""What is known of a study that went wrong: its log on this machine, and what became of each trial."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from mixopt.base.errors import ConfigError
from mixopt.base.files import bytes_in, opened
from mixopt.base.log import LOG_FILE, MOST_BYTES, Excerpt
from mixopt.results.logs import StudyLog, TrialLog
from mixopt.settings.schema import StudyFile
from mixopt.study.wishes import driver
from search.history import History
from search.trial import Failure
from tracking.record import Record

LOOK_AGAIN_SECONDS = 0.3


def log_path(file: StudyFile) -> Path:
    return file.work_directory / LOG_FILE


def read_log(file: StudyFile) -> StudyLog:
    """
    Raises:
        ConfigError: the study never ran on this machine.
    """
    with _opened_log(file) as stream:
        return StudyLog(study=file.study, file=str(log_path(file)), log=_so_far(file, stream).decode(errors="replace"))


def follow_log(file: StudyFile, excerpt: Excerpt) -> Iterator[str]:
    """An excerpt of the log as it is, and then of what is added to it, until nobody runs the study on this machine.

    Raises:
        ConfigError: the study never ran on this machine.
    """
    stream, shows = _opened_log(file), excerpt.shows()
    try:
        *whole, half = _so_far(file, stream).split(b"\n")  # the last is a line that is not whole yet
        log = "".join(f"{line.decode(errors='replace')}\n" for line in whole)
        yield excerpt.of(log)
        [*map(shows, log.splitlines())]  # so that what follows the last entry is shown as that is
        while True:
            # Asked before it is read, so that nothing is added to what is read after the answer.
            runs, is_over = driver(file.work_directory) is not None, _is_another(log_path(file), stream)
            if added := stream.read():
                *whole, half = (half + added).split(b"\n")
                yield from _shown(whole, shows)
            elif is_over:
                stream.close()
                stream = _opened_log(file)
            elif runs:
                time.sleep(LOOK_AGAIN_SECONDS)
            else:
                yield from _shown([half] if half else [], shows)
                return
    finally:
        stream.close()


def _opened_log(file: StudyFile) -> BinaryIO:
    return opened(log_path(file), "log", f"it is written while the study runs here: {file.goes_on_by}")


def _so_far(file: StudyFile, stream: BinaryIO) -> bytes:
    """What is in the open log, and in the one before it."""
    rotated = log_path(file).with_name(f"{LOG_FILE}.1")
    before = b""
    # Unless that is the one that was just opened.
    if rotated.exists() and _is_another(rotated, stream):
        before = bytes_in(rotated, "log", "", 2 * MOST_BYTES)
    return before + stream.read(2 * MOST_BYTES)


def _shown(lines: Iterable[bytes], shows: Callable[[str], bool]) -> Iterator[str]:
    for line in lines:
        text = line.decode(errors="replace")
        if shows(text):
            yield f"{text}\n"


def _is_another(path: Path, stream: BinaryIO) -> bool:
    """Whether a file is another than the one that is open: a log that is long is renamed, and a new one begun."""
    try:
        return path.stat().st_ino != os.fstat(stream.fileno()).st_ino
    except FileNotFoundError:
        return False  # it is about to be


def trial_log(record: Record, begins: str) -> TrialLog:
    """What became of the trial whose id begins so.

    Raises:
        ConfigError: there is none, or several.
    """
    if not begins:
        raise ConfigError(f"study {record.subject.study}: which trial?", hint="mixopt trials lists them")
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
