"""Tables as teams have them are read without a word about their columns, all to the same runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixopt.runs.table import read, read_all
from tests.mixopt.runs.tables.teams import DOMAINS, TEAMS, Finished, some_runs, whole


def check(path: Path, runs: Sequence[Finished]) -> tuple[str, ...]:
    """The table is read to these runs; returns the notes."""
    found, notes = read(path)
    assert found.domains == tuple(runs[0].shares)
    loss, score = (next(name for name in found.metrics if part in name) for part in ("loss", "mmlu"))
    assert len(found.metrics) == 2
    assert sorted(name.partition("/")[0] for name in found.names) == sorted(run.name for run in runs)
    place_of = {name.partition("/")[0]: place for place, name in enumerate(found.names)}
    order = [place_of[run.name] for run in runs]
    shares_ND = np.array([list(run.shares.values()) for run in runs]) / 100
    assert np.allclose(found.weights_ND[order], shares_ND, atol=1e-9)
    assert found.values_NM[order, found.metrics.index(loss)].tolist() == [run.loss for run in runs]
    assert found.values_NM[order, found.metrics.index(score)].tolist() == [run.score for run in runs]
    return notes


@pytest.mark.parametrize("name", TEAMS)
def test_a_teams_table_is_read_as_it_lies_there(tmp_path: Path, name: str) -> None:
    runs = some_runs()
    TEAMS[name](tmp_path / name, runs)
    check(tmp_path / name, runs)


names = st.text("abcdefghijklmnopqrstuvwxyzäöü", min_size=3, max_size=8).map(lambda text: "d" + text)


@st.composite
def finished(draw: st.DrawFn) -> list[Finished]:
    """Runs that differ, of domains of any name."""
    domains = draw(st.lists(names, min_size=3, max_size=6, unique=True))
    count = draw(st.integers(5, 12))
    shares = st.lists(st.floats(0.01, 1), min_size=len(domains), max_size=len(domains)).map(whole).map(tuple)
    mixtures = draw(st.lists(shares, min_size=count, max_size=count, unique=True))
    losses = draw(st.lists(st.integers(1001, 9998), min_size=count, max_size=count, unique=True))
    scores = draw(st.lists(st.integers(1, 999), min_size=count, max_size=count, unique=True))
    return [
        Finished(f"run-{place}", dict(zip(domains, mixture, strict=True)), losses[place] / 1000, scores[place] / 1000)
        for place, mixture in enumerate(mixtures)
    ]


@pytest.mark.parametrize("name", TEAMS)
@given(runs=finished())
@settings(max_examples=15, deadline=None)
def test_the_same_runs_are_read_from_every_table(
    tmp_path_factory: pytest.TempPathFactory, name: str, runs: list[Finished]
) -> None:
    path = tmp_path_factory.mktemp("team") / name
    TEAMS[name](path, runs)
    check(path, runs)


def test_crashed_running_and_stale_runs_of_wandb_are_left_out_and_counted(tmp_path: Path) -> None:
    runs = some_runs()
    TEAMS["wandb-export.csv"](tmp_path / "runs.csv", runs)
    notes = check(tmp_path / "runs.csv", runs)
    [told] = [note for note in notes if "left out" in note]
    assert "3 rows are left out: 1 crashed (State), 1 running (State), 1 ended before max_steps (_step)" in told
    [mixture] = [note for note in notes if "the mixture is" in note]
    assert "config.data.mix.*, 3 domains: by their name, and every row sums to 1" in mixture


def test_sizes_and_tokens_of_a_run_are_found(tmp_path: Path) -> None:
    TEAMS["wandb-export.csv"](tmp_path / "w.csv", some_runs())
    runs, _ = read_all(tmp_path / "w.csv")
    assert (runs.target.params, runs.target.tokens) == (60_000_000, 1_000_000_000)
    TEAMS["tokens.jsonl"](tmp_path / "t.jsonl", some_runs())
    runs, notes = read_all(tmp_path / "t.jsonl")
    assert runs.target.tokens == 1_000_000_000, "what the domains' tokens sum to"
    assert any("weights are tokens of each domain" in note for note in notes)


def test_a_spreadsheet_tells_what_was_made_of_it(tmp_path: Path) -> None:
    TEAMS["ergebnisse.csv"](tmp_path / "e.csv", some_runs())
    _, notes = read(tmp_path / "e.csv")
    said = " ".join(notes)
    for part in ("Ergebnisse im März", "weights are percentages", "1 named as a summary of the rows above", "run Lauf"):
        assert part in said
    assert DOMAINS[2] == "Bücher" in said
