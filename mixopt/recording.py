"""Where a study is recorded: its MLflow store, and the beginning of its record."""

from __future__ import annotations

import platform
from importlib.metadata import version

from mixopt import __version__
from mixopt.assemble import Plan
from mixopt.config import StudyFile
from tracking import names
from tracking.store import Store, StudyRecord

RECORDED_VERSIONS = ("torch", "lightgbm", "ray", "mlflow", "datasets", "tokenizers", "numpy")


def open_store(file: StudyFile) -> Store:
    return Store(file.tracking_uri, file.tracking.experiment, artifacts=file.home / "artifacts")


def begin(plan: Plan, store: Store) -> StudyRecord:
    """The study's record, new or as it was left, with what reproduces it.

    Raises:
        TrackingError: the store holds a study of this name with another file or corpus.
    """
    file = plan.file
    record = store.resume_or_create(file.study, plan.deciding(), plan.corpus.fingerprint)
    record.attach(file.text, names.STUDY_FILE)
    record.set_tags(
        {
            "mixopt.version": __version__,
            "python": platform.python_version(),
            **{f"version.{package}": version(package) for package in RECORDED_VERSIONS},
        }
    )
    return record
