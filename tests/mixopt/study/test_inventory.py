"""What the pools held when they were measured, and what commands say of pools that have changed since."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from mixopt.settings.reading import load
from mixopt.study.corpus import prepare_corpus
from mixopt.study.inventory import POOLS, how_to_reuse, inventory_of, pool_changes
from mixopt.study.plan import Plan
from mixopt.study.planning import make_plan
from mixopt.study.record import fetch_record, open_store, read_record
from mixopt.study.recording import begin
from tests.e2e.study import STUDY, answer_of, write_study
from tests.program import mixopt
from tests.simulated import planned, run
from tests.text import write_jsonl
from tracking import keys

TEXT = STUDY.replace("code.jsonl,", "code.jsonl, tokens: 40k,") + "search: {strategy: regmix, surrogate: linear}\n"
# How many documents tests.e2e.study writes.
DOCUMENTS = {"prose": 60, "code": 30, "sums": 20}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three pools, one of them declared, that has its answer."""
    plan = planned(tmp_path_factory.mktemp("ran"), TEXT)
    run(plan)
    return plan.file.file


@pytest.fixture
def study(ran: Path, tmp_path: Path) -> Path:
    """The same, moved to a folder of its own."""
    return shutil.copytree(ran.parent, tmp_path / "study") / ran.name


def changes(study: Path) -> list[str]:
    """What `status` says, without what to do about it."""
    return [said for said in answer_of("status", study)["pool_changes"] if said.startswith("domain")]


def grow(study: Path, name: str = "prose", documents: int = 90) -> None:
    write_jsonl(study.parent / "data", {name: documents})


def test_the_inventory_travels_with_the_answer_the_export_and_mlflow(study: Path) -> None:
    answer = answer_of("best", study)
    inventory = answer["inventory"]
    assert {name: domain["documents"] for name, domain in inventory["domains"].items()} == DOCUMENTS
    assert all(
        domain["tokens"] == (40_000 if name == "code" else domain["counted"]) and domain["declared"] == (name == "code")
        for name, domain in inventory["domains"].items()
    )
    assert answer["provenance"]["inventory"] == inventory["fingerprint"]
    assert f"inventory {inventory['fingerprint']}" in mixopt("export", study, "-f", "olmo-core").stdout
    assert f"inventory: {inventory['fingerprint']}" in mixopt("export", study).stdout
    record, found = fetch_record(load(study)), open_store(load(study)).find("small")
    assert record is not None and found is not None
    assert record.written[keys.INVENTORY] == inventory
    assert found.current_tags()[keys.INVENTORY] == inventory["fingerprint"]


