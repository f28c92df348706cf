"""Studies with trouble of their own making: trials that fail, budgets that end, objectives that compare."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixopt.report.kept import page_path
from mixopt.settings.reading import load
from mixopt.study.record import journal_path
from search.trial import Failure, FailureKind
from tests.e2e.study import BASELINES, SEARCH_TRIALS, STUDY, answer_of, recorded, write_study
from tests.program import mixopt
from tracking.entries import Closed, Opened
from tracking.journal import Journal

pytestmark = pytest.mark.slow


def test_trials_that_diverge_are_failures_with_a_reason_and_the_study_goes_on(tmp_path: Path) -> None:
    path = write_study(tmp_path, STUDY.replace("kind: dense, depth: 1", "kind: dense, learning_rate: 1e6, depth: 1"))
    answer = answer_of("run", path)
    history = recorded(path)
    assert {entry.trial.fidelity.proxy for entry in history.completed} == {"moe"}
    assert {entry.failure.kind for entry in history.failed} == {FailureKind.DIVERGED}
    assert len(history.failed) == 8 + BASELINES
    assert any("10 trials failed" in note for note in answer["notes"])
    status = answer_of("status", path)
    assert {failure["kind"] for failure in status["failures"]} == {"diverged"}
    assert all("nats per token after step" in failure["message"] for failure in status["failures"])


def test_a_study_in_which_every_trial_fails_ends_with_the_reason(tmp_path: Path) -> None:
    path = write_study(tmp_path, STUDY.replace("depth: ", "learning_rate: 1e6, depth: "))
    done = mixopt("run", path)
    assert done.status == 2
    assert "4 trials in a row failed, the last: diverged" in done.stderr
    assert "learning_rate below its 1e+06, and another name under `study:`" in done.stderr
    mended = path.read_text().replace("learning_rate: 1e6, ", "").replace("study: small", "study: smaller-steps")
    path.write_text(mended)
    assert mixopt("plan", path).status == 0, "the remedy is taken"


def test_the_other_objective_and_matched_repetition(tmp_path: Path) -> None:
    path = write_study(
        tmp_path,
        STUDY.replace("{weights: {prose: 2, code: 1}}", "{kind: worst_case, metrics: [prose, code]}").replace(
            "max_epochs: 4}", "max_epochs: 4, repetition_matched: true}"
        ),
    )
    answer = answer_of("run", path)
    assert answer["recommendation"]["baselines"]["proportional"] == 0.0
    supply = {name: domain["tokens"] for name, domain in answer["domains"].items()}
    for entry in recorded(path).completed:
        for domain, epochs in entry.measurement.domain_epochs.items():
            final_run_epochs = entry.trial.mixture[domain] * 40_000 / supply[domain]
            assert epochs == pytest.approx(final_run_epochs, rel=0.2, abs=0.2)


@pytest.mark.parametrize("budget", ["{time: 1s}", "{flops: 1.2e10}"])
def test_a_budget_ends_the_search_early_and_still_answers(tmp_path: Path, budget: str) -> None:
    path = write_study(tmp_path, STUDY + f"budget: {budget}\n")
    answer = answer_of("run", path)
    history = recorded(path)
    searched = [entry for entry in history.completed if entry.trial.seed == 0]
    assert 0 < len(searched) < SEARCH_TRIALS
    assert answer["confirmed"]
    if "flops" in budget:
        assert history.flops <= 1.2e10


def test_a_budget_that_pays_for_no_search_is_said_beforehand(tmp_path: Path) -> None:
    path = write_study(tmp_path, STUDY + "budget: {flops: 1e6}\n")
    done = mixopt("run", path)
    assert done.status == 2
    assert "leaves no trial to the search" in done.stderr


def test_failed_trials_are_tried_again_on_request(tmp_path: Path) -> None:
    path = write_study(tmp_path, STUDY.replace("trials: 8", "trials: 0").replace("candidates: 1", "candidates: 0"))
    answer_of("run", path)
    file = load(path)
    trial = recorded(path).completed[0].trial
    journal = Journal(journal_path(file))
    journal.append(Opened(trial))
    journal.append(Closed(trial, Failure(FailureKind.LOST_WORKER, "as if its node had died")))
    journal.close()
    answer_of("run", path)
    assert [entry.trial.id for entry in recorded(path).failed] == [trial.id]
    answer_of("run", path, "--retry-failed")
    history = recorded(path)
    assert not history.failed
    assert trial.id in history.measurements


def test_a_study_whose_report_cannot_be_written_has_finished_all_the_same(tmp_path: Path) -> None:
    path = write_study(tmp_path, STUDY.replace("trials: 8", "trials: 0").replace("candidates: 1", "candidates: 0"))
    in_its_way = page_path(load(path))
    (in_its_way / "something").mkdir(parents=True)
    done = mixopt("run", path)
    assert done.status == 0, done.stderr
    assert "the report is not complete: " in done.stderr and "mixopt report" in done.stderr
    assert answer_of("best", path)["mixture"]
