"""Predictions are kept before they are confirmed, compared with what was, and teach the next ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mixopt.report.gather import report_content
from mixopt.report.page import render
from mixopt.results.answer import Answer
from mixopt.results.predictions import PredictedGain, Predictions
from mixopt.results.recommendation import Interval
from mixopt.settings.reading import load
from mixopt.study.corpus import prepare_corpus
from mixopt.study.plan import Plan
from mixopt.study.planning import make_plan
from mixopt.study.predictions import read_predictions
from mixopt.study.record import journal_path, read_record
from search.randomness import generator
from search.seeds import SEARCH_SEED, is_of_search
from search.trial import CurvePoint, Loss, Measurement, Trial
from tests.e2e.study import STUDY, answer_of
from tests.program import mixopt
from tests.simulated import planned, run
from tracking import keys
from tracking.entries import Entry, Opened, Written
from tracking.journal import Journal, read
from tracking.record import Subject

DENSE = STUDY.replace("trials: 8}", "trials: 16}")
DENSE = "\n".join(line for line in DENSE.splitlines() if not line.startswith("  moe:")) + "\n"
DENSE = DENSE.replace("candidates: 1, seeds: 2", "candidates: 2, seeds: 3")
REGMIX = DENSE + "search: {strategy: regmix, surrogate: linear}\n"
OPTIMISM = 0.02


def noisy(trial: Trial) -> Measurement:
    """Each loss falls with the share of its own domain, the more the less of it there is; a seed does this and that."""
    rng = generator(trial.seed, "noise", trial.id)
    losses = {
        name: Loss(3 - 2 * share**0.7 + trial.seed / 1e6 + float(rng.normal(0, 0.003)), 1.0)
        for name, share in trial.mixture.as_dict().items()
    }
    curve = (CurvePoint(trial.fidelity.tokens, losses, training_loss=3.0),)
    return Measurement(losses, curve, {}, {}, trial.fidelity.flops, seconds=1.0)


def entries(plan: Plan) -> list[Entry]:
    return list(read(journal_path(plan.file)))


def predictions(answer: Answer) -> Predictions:
    assert answer.predictions is not None
    return answer.predictions


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A study that has its answer."""
    plan = planned(tmp_path_factory.mktemp("predicted"), REGMIX)
    run(plan, noisy)
    return plan


@pytest.fixture
def copied(plan: Plan, tmp_path: Path) -> Path:
    return shutil.copytree(plan.file.file.parent, tmp_path / "copied") / plan.file.file.name


def test_gains_are_kept_before_the_first_confirmation_and_measured_after_it(plan: Plan) -> None:
    found = entries(plan)
    written = [place for place, each in enumerate(found) if isinstance(each, Written) and each.key == keys.PREDICTIONS]
    confirming = [
        place for place, each in enumerate(found) if isinstance(each, Opened) and not is_of_search(each.trial.seed)
    ]
    assert len(written) == 2
    assert written[0] < min(confirming) and written[1] > max(confirming)
    before, after = (read_predictions(found[place].data) for place in written)  # type: ignore[union-attr]
    assert before is not None and after is not None
    assert all(each.measured is None for each in before.gains)
    assert [each.gain for each in before.gains] == [each.gain for each in after.gains]
    confirmation = Answer.read(read_record(plan.file).written[keys.ANSWER]).confirmation
    assert confirmation is not None
    for outcome in confirmation.outcomes:
        if (gain := after.gain_of(outcome.label)) is not None and outcome.difference is not None:
            assert gain.measured == pytest.approx(-outcome.difference)
            assert gain.error == pytest.approx((confirmation.run_sd or 0) * np.sqrt(2 / gain.seeds))
    assert {each.label for each in after.gains if each.measured is not None} >= {"proposed", "baseline:uniform"}


