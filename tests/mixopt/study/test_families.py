"""What an answer says of each metric and family: in the study file, in the table, in JSON and in the report."""

from pathlib import Path

import pytest

from mixopt.results.answer import Answer
from tests.e2e.study import STUDY, answer_of
from tests.program import mixopt
from tests.simulated import planned, run

FAMILIES = (
    STUDY.replace("objective: {weights: {prose: 2, code: 1}}\n", "")
    + """\
search: {strategy: regmix, surrogate: linear}
objective:
  families:
    words: {metrics: [prose, code], weight: 3}
    numbers: {metrics: [sums]}
"""
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    plan = planned(tmp_path_factory.mktemp("families"), FAMILIES)
    answer, _ = run(plan)
    return plan.file.file, answer


def test_a_family_has_one_weight_however_many_metrics_it_has(study: tuple[Path, Answer]) -> None:
    _, answer = study
    [proposed, *_] = answer.confirmation.candidates if answer.confirmation else []
    assert set(proposed.metrics) == {"prose", "code", "sums"} and set(proposed.families) == {"words", "numbers"}
    words = (proposed.metrics["prose"].difference + proposed.metrics["code"].difference) / 2
    assert proposed.families["words"].difference == pytest.approx(words)
    total = 0.75 * words + 0.25 * proposed.families["numbers"].difference
    assert proposed.difference == pytest.approx(total)


def test_the_table_shows_what_each_family_and_metric_pays(study: tuple[Path, Answer]) -> None:
    file, answer = study
    shown = mixopt("best", file).stdout
    assert "What it trades" in shown and "family words" in shown and "family numbers" in shown
    assert answer.confirmation is not None
    sums = answer.confirmation.candidates[0].metrics["sums"]
    assert f"{sums.difference:+.4f}" in shown
    assert answer_of("best", file)["confirmation"]["candidates"][0]["families"]["numbers"]["broken"] is False


def test_the_report_has_them_as_a_picture_and_a_table(study: tuple[Path, Answer], tmp_path: Path) -> None:
    file, _ = study
    assert mixopt("report", file, "-o", tmp_path / "report.html").status == 0
    page = (tmp_path / "report.html").read_text()
    assert "What each candidate trades" in page and "family words" in page
