"""The report that a study leaves beside its journal: as good as a new one until anything else is recorded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from mixopt.base.files import write_text
from mixopt.base.version import VERSION
from mixopt.settings.schema import StudyFile
from mixopt.study.record import journal_path

PAGE = "report.html"
CONTENT = "report.json"


@dataclass(frozen=True)
class KeptReport:
    """
    Attributes:
        page: HTML.
        content: what `mixopt report --json` prints.
        attached: whether MLflow has the page, too.
    """

    page: str
    content: str
    attached: bool


def page_path(file: StudyFile) -> Path:
    """Where a study that has its answer leaves its report."""
    return file.work_directory / PAGE


def keep_report(file: StudyFile, report: KeptReport) -> None:
    """Leave the report beside the journal that it was made from."""
    write_text(page_path(file), report.page)
    stamped = {"of": _stamp(file), "page": _digest(report.page), "attached": report.attached, "content": report.content}
    write_text(file.work_directory / CONTENT, json.dumps(stamped))


def find_report(file: StudyFile) -> KeptReport | None:
    """The report that was kept; None where there is none, or where something was recorded, or changed, since."""
    try:
        page = page_path(file).read_text(encoding="utf-8")
        stamped = json.loads((file.work_directory / CONTENT).read_text(encoding="utf-8"))
        if stamped["of"] == _stamp(file) and stamped["page"] == _digest(page):
            return KeptReport(page, stamped["content"], stamped["attached"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # it is made again
    return None


def _stamp(file: StudyFile) -> str:
    """Of everything that the report says: the study file, the record, and who writes it."""
    return _digest(f"{VERSION}\n{file.text}\n{hashlib.sha256(journal_path(file).read_bytes()).hexdigest()}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
