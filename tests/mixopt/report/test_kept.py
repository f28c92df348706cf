"""A report is kept until anything else is recorded, or changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mixopt.report.kept import CONTENT, PAGE, KeptReport, find_report, keep_report, stamp
from mixopt.settings.reading import load
from mixopt.settings.schema import StudyFile
from mixopt.study.record import journal_path, mark_submitted
from tests.text import write_jsonl
from tracking.entries import Finished
from tracking.journal import Journal
from tracking.record import Subject

REPORT = KeptReport("<html>the answer</html>", '{"study": "small"}', attached=True)
STUDY = """\
study: small
domains: {prose: {paths: data/prose.jsonl}, code: {paths: data/code.jsonl}}
proxies: {dense: {depth: 1, tokens: 4k, trials: 4}}
"""


@pytest.fixture
def file(tmp_path: Path) -> StudyFile:
    write_jsonl(tmp_path / "data", {"prose": 3, "code": 3})
    (tmp_path / "study.yaml").write_text(STUDY)
    file = load(tmp_path / "study.yaml")
    Journal.create(journal_path(file), Subject("small", file.deciding(), "corpus")).close()
    return file


def record_more(file: StudyFile) -> StudyFile:
    journal = Journal(journal_path(file))
    journal.append(Finished())
    journal.close()
    return file


def change_the_file(file: StudyFile) -> StudyFile:
    file.file.write_text(STUDY + "seed: 1\n")
    return load(file.file)


def submit(file: StudyFile) -> StudyFile:
    mark_submitted(file, "http://head:8265")
    return file


def damage(name: str, content: str) -> Callable[[StudyFile], StudyFile]:
    def by(file: StudyFile) -> StudyFile:
        (file.work_directory / name).write_text(content)
        return file

    return by


def test_what_was_kept_is_found(file: StudyFile) -> None:
    assert find_report(file) is None
    assert keep_report(file, REPORT, stamp(file))
    assert find_report(file) == REPORT
    assert find_report(load(file.file)) == REPORT


@pytest.mark.parametrize(
    "change",
    [
        record_more,
        change_the_file,
        submit,
        damage(PAGE, "<html>another</html>"),
        damage(CONTENT, "[]"),
        damage(CONTENT, "no JSON"),
        damage(CONTENT, "{}"),
    ],
)
def test_after_a_change_it_is_made_again(file: StudyFile, change: Callable[[StudyFile], StudyFile]) -> None:
    assert keep_report(file, REPORT, stamp(file))
    assert find_report(change(file)) is None


def test_a_report_of_what_was_recorded_before_is_not_kept(file: StudyFile) -> None:
    read_then = stamp(file)
    record_more(file)
    assert not keep_report(file, REPORT, read_then)
    assert find_report(file) is None