def test_an_answer_and_best_say_what_was_predicted(plan: Plan) -> None:
    answer = Answer.read(read_record(plan.file).written[keys.ANSWER])
    first = predictions(answer).gains[0]
    assert (first.label, first.is_baseline) == ("proposed", False)
    assert first.interval.lower < first.gain < first.interval.upper
    said = mixopt("best", plan.file.file).stdout
    assert f"predicted gain of the proposed mixture over proportional: {first.gain:+.4f}" in said


def test_a_study_that_goes_on_keeps_what_it_predicted_at_first(tmp_path: Path) -> None:
    plan = planned(tmp_path, REGMIX)

    def dies(trial: Trial) -> Measurement:
        if not is_of_search(trial.seed):
            raise InterruptedError("killed in the confirmation")
        return noisy(trial)

    with pytest.raises(InterruptedError):
        run(plan, dies)
    answer, _ = run(plan, noisy)
    assert sum(isinstance(each, Written) and each.key == keys.PREDICTIONS for each in entries(plan)) == 2
    again, _ = run(plan, noisy)
    assert predictions(again) == predictions(answer)
    assert sum(isinstance(each, Written) and each.key == keys.PREDICTIONS for each in entries(plan)) == 2


def test_a_study_with_more_trials_predicts_anew_and_leaves_what_was_confirmed_as_it_was_predicted(
    copied: Path,
) -> None:
    before = read_predictions(read_record(load(copied)).written[keys.PREDICTIONS])
    copied.write_text(copied.read_text().replace("trials: 16}", "trials: 24}"))
    file = load(copied)
    answer, _ = run(make_plan(file, prepare_corpus(file, lambda progress: None)), noisy)
    assert before is not None
    confirmed = {each.gain: each.measured for each in before.gains if each.measured is not None}
    now = {each.gain: each.measured for each in predictions(answer).gains}
    assert confirmed.keys() <= now.keys(), "no prediction is made again after it was confirmed"
    assert predictions(answer).gains[0].trials > before.gains[0].trials


