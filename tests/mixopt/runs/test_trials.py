"""A study's trials as a table: what is written reads back as the runs that were trained."""

from dataclasses import replace
from pathlib import Path

import pytest

from mixopt.runs.table import read
from mixopt.runs.trials import csv_text, run_rows
from search.history import Failed, History
from search.objective import Unit
from search.trial import DocumentGroups, Failure, FailureKind, Measurement, Trial
from tests.search.worlds import DOMAINS, LARGE, SMALL, completed, measure, problem


@pytest.mark.parametrize("unit", ["nats_per_token", "bits_per_byte"])
def test_every_completed_trial_reads_back_with_its_numbers(tmp_path: Path, unit: Unit) -> None:
    question = problem(trials=(6, 3))
    search = [*question.baseline_trials]
    proportional = question.baselines["proportional"]
    confirmed = [Trial(proportional, LARGE, seed, "confirm:proposed") for seed in (1, 2)]
    lost = Failed(Trial(proportional, LARGE, 3), Failure(FailureKind.LOST_WORKER, "node went"))
    history = History(
        completed([*confirmed, *search]).completed, running=(Trial(proportional, LARGE, 4),), failed=(lost,)
    )

    (tmp_path / "runs.csv").write_text(csv_text(run_rows(history, unit)))
    runs, notes = read(tmp_path / "runs.csv")

    assert runs.fidelities == (SMALL, LARGE)
    assert runs.metrics == ("prose", "programs")
    assert set(runs.names) == set(history.measurements)
    for place, name in enumerate(runs.names):
        [entry] = [entry for entry in history.completed if entry.trial.id == name]
        assert runs.fidelities[runs.fidelity_N[place]] == entry.trial.fidelity
        assert runs.weights_ND[place] == pytest.approx(entry.trial.mixture.reordered(runs.domains).array)
        losses = entry.measurement.losses
        assert runs.values_NM[place].tolist() == [getattr(losses[metric], unit) for metric in runs.metrics]
    assert set(runs.domains) == set(DOMAINS)
    assert "runs.csv: columns that are not used: seed, origin" in notes
    assert any("kept as replicates" in note for note in notes)


def test_a_confirmation_on_other_documents_is_in_the_table_and_no_evidence_beside_the_search(tmp_path: Path) -> None:
    question = problem(trials=(3,))

    def measuring(trial: Trial) -> Measurement:
        groups = DocumentGroups((30.0, 20.0), (10, 8), (40, 30))
        return replace(measure(trial), documents={"prose": groups} if trial.seed == 1 else {})

    confirmed = [Trial(mixture, LARGE, 1, "confirm:proposed") for mixture in question.baselines.values()]
    history = completed([*question.baseline_trials, *confirmed], measuring)
    (tmp_path / "runs.csv").write_text(csv_text(rows := run_rows(history, "nats_per_token")))

    assert {row["run"] for row in rows if row["documents"] == "confirmation"} == {trial.id for trial in confirmed}
    runs, notes = read(tmp_path / "runs.csv")
    assert set(runs.names) == {trial.id for trial in question.baseline_trials}
    assert (
        f"runs.csv: {len(confirmed)} runs of a confirmation are left out: they were measured on other documents"
        in notes
    )
