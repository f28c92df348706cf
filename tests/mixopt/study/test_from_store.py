"""What a study takes from others of its MLflow experiment: by the text of their pools, once, and told."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mixopt.cli.tables.reused import reused_table
from mixopt.results.reused import OtherStudy
from mixopt.settings.reading import load
from mixopt.settings.schema import StudyFile
from mixopt.study.corpus import prepare_corpus
from mixopt.study.from_store import planned
from mixopt.study.plan import Plan
from mixopt.study.record import open_store
from search.trial import Loss, Measurement, Trial
from tests.e2e.study import STUDY, answer_of, recorded, write_study
from tests.program import mixopt
from tests.simulated import measured, run
from tests.text import documents, write_jsonl
from tracking import keys

SEARCH = "search: {strategy: regmix, surrogate: linear}\n"
# The pools of the first study by other names, and in another order.
RENAMED = STUDY.replace("study: small", "study: second").replace(
    "  prose: {paths: data/prose.jsonl}\n  code:  {paths: data/code.jsonl, max: 70%}\n",
    "  programs:  {paths: data/code.jsonl, max: 70%}\n  text: {paths: data/prose.jsonl}\n",
)
RENAMED = RENAMED.replace("[prose, sums]", "[text, sums]").replace("{prose: 2, code: 1}", "{text: 2, programs: 1}")
REUSE = "reuse: {store: true}\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store in which one study has its answer."""
    folder = tmp_path_factory.mktemp("first")
    study(folder, folder / "mlflow.db", STUDY)
    run(plan_of(folder))
    return folder / "mlflow.db"


def study(folder: Path, store: Path, text: str, more: str = "", **documents: int) -> StudyFile:
    """A study file whose record goes into this store, and its text; `documents`: other numbers of them."""
    path = write_study(folder, text + SEARCH + f"tracking: {{uri: 'sqlite:///{store}'}}\n" + more)
    if documents:
        write_jsonl(folder / "data", documents)
    return load(path)


def plan_of(folder: Path) -> Plan:
    file = load(folder / "study.yaml")
    return planned(file, prepare_corpus(file, lambda progress: None))


@pytest.fixture
def copied(store: Path, tmp_path: Path) -> Path:
    """The store, to write into."""
    return Path(shutil.copy(store, tmp_path / "mlflow.db"))


def taken(plan: Plan) -> OtherStudy:
    assert plan.taken is not None
    [only] = plan.taken.reused.studies
    return only


def test_runs_on_the_same_pools_count_whatever_these_are_called(store: Path, tmp_path: Path) -> None:
    study(tmp_path, store, RENAMED, REUSE)
    plan = plan_of(tmp_path)
    found, first = taken(plan), recorded(store.parent / "study.yaml")
    searched = [entry for entry in first.completed if not entry.measurement.documents]
    assert (found.runs, found.of, found.why_not, found.unknown) == (len(searched), len(searched), None, ())
    assert {each.was: each.pool for each in found.pools} == {"prose": "text", "code": "programs", "sums": "sums"}
    earlier = plan.problem.earlier
    assert earlier is not None and earlier.domains == ("programs", "text", "sums")
    assert not found.tied, "the same recipes, tokenizer and documents"
    assert set(earlier.fidelities) <= {rung.fidelity for rung in plan.problem.rungs}
    names = {entry.trial.id: entry for entry in searched}
    for place, name in enumerate(earlier.names):
        entry = names[name.partition("/")[2]]
        assert earlier.mixture(place)["text"] == pytest.approx(entry.trial.mixture["prose"])
        loss = entry.measurement.losses["prose"].nats_per_token
        assert earlier.values_NM[place, earlier.metrics.index("text")] == loss
    assert any("runs of study small count as evidence, by its pools" in note for note in plan.notes)


def test_a_pool_that_grew_a_little_is_known_by_its_documents_and_its_losses_are_tied(
    store: Path, tmp_path: Path
) -> None:
    study(tmp_path, store, RENAMED, REUSE, prose=63)
    found = taken(plan_of(tmp_path))
    by = {each.pool: each.by for each in found.pools}
    assert by["text"] == "documents", "its tokens are others"
    assert next(each.alike for each in found.pools if each.pool == "text") == pytest.approx(60 / 63, abs=0.02)
    assert found.runs == found.of and set(found.tied) == {"dense", "moe"}
    assert found.why_tied == "another tokenizer" and "tied by a line: another tokenizer" in found.said


