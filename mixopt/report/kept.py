"""The report that a study leaves beside its journal: as good as a new one until anything else is recorded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from mixopt.base.files import write_text
from mixopt.base.version import VERSION
from mixopt.settings.schema import StudyFile
from mixopt.study.record import is_submitted, journal_path

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


def keep_report(file: StudyFile, report: KeptReport, made_from: str) -> bool:
    """Leave the report beside the journal; returns whether it is still that which the report was made from.

    Args:
        made_from: `stamp` of the study before its record was read.
    """
    if made_from != stamp(file):
        return False
    write_text(page_path(file), report.page)
    stamped = {"of": made_from, "page": _digest(report.page), "attached": report.attached, "content": report.content}
    write_text(file.work_directory / CONTENT, json.dumps(stamped))
    return True


def find_report(file: StudyFile) -> KeptReport | None:
    """The report that was kept; None where there is none, or something was recorded, changed or submitted since."""
    try:
        page = page_path(file).read_text(encoding="utf-8")
        stamped = json.loads((file.work_directory / CONTENT).read_text(encoding="utf-8"))
        if stamped["of"] == stamp(file) and not is_submitted(file) and stamped["page"] == _digest(page):
            return KeptReport(page, stamped["content"], stamped["attached"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # it is made again
    return None


def stamp(file: StudyFile) -> str:
    """Of everything that a report says: the study file, the record that is here, and who writes it."""
    path = journal_path(file)
    recorded = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "elsewhere"
    return _digest(f"{VERSION}\n{file.text}\n{recorded}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
