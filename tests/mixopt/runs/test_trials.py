"""A study's trials as a table: what is written reads back as the runs that were trained."""

from pathlib import Path

import pytest

from mixopt.runs.table import read
from mixopt.runs.trials import csv_text, run_rows
from search.history import Failed, History
from search.objective import Unit
from search.trial import Failure, FailureKind, Trial
from tests.search.worlds import DOMAINS, LARGE, SMALL, completed, problem


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