def test_runs_that_used_another_pool_are_left_out_and_it_is_said(store: Path, tmp_path: Path) -> None:
    study(tmp_path, store, RENAMED, REUSE, sums=60)
    plan = plan_of(tmp_path)
    found = taken(plan)
    assert found.unknown == ("sums",), "a third of it is what it was"
    assert found.runs == 0 and found.why_not == "each run gave more than 2% to sums"
    assert plan.problem.earlier is None
    assert "reuse.store: no run of another study in the experiment counts here" in plan.notes


def test_names_alone_are_no_match(store: Path, tmp_path: Path) -> None:
    study(tmp_path, store, STUDY.replace("study: small", "study: second"), REUSE)
    for name, other in (("prose", "code"), ("code", "sums"), ("sums", "prose")):
        text = "".join(f'{{"text": "{each} {name}"}}\n' for each in documents(other, 40))
        (tmp_path / "data" / f"{name}.jsonl").write_text(text)
    found = taken(plan_of(tmp_path))
    assert (found.pools, found.why_not) == ((), "none of its pools is one of this study's")


def test_of_pools_that_share_too_little_it_is_said_how_much(store: Path, tmp_path: Path) -> None:
    study(tmp_path, store, RENAMED, REUSE, prose=120, code=90, sums=60)
    why = taken(plan_of(tmp_path)).why_not
    assert why is not None and why.startswith("none of its pools is one of this study's; prose is ")


def test_of_runs_that_do_not_count_it_is_said_why(store: Path, tmp_path: Path) -> None:
    study(tmp_path, store, RENAMED, REUSE, code=90)
    plan = plan_of(tmp_path)
    found = taken(plan)
    assert found.unknown == ("code",) and 0 < found.runs < found.of
    assert found.left_out == {"gave more than 2% to code": found.of - found.runs}
    assert any(found.said in note for note in plan.notes)
    shown = " ".join(mixopt("plan", tmp_path / "study.yaml", "--no-probe").stdout.split())
    assert "gave more than 2% to code" in shown


def test_a_run_that_a_table_has_counts_from_there_and_once(tmp_path: Path) -> None:
    def by_proxy(trial: Trial) -> Measurement:
        found, more = measured(trial), 0.1 * (trial.fidelity.proxy == "moe")
        losses = {name: Loss(loss.nats_per_token + more, loss.bits_per_byte) for name, loss in found.losses.items()}
        return replace(found, losses=losses, curve=())

    store, table = tmp_path / "mlflow.db", tmp_path / "first.csv"
    first = study(tmp_path / "first", store, STUDY)
    run(plan_of(tmp_path / "first"), by_proxy)
    assert mixopt("runs", first.file, "-o", table).status == 0
    renamed = "renamed: {prose: text, code: programs}"
    study(tmp_path, store, RENAMED, f"reuse: {{runs: first.csv, {renamed}, store: true}}\n")
    plan = plan_of(tmp_path)
    found, earlier = taken(plan), plan.problem.earlier
    assert earlier is not None and len(earlier) == found.of
    assert found.left_out == {"counted from reuse.runs already": found.of}
    assert found.why_not == "each run counted from reuse.runs already"
    # Of a table with some of them, the others count from the store.
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:8]) + "\n")
    plan = plan_of(tmp_path)
    assert plan.problem.earlier is not None and len(plan.problem.earlier) == found.of
    assert taken(plan).left_out == {"counted from reuse.runs already": 7}


def test_studies_of_which_nothing_counts_for_one_reason_are_shown_together(copied: Path, tmp_path: Path) -> None:
    file = study(tmp_path, copied, RENAMED, REUSE)
    for name in "abcde":
        open_store(file).find_or_create(f"empty-{name}")
    made = plan_of(tmp_path).taken
    assert made is not None and len(made.reused.studies) == 6
    assert sorted(len(each) for each in made.reused.together) == [1, 5]
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(*reused_table(made.reused))
    shown = console.export_text()
    assert "and 2 more" in shown and shown.count("nothing is recorded of its pools") == 1


def test_what_was_taken_stays_when_the_store_has_more(copied: Path, tmp_path: Path) -> None:
    second, third = tmp_path / "second", tmp_path / "third"
    study(second, copied, RENAMED, REUSE)
    plan = plan_of(second)
    answer, _ = run(plan)
    assert answer.reused is not None and plan.taken is not None
    assert answer.reused == plan.taken.reused
    study(third, copied, RENAMED.replace("study: second", "study: third"), REUSE)
    run(plan_of(third))
    again = plan_of(second)
    assert again.taken is not None and again.taken.runs is not None and plan.taken.runs is not None
    assert again.taken.reused == plan.taken.reused
    np.testing.assert_array_equal(again.taken.runs.values_NM, plan.taken.runs.values_NM)
    assert again.taken.runs.fidelities == plan.taken.runs.fidelities
    # From the record in MLflow alone, as on another machine.
    shutil.rmtree(second / ".mixopt")
    assert taken(plan_of(second)) == taken(plan)
    newest = plan_of(third).taken
    assert newest is not None and [each.study for each in newest.reused.studies] == ["second", "small"]