def test_calibration_of_a_study_of_a_folder_and_of_the_study_here(
    copied: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    by_study = answer_of("calibration", copied)
    assert by_study == answer_of("calibration", copied.parent) == answer_of("calibration", copied.parent / ".mixopt")
    monkeypatch.chdir(copied.parent)
    assert by_study == answer_of("calibration")
    [study], [together] = by_study["studies"], by_study["together"]
    assert (study["study"], study["kind"], study["unit"]) == ("small", "weighted", "nats_per_token")
    assert study["candidates"] == together["candidates"]
    score, gains = study["candidates"], [each for each in study["gains"] if not each["is_baseline"]]
    errors = [each["gain"] - each["measured"] for each in gains]
    assert min(errors) <= score["optimism"] <= max(errors)
    assert score["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert (score["confirmations"], score["optimism_interval"], score["taken_off"]) == (len(gains), None, 0)
    assert any("from 8 confirmed candidates of 3 studies on" in note for note in by_study["notes"])
    shown = mixopt("calibration", copied).stdout
    assert "predicted before they were confirmed" in shown and "proposed" in shown


def test_calibration_of_nothing_is_one_line(tmp_path: Path) -> None:
    done = mixopt("calibration", tmp_path)
    assert done.status == 2
    assert "no study has run here" in done.stderr


def test_a_damaged_journal_beside_it_is_left_out(copied: Path) -> None:
    other = copied.parent / ".mixopt" / "other"
    other.mkdir()
    (other / "journal.jsonl").write_text("nonsense\n")
    found = answer_of("calibration", copied.parent)
    assert [each["study"] for each in found["studies"]] == ["small"]
    assert "study other is left out" in found["notes"][0]


def too_high(home: Path, studies: int) -> None:
    """Journals of studies whose gains were predicted OPTIMISM too high."""
    for study in range(studies):
        gains = tuple(
            PredictedGain(
                label=label,
                mixture={"prose": 1.0},
                is_baseline=label.startswith("baseline"),
                gain=0.05 + OPTIMISM + jitter,
                sd=0.01,
                trials=20,
                interval=Interval(mean=0.07, lower=0.05, upper=0.09),
                measured=0.05,
                error=0.001,
                seeds=3,
            )
            for label, jitter in (("proposed", 0.001 * study), ("best tried", -0.001), ("baseline:uniform", -0.05))
        )
        kept = Predictions(
            kind="weighted", unit="nats_per_token", proxy="dense", method="blend", trusted=True, gains=gains
        )
        name = f"earlier-{study}"
        path = home / name / "journal.jsonl"
        settings = {"objective": {"kind": "weighted", "unit": "nats_per_token"}, "domains": {}}
        journal = Journal.create(path, Subject(name, settings, "c"))
        journal.append(Written(keys.PREDICTIONS, kept.plain(), keys.PREDICTIONS_FILE))
        journal.close()


def test_the_record_of_other_studies_corrects_the_next_prediction(tmp_path: Path, plan: Plan) -> None:
    alone = predictions(Answer.read(read_record(plan.file).written[keys.ANSWER]))
    taught = planned(tmp_path, REGMIX)
    too_high(taught.file.home, 5)
    answer, _ = run(taught, noisy)
    found = predictions(answer)
    assert found.correction is not None
    assert (found.correction.confirmations, found.correction.studies) == (10, 5)
    assert found.correction.taken_off == pytest.approx(OPTIMISM, abs=0.002)
    [note] = [each for each in answer.notes if "predicted gains of the last" in each]
    assert note.startswith("predicted gains of the last 10 confirmations here (5 studies) were 0.020")
    for each, before in zip(found.gains, alone.gains, strict=True):
        assert each.gain == pytest.approx(before.gain), "the record is of what the regression said"
        expected = each.gain - (0 if each.is_baseline else found.correction.taken_off)
        assert each.interval.mean == pytest.approx(expected)
    assert answer.mixture == pytest.approx(Answer.read(read_record(plan.file).written[keys.ANSWER]).mixture)
    together = answer_of("calibration", taught.file.file.parent)["together"][0]
    assert together["candidates"]["confirmations"] > 10
    shutil.rmtree(taught.file.home / "earlier-0")
    assert predictions(run(taught, noisy)[0]) == found, "what was said once stays said"


@pytest.mark.parametrize("studies", [1, 2])
def test_a_short_record_corrects_nothing(plan: Plan, copied: Path, studies: int) -> None:
    too_high(copied.parent / ".mixopt", studies)
    found = answer_of("calibration", copied.parent)
    assert found["together"][0]["candidates"]["taken_off"] == 0


def test_the_report_shows_predicted_against_confirmed_gains(copied: Path) -> None:
    too_high(copied.parent / ".mixopt", 3)
    assert mixopt("prepare", copied).status == 0
    file = load(copied)
    content = report_content(file, read_record(file))
    page = render(content)
    assert "Predicted gains against confirmed ones" in page
    assert "of 3 other studies in the same folder" in page
    assert "were inside their 80% interval" in page


@pytest.mark.slow
def test_what_bayes_expects_of_a_trial_is_recorded_before_it_is_trained(tmp_path: Path) -> None:
    plan = planned(tmp_path, DENSE + "search: {strategy: bayes, surrogate: linear, refine: false}\n")
    run(plan, noisy)
    opened = {each.trial.id: each for each in entries(plan) if isinstance(each, Opened)}
    # Of the search's own seed: what another seed does to all mixtures is not foreseen.
    chosen = [each for each in opened.values() if each.trial.origin == "log_ei" and each.trial.seed == SEARCH_SEED]
    assert chosen and all(each.foreseen is not None for each in chosen)
    assert all(each.foreseen is None for each in opened.values() if each.trial.origin.startswith("baseline:"))
    score = answer_of("calibration", plan.file.file)["studies"][0]["proposals"]
    assert score["trials"] >= len(chosen)
    assert score["rmse"] < 0.2
