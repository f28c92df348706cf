"""What is removed, and above all what is not."""

from __future__ import annotations

import json
import mmap
import sys
from pathlib import Path
from typing import Any

import pytest

from mixopt.base.files import locked
from mixopt.settings.reading import load
from mixopt.study.corpus import prepare_corpus
from mixopt.study.record import journal_path
from search.trial import Failure, FailureKind, Trial
from tests.e2e.study import write_study
from tests.program import mixopt
from tests.tracking.trials import measurement, trial
from tracking.entries import Closed, Entry, Finished, Opened
from tracking.journal import Journal
from tracking.record import Subject

CLOSED, RUNNING = trial(0.2), trial(0.3)


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXOPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr("mixopt.workers.ray_folders.SHORT_FOLDERS", (str(tmp_path / "short"),))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "ray"))
    for name in ("tmp", "short", "ray"):
        (tmp_path / name).mkdir()


def study_with(folder: Path, *more: Entry, corpus: str = "f" * 16) -> Path:
    """The folder of a study with one trial closed and one running, each with a checkpoint."""
    study = folder / "studies" / "small"
    checkpoints = study / "checkpoints"
    checkpoints.mkdir(parents=True)
    entries = (Opened(CLOSED), Closed(CLOSED, measurement(3.0)), Opened(RUNNING), *more)
    Journal.create(study / "journal.jsonl", Subject("small", {}, corpus), (), entries).close()
    for each in (CLOSED, RUNNING):
        checkpoint(study, each).write_bytes(b"x" * 1000)
    (checkpoints / ".0123.mixopt-partial").write_bytes(b"x" * 10)
    return study


def checkpoint(study: Path, of: Trial) -> Path:
    return study / "checkpoints" / f"{of.id}.pt"


def pruned(folder: Path, *options: str) -> dict[str, Any]:
    done = mixopt("prune", folder, "--json", *options)
    assert done.status == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_it_shows_first_and_removes_on_request_what_no_trial_goes_on_from(tmp_path: Path) -> None:
    study = study_with(tmp_path)
    shown = pruned(study.parent)
    assert {Path(item["path"]).name for item in shown["items"]} == {f"{CLOSED.id}.pt", ".0123.mixopt-partial"}
    assert (shown["bytes"], shown["removed"]) == (1010, False)
    assert checkpoint(study, CLOSED).exists()
    assert "the trial is recorded" in mixopt("prune", study.parent).stdout

    assert pruned(study.parent, "--yes")["items"] == shown["items"]
    assert [path.name for path in (study / "checkpoints").iterdir()] == [f"{RUNNING.id}.pt"]
    assert (study / "journal.jsonl").exists()
    assert pruned(study.parent, "--yes")["items"] == []


def test_what_a_trainer_of_ones_own_left_of_measured_trials_goes(tmp_path: Path) -> None:
    failed = trial(0.6)
    more = (Opened(failed), Closed(failed, Failure(FailureKind.ERROR, "no room"), None))
    study = study_with(tmp_path, *more)
    for each in (CLOSED, RUNNING, failed):
        folder = study / "trials" / each.id
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "weights.bin").write_bytes(b"x" * 1000)
        (folder / "losses.json").write_text("{}")
        (folder / "log.txt").write_text("trained")
    found = [item for item in pruned(study.parent, "--yes")["items"] if "trials" in item["path"]]
    assert [(Path(item["path"]).parent.name, item["bytes"]) for item in found] == [(CLOSED.id, 1000)]
    left = {path.name for path in (study / "trials" / CLOSED.id).iterdir()}
    assert left == {"losses.json", "log.txt"}
    assert (study / "trials" / failed.id / "model").exists(), "--retry-failed may go on from it"
    assert (study / "trials" / RUNNING.id / "model").exists()


def test_nothing_of_a_running_study_or_a_damaged_one_is_touched(tmp_path: Path) -> None:
    study = study_with(tmp_path)
    with locked(study, "the study"):
        found = pruned(study.parent, "--yes")
    assert not found["items"]
    assert "is being run by process" in found["kept"][0]["why"]
    journal = study / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"3.0", b"3.1", 1))
    assert "is damaged" in pruned(study.parent, "--yes")["kept"][0]["why"]
    assert checkpoint(study, CLOSED).exists()


ALL_CLOSED = Closed(RUNNING, measurement(3.5))
MORE = trial(0.5)