def test_it_is_shown_where_a_study_is_looked_at(copied: Path, tmp_path: Path) -> None:
    path = study(tmp_path / "second", copied, RENAMED, REUSE).file
    planned = answer_of("plan", path, "--no-probe")["reused"]
    assert planned["runs"] == planned["studies"][0]["runs"] > 0
    shown = mixopt("plan", path, "--no-probe").stdout
    assert "prose as text" in shown and "small" in shown
    run(plan_of(path.parent))
    assert answer_of("status", path)["reused"] == planned
    assert answer_of("best", path)["reused"] == planned
    assert answer_of("report", path, "-o", tmp_path / "report.html")["reused"] == planned
    assert "Which runs of other studies counted" in (tmp_path / "report.html").read_text()


def test_with_runs_of_the_store_few_trials_find_a_better_mixture(copied: Path, tmp_path: Path) -> None:
    few = RENAMED.replace("trials: 8", "trials: 0").replace("trials: 3", "trials: 2")

    def objective(more: str, name: str) -> float:
        folder = tmp_path / name
        study(folder, copied, few.replace("study: second", f"study: {name}"), more)
        answer, _ = run(plan_of(folder), lambda trial: measured(trial))
        return -2 * answer.recommendation.mixture["text"] - answer.recommendation.mixture["programs"]

    assert objective(REUSE, "with") < objective("", "without")


def test_a_study_that_asks_for_nothing_takes_nothing(store: Path, tmp_path: Path) -> None:
    study(tmp_path, store, RENAMED)
    assert plan_of(tmp_path).taken is None


def test_a_store_that_is_not_there_yet_has_no_other_study(tmp_path: Path) -> None:
    study(tmp_path, tmp_path / "new.db", RENAMED, REUSE)
    made = plan_of(tmp_path).taken
    assert made is not None and made.runs is None and made.reused.studies == ()
    assert not (tmp_path / "new.db").exists(), "to plan makes no store"


def test_a_study_whose_record_is_damaged_stops_no_other(copied: Path, tmp_path: Path) -> None:
    file = study(tmp_path, copied, RENAMED, REUSE)
    first = open_store(file).find("small")
    assert first is not None
    first.set_tags({keys.COPY: "{}"})
    found = taken(plan_of(tmp_path))
    assert found.runs == 0 and "not as it was written" in str(found.why_not)


def test_a_further_evaluation_set_is_known_by_its_documents(tmp_path: Path) -> None:
    def with_exam(trial: Trial) -> Measurement:
        found = measured(trial)
        losses = {**found.losses, "exam": Loss(2 - trial.mixture["sums"], 1.0)}
        return replace(found, losses=losses, curve=())

    first = STUDY.replace("code: 1}}", "code: 1, exam: 1}}") + "evaluation: {exam: {paths: exam.jsonl}}\n"
    second = RENAMED.replace("programs: 1}}", "test: 1}}") + "evaluation: {test: {paths: exam.jsonl}}\n"
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder, text in zip(folders, (first, second + REUSE), strict=True):
        study(folder, tmp_path / "mlflow.db", text)
        lines = [f'{{"text": "{each}"}}\n' for each in documents("sums", 60)[30:]]
        (folder / "exam.jsonl").write_text("".join(lines))
    run(plan_of(folders[0]), with_exam)
    plan = plan_of(folders[1])
    assert set(taken(plan).metrics) == {"text", "test"}
    earlier = plan.problem.earlier
    assert earlier is not None
    np.testing.assert_allclose(
        earlier.values_NM[:, earlier.metrics.index("test")],
        2 - earlier.weights_ND[:, earlier.domains.index("sums")],
    )


def test_a_study_of_which_nothing_is_known_says_so(copied: Path, tmp_path: Path) -> None:
    file = study(tmp_path, copied, RENAMED, REUSE)
    open_store(file).find_or_create("empty")
    made = plan_of(tmp_path).taken
    assert made is not None
    assert made.reused.studies[0].why_not == "nothing is recorded of its pools"