def test_the_same_pools_have_the_same_inventory_wherever_they_lie(
    study: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = planned(tmp_path_factory.mktemp("elsewhere"), TEXT)
    here = answer_of("best", study)["inventory"]["fingerprint"]
    assert inventory_of(elsewhere.file, elsewhere.pools).fingerprint == here
    other = planned(tmp_path_factory.mktemp("other"), TEXT.replace("tokens: 40k,", "tokens: 50k,"))
    assert inventory_of(other.file, other.pools).fingerprint != here


def test_pools_that_are_as_they_were_are_not_mentioned(study: Path) -> None:
    assert changes(study) == []
    assert answer_of("best", study)["notes"] == list(read_record(load(study)).written[keys.ANSWER]["notes"])


def test_a_changed_file_is_said_at_once_and_counted_by_prepare(study: Path, tmp_path: Path) -> None:
    grow(study)
    [said] = changes(study)
    tokens = answer_of("best", study)["inventory"]["domains"]["prose"]["tokens"]
    assert said == (
        f"domain prose: {tokens / 1000:.3g}k tokens measured; 1 file changed; "
        "counted sizes unknown until mixopt prepare"
    )
    assert said in answer_of("best", study)["notes"]
    done = mixopt("export", study)
    assert said in " ".join(done.stderr.split())
    assert yaml_weights(done.stdout), "it is exported all the same"
    assert said in mixopt("report", study, "-o", tmp_path / "report.html").stderr.replace("\n", " ")

    prepared = mixopt("prepare", study)
    now = answer_of("prepare", study)["domains"]["prose"]["train_tokens"]
    [said] = changes(study)
    assert said == f"domain prose: {tokens / 1000:.3g}k tokens measured, {now / 1000:.3g}k now; 1 file changed"
    told = " ".join(prepared.stderr.split())
    assert said in told
    assert how_to_reuse(load(study)) in told


def yaml_weights(text: str) -> bool:
    return "weights:" in text


def test_a_file_more_and_a_file_less_are_counted(tmp_path: Path) -> None:
    write_study(tmp_path, TEXT.replace("data/prose.jsonl", "data/prose"))
    write_jsonl(tmp_path / "data/prose", {"prose": 30, "code": 20})
    file = load(tmp_path / "study.yaml")
    plan = make_plan(file, prepare_corpus(file, lambda progress: None))
    with begin(plan, open_store(file)):
        assert changes(file.file) == []
    (tmp_path / "data/prose/code.jsonl").unlink()
    write_jsonl(tmp_path / "data/prose", {"prose": 31, "sums": 20})
    [said] = changes(file.file)
    assert "; 1 file changed, 1 new, 1 gone; " in said


@pytest.mark.parametrize("keeps_times", [True, False])
def test_a_folder_that_moved_has_not_changed(study: Path, tmp_path: Path, keeps_times: bool) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(study.parent, moved / "there", copy_function=shutil.copy2 if keeps_times else shutil.copy)
    shutil.rmtree(study.parent / "data")
    assert changes(moved / "there" / study.name) == []
    assert changes(study) == [], "text that is not here is not compared"


def test_pools_named_by_another_path_have_not_changed(study: Path) -> None:
    (study.parent / "data").rename(study.parent / "texts")
    study.write_text(study.read_text().replace("data/", "texts/"))
    assert changes(study) == []
    assert mixopt("export", study).status == 0


def test_a_file_written_again_as_it_was_is_said_to_have_changed_until_it_is_read(study: Path) -> None:
    with begin(planned_again(study), open_store(load(study))):
        assert changes(study) == []
    later = time.time() + 60
    os.utime(study.parent / "data/sums.jsonl", (later, later))
    assert len(changes(study)) == 1
    with begin(planned_again(study), open_store(load(study))):
        assert changes(study) == []


def test_prepare_finds_that_the_same_text_is_no_change(study: Path) -> None:
    with begin(planned_again(study), open_store(load(study))):
        pass
    later = time.time() + 120
    os.utime(study.parent / "data/sums.jsonl", (later, later))
    assert len(changes(study)) == 1
    assert "changed" not in mixopt("prepare", study).stderr
    assert changes(study) == []


def planned_again(study: Path) -> Plan:
    file = load(study)
    return make_plan(file, prepare_corpus(file, lambda progress: None))


def test_other_declared_tokens_are_said_and_the_study_does_not_go_on(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study.parent)
    study.write_text(study.read_text().replace("tokens: 40k, max: 70%", "tokens: 90k, max: 70%"))
    assert changes(study) == ["domain code: 40k tokens measured, 90k now"]
    assert mixopt("best", study).status == mixopt("export", study).status == mixopt("runs", study).status == 0
    done = mixopt("run", study)
    assert done.status == 2
    assert "changed: domains.code.tokens" in done.stderr
    assert "mixopt runs study.yaml -o small-runs.csv, then" in done.stderr
    assert "reuse: {runs: small-runs.csv}" in done.stderr


def test_the_runs_of_a_study_answer_for_todays_inventory(study: Path) -> None:
    """The lines of the hint, as they stand there."""
    assert answer_of("best", study)["domains"]["sums"]["max_epochs"] == 4
    grow(study, "sums", 80)
    assert mixopt("runs", study, "-o", study.with_name("small-runs.csv")).status == 0
    today = study.with_name("today.yaml")
    text = study.read_text().replace("study: small", "study: today") + "reuse: {runs: small-runs.csv}\n"
    today.write_text(text.replace("trials: 8", "trials: 0").replace("trials: 3", "trials: 2"))
    answer, _ = run(planned_again(today))
    before = answer_of("best", study)
    assert answer.domains["sums"].tokens > 2 * before["domains"]["sums"]["tokens"]
    assert answer.inventory is not None and answer.inventory.fingerprint != before["inventory"]["fingerprint"]
    assert any("earlier runs count as evidence" in note for note in answer.notes)
    for domain in answer.domains.values():
        assert domain.epochs == pytest.approx(domain.weight * 40_000 / domain.tokens)
    assert changes(today) == []


def test_a_study_of_which_nothing_is_here_but_its_file_is_not_compared(study: Path) -> None:
    file = load(study)
    (file.work_directory / POOLS).unlink()
    shutil.rmtree(file.work_directory / "corpus")
    shutil.rmtree(study.parent / "data")
    assert pool_changes(file, read_record(file)) == ()
