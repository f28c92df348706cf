"""What is recorded of a study, for whoever asks: its journal where that is at hand, the copy in MLflow otherwise."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mixopt.base.console import err
from mixopt.base.errors import ConfigError
from mixopt.base.files import write_text
from mixopt.results.answer import Answer
from mixopt.settings.environment import JOB_VARIABLE
from mixopt.settings.schema import StudyFile
from mixopt.study.corpus import find_corpus
from mixopt.study.inventory import hinting_at_reuse, without_inventory
from proxies.data.corpus import Corpus
from proxies.retry import pauses_within, retry
from tracking import journal, keys
from tracking.address import may_exist
from tracking.entries import Closed, Opened, Written
from tracking.errors import TrackingAway, TrackingError, TrackingRefused
from tracking.record import Record, Subject

if TYPE_CHECKING:
    from tracking.mlflow_store import Store

STORE_AWAY_SECONDS = 600.0
LOOK_AGAIN_SECONDS = 2.0
FROM_JOURNAL = "the study goes on from its journal, and MLflow gets it later"


def journal_path(file: StudyFile) -> Path:
    return file.work_directory / journal.JOURNAL


# What of its study file a record is read apart from: where the pools lie and what they hold, or all that is asked.
Apart = Literal["nothing", "inventory", "file"]


class HasNotRun(ConfigError):
    """Nothing is recorded of the study."""


def read_record(file: StudyFile, apart_from: Apart = "nothing") -> Record:
    """The record of a study that has run.

    MLflow is asked only where there is no journal here; where the study was submitted since, and so goes on elsewhere;
    and, if it answers, what a journal of a version before 0.2 is about.

    Args:
        apart_from: what in the file may have changed since the study began, for whoever only shows what was recorded.

    Raises:
        HasNotRun: it has not.
        TrackingError: it was begun with another file; its journal is damaged; or MLflow is needed and does not answer.
    """
    path = journal_path(file)
    if not path.exists():
        record = fetch_record(file)
    elif is_submitted(file):
        try:
            record = fetch_record(file) or journal.read_record(path)
        except TrackingError as error:
            err.print(f"{error.message}; what is shown was recorded here before it was submitted", soft_wrap=True)
            record = journal.read_record(path)
    else:
        record = journal.read_record(path)
    if record is None:
        raise HasNotRun(f"study {file.study} has not run yet", hint=f"run it: {file.goes_on_by}")
    record = _with_settings(record, file)
    if apart_from == "nothing" or record.subject.settings is None:
        require_subject(record, file)
    elif apart_from == "inventory":
        settings = without_inventory(record.subject.settings)
        with hinting_at_reuse(file):
            replace(record.subject, settings=settings).require(without_inventory(file.deciding()))
    return record


def has_ended_with_answer(file: StudyFile) -> bool:
    """Whether the journal here has the answer in which the study ended, and nothing was trained since.

    Raises:
        TrackingError: it is damaged.
        ConfigError: the answer cannot be read.
    """
    path, answered = journal_path(file), False
    for entry in journal.read(path) if path.exists() else ():
        match entry:
            case Written(key=keys.ANSWER, data=data):
                answered = Answer.read(data).ended
            case Opened() | Closed():
                answered = False
    return answered


def require_subject(record: Record, file: StudyFile) -> None:
    """
    Raises:
        TrackingError: the study was begun with another file.
    """
    with hinting_at_reuse(file):
        record.subject.require(file.deciding())


def not_prepared(file: StudyFile, elsewhere: str) -> ConfigError:
    """What to say where `measured_corpus` finds none.

    Args:
        elsewhere: what else can be done, where the study ran.
    """
    return ConfigError(
        f"the tokens of study {file.study} are not prepared here, or its text has changed, or was copied",
        hint=f"of the same text they count again after: mixopt prepare {file.file}; else {elsewhere}",
    )


def measured_corpus(file: StudyFile, record: Record) -> Corpus | None:
    """The tokens that the study is about, where they are prepared here, and still those of its text; None otherwise.

    Raises:
        TrackingError: it began with another file, or the text was prepared anew since, and is another.
    """
    require_subject(record, file)
    corpus = find_corpus(file)
    if corpus is not None:
        with hinting_at_reuse(file):
            record.subject.require({}, corpus.fingerprint)
    return corpus


def fetch_record(file: StudyFile) -> Record | None:
    """The record of the study in MLflow; None where it has none."""
    if not may_exist(file.tracking_uri):
        return None
    run = open_store(file).find(file.study)
    return None if run is None else run.record()


def check_begun(file: StudyFile, store: Store | None) -> Subject | None:
    """Make sure that a study of this name, where there is one, was begun with this file, and its journal is whole.

    Args:
        store: None where it is away, and the study goes on from its journal.

    Returns what it was begun with; None where there is none.

    Raises:
        TrackingError: it was not, or it is not.
    """
    path = journal_path(file)
    if path.exists():
        journal.checked_lines(path)
    subject = journal.read_header(path).subject if path.exists() else None
    if store is not None and (subject is None or subject.settings is None):
        run = store.find(file.study)
        subject = None if run is None else run.subject()
    if subject is not None:
        with hinting_at_reuse(file):
            subject.require(file.deciding())
    return subject


def _with_settings(record: Record, file: StudyFile) -> Record:
    """A journal of a version before 0.2 does not say with which settings the study began; MLflow does, if at hand."""
    if record.subject.settings is not None:
        return record
    subject = replace(record.subject, study=file.study)
    with suppress(TrackingError):
        run = open_store(file).find(file.study)
        if run is not None:
            subject = run.subject() or subject
    return replace(record, subject=subject)


def is_submitted(file: StudyFile) -> bool:
    """Whether the study goes on at a cluster, as far as is known here."""
    return _submitted_path(file).exists()


def mark_submitted(file: StudyFile, address: str) -> None:
    """Remember that the study goes on at a cluster, so that its record here is not taken for the last word."""
    if journal_path(file).exists():
        write_text(_submitted_path(file), f"{address}\n")


def unmark_submitted(file: StudyFile) -> None:
    """The study goes on here."""
    _submitted_path(file).unlink(missing_ok=True)


def _submitted_path(file: StudyFile) -> Path:
    return file.work_directory / "submitted"


def open_store(file: StudyFile) -> Store:
    """
    Raises:
        TrackingError: the store does not answer.
    """
    from tracking.mlflow_store import Store

    return Store(file.tracking_uri, file.tracking.experiment, artifacts=file.home / "artifacts")


def await_store(file: StudyFile, remark: Callable[[str], None]) -> Store:
    """As `open_store`; a study that was submitted, and has no journal to go on from, waits for a store that is away.

    Raises:
        TrackingError: it is away, or stays away.
    """
    submitted = JOB_VARIABLE in os.environ

    def may_pass(error: Exception) -> bool:
        if isinstance(error, TrackingAway):
            return not goes_on_without_store(file)
        return isinstance(error, TrackingRefused)

    return retry(
        lambda: open_store(file),
        pauses_within(STORE_AWAY_SECONDS, LOOK_AGAIN_SECONDS) if submitted else (),
        may_pass=may_pass,
        before_pause=lambda error: remark(f"waiting for MLflow: {error}"),
    )


def reach_store(file: StudyFile, remark: Callable[[str], None], say: Callable[[str], None]) -> Store | None:
    """As `await_store`; None where the store is away, and the study goes on from its journal, which `say` is told.

    Raises:
        TrackingError: the store cannot be used, or is needed and away.
    """
    try:
        return await_store(file, remark)
    except TrackingAway as away:
        if not goes_on_without_store(file):
            raise
        say(f"{away.message}; {FROM_JOURNAL}")
        return None


def goes_on_without_store(file: StudyFile) -> bool:
    """Whether the study may go on while its store is away: its journal is here, says with which settings it began, and
    the study was not submitted since.

    Raises:
        TrackingError: what lies here is no journal.
    """
    path = journal_path(file)
    return path.exists() and not is_submitted(file) and journal.read_header(path).subject.settings is not None