@pytest.mark.parametrize(
    ("more", "finished"),
    [
        ((), False),
        ((ALL_CLOSED,), False),
        ((Finished(),), False),  # a trial still runs
        ((ALL_CLOSED, Finished()), True),
        ((ALL_CLOSED, Finished(), Opened(MORE)), False),
        (
            (ALL_CLOSED, Finished(), Opened(MORE), Closed(MORE, measurement(3.5))),
            False,
        ),  # begun again
        ((ALL_CLOSED, Finished(), Opened(MORE), Closed(MORE, measurement(3.5)), Finished()), True),
    ],
)
def test_a_fetched_corpus_stays_while_a_study_may_go_on_with_it(
    tmp_path: Path, more: tuple[Entry, ...], finished: bool
) -> None:
    study = study_with(tmp_path, *more)
    for fingerprint in ("f" * 16, "e" * 16):
        (tmp_path / "cache" / fingerprint).mkdir(parents=True)
        (tmp_path / "cache" / fingerprint / "a.tokens").write_bytes(b"x" * 100)
    pruned(study.parent, "--yes")
    there = {path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()}
    assert there == (set() if finished else {"f" * 16})


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_fetched_corpus_stays_while_a_process_has_it_open(tmp_path: Path) -> None:
    tokens = tmp_path / "cache" / ("e" * 16) / "a.tokens"
    tokens.parent.mkdir(parents=True)
    tokens.write_bytes(b"x" * 5000)
    (tmp_path / "studies").mkdir()
    with tokens.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        assert "has it open" in pruned(tmp_path / "studies", "--yes")["kept"][0]["why"]
    assert tokens.exists()
    assert pruned(tmp_path / "studies", "--yes")["items"]
    assert not tokens.exists()


@pytest.mark.parametrize("damage", ["link", "folder", "journal"])
def test_a_study_that_cannot_be_looked_at_is_told_and_keeps_no_other(tmp_path: Path, damage: str) -> None:
    study = study_with(tmp_path)
    other = study_with(tmp_path / "more")
    other.rename(study.parent / "tiny")
    if damage == "link":
        (study / "lock").symlink_to(tmp_path / "any")
    elif damage == "folder":
        (study / "lock").mkdir()
    else:
        (study / "journal.jsonl").unlink()
        (study / "journal.jsonl").mkdir()
    found = pruned(study.parent, "--yes")
    [kept] = found["kept"]
    assert kept["path"] == str(study)
    assert ("symbolic link" if damage == "link" else "it cannot be looked at") in kept["why"]
    assert checkpoint(study, CLOSED).exists()
    assert not checkpoint(study.parent / "tiny", CLOSED).exists()


@pytest.mark.parametrize("place", ["tmp", "short", "ray"])
def test_what_ray_left_goes_and_links_are_not_followed(tmp_path: Path, place: str) -> None:
    study = study_with(tmp_path)
    left, other = tmp_path / place / "mixopt-left", tmp_path / "other"
    for folder in (left / "ray" / "session", other / "ray"):
        folder.mkdir(parents=True)
    (tmp_path / "tmp" / "mixopt-linked").symlink_to(other)
    (study.parent / "linked").symlink_to(study)
    checkpoint(study, trial(0.4)).symlink_to(other)
    pruned(study.parent, "--yes")
    assert not left.exists()
    assert other.exists()


def test_the_corpus_of_a_study_stays_without_what_it_has_no_use_for(tmp_path: Path) -> None:
    file = load(write_study(tmp_path))
    corpus = prepare_corpus(file, lambda progress: None)
    (corpus.directory / "domains" / "gone").mkdir()
    (corpus.directory / "domains" / "gone" / "0.tokens").write_bytes(b"x" * 100)
    (corpus.directory / "tokenizer-000000000000.json").write_text("{}")
    before = {path for path in corpus.directory.rglob("*") if path.is_file()}
    Journal.create(journal_path(file), Subject(file.study, file.deciding(), corpus.fingerprint)).close()
    found = pruned(tmp_path / ".mixopt", "--yes")
    after = {path for path in corpus.directory.rglob("*") if path.is_file()}
    assert {path.name for path in before - after} == {"0.tokens", "tokenizer-000000000000.json"}
    assert len(found["items"]) == 2
    assert prepare_corpus(file, lambda progress: pytest.fail("it is prepared again")).fingerprint == corpus.fingerprint


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    done = mixopt("prune", tmp_path / "nowhere")
    assert done.status == 2
    assert f"{tmp_path}/nowhere: no such folder; name the folder where studies are kept" in done.stderr
