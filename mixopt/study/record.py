"""Where a study is recorded: its MLflow store, and the journal that leads there."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mixopt.base.errors import ConfigError
from mixopt.base.version import VERSION
from mixopt.settings.schema import JOB_VARIABLE, StudyFile
from mixopt.study.mlflow_page.views import views
from mixopt.study.plan import Plan
from search.history import History
from tracking import names
from tracking.errors import TrackingError
from tracking.journal import Entry, Journal, Reported, Written, contents, entries_of, identity, read
from tracking.recorder import Recorder
from tracking.store import Store, StudyRecord

RECORDED_VERSIONS = ("torch", "lightgbm", "ray", "mlflow", "datasets", "tokenizers", "numpy")
# What the study remembers in tags of its run.
REMEMBERED = (names.SEARCH_SECONDS,)
STORE_AWAY_SECONDS = 600.0
LOOK_AGAIN_SECONDS = 2.0


def open_store(file: StudyFile) -> Store:
    return Store(file.tracking_uri, file.tracking.experiment, artifacts=file.home / "artifacts")


def await_store(file: StudyFile, remark: Callable[[str], None]) -> Store:
    """As `open_store`; a study that has begun here, or was submitted, waits for a store that is away.

    Raises:
        TrackingError: it stays away.
    """
    deadline = time.monotonic() + STORE_AWAY_SECONDS
    waits = journal_path(file).exists() or JOB_VARIABLE in os.environ
    while True:
        try:
            return open_store(file)
        except TrackingError as error:
            if not waits or time.monotonic() > deadline:
                raise
            remark(f"waiting for MLflow: {error.message}")
            time.sleep(LOOK_AGAIN_SECONDS)


def journal_path(file: StudyFile) -> Path:
    return file.work_directory / "journal.jsonl"


def recorded(file: StudyFile) -> StudyRecord:
    """The record of a study that has run.

    Raises:
        ConfigError: it has not.
        TrackingError: the store does not answer, or holds a study of this name with another file.
    """
    record = open_store(file).find(file.study)
    if record is None:
        raise ConfigError(f"study {file.study} has not run yet", hint=f"run it: mixopt run {file.file}")
    record.require(file.deciding())
    return record


def known(file: StudyFile, record: StudyRecord) -> History:
    """The study's trials: from its journal where that is here, from MLflow otherwise."""
    path = journal_path(file)
    here = path.exists() and record.tags.get(names.JOURNAL) == identity(path)
    return contents(read(path)).history if here else record.history()


def begin(plan: Plan, store: Store) -> Recorder:
    """The study's recorder, new or as it was left, with what reproduces it.

    Raises:
        TrackingError: the store holds a study of this name with another file or corpus.
    """
    file = plan.file
    record = store.resume_or_create(file.study, plan.deciding(), plan.corpus.fingerprint)
    journal = _journal(record, journal_path(file), f"{plan.digest} {plan.corpus.fingerprint}")
    store.tag_experiment(views(plan))
    record.attach(file.text, names.STUDY_FILE)
    record.set_tags(
        {
            names.JOURNAL: journal.id,
            # What stood there was perhaps another journal's count.
            names.SENT: str(journal.sent),
            "mixopt.version": VERSION,
            "python": platform.python_version(),
            **{f"version.{package}": version(package) for package in RECORDED_VERSIONS},
        }
    )
    return Recorder(record, journal)


def _journal(record: StudyRecord, path: Path, subject: str) -> Journal:
    """The journal that goes on: the one that is here, unless the study went on elsewhere since.

    Raises:
        TrackingError: MLflow has forgotten the study, and the journal that is here is of another file or corpus.
    """
    if not path.exists():
        return Journal.create(path, subject, _from_mlflow(record))
    journal = Journal(path)
    last = record.tags.get(names.JOURNAL)
    if last == journal.id:
        # Less than was sent is there where MLflow came back from a backup.
        journal.mark_sent(min(journal.sent, int(record.tags.get(names.SENT, "0"))))
        return journal
    if last is None and not record.has_trials():
        # MLflow is new, or has lost the study: it gets everything again.
        if journal.subject != subject:
            raise TrackingError(
                f"{path} is the journal of a study with another file or corpus, which MLflow does not have",
                hint=f"remove the folder {path.parent} to begin anew, or restore what was changed",
            )
        journal.mark_sent(0)
        return journal
    journal.close()
    left_over = contents(read(path)).history if journal.subject == subject else History()
    return Journal.create(path, subject, _from_mlflow(record), _measured_here_alone(left_over, record.history()))


def _measured_here_alone(here: History, there: History) -> Iterator[Entry]:
    """What a journal knows that was overtaken: measurements that did not reach MLflow before."""
    return entries_of(here.only(lambda trial: trial.id in here.measured_ids - there.measured_ids))


def _from_mlflow(record: StudyRecord) -> Iterator[Entry]:
    yield from entries_of(record.history())
    answer: dict[str, Any] | None = record.read(names.ANSWER)
    if answer is not None:
        yield Written(names.ANSWER, answer, names.ANSWER_FILE)
    yield Reported({}, 0, 0, {name: record.tags[name] for name in REMEMBERED if name in record.tags})
