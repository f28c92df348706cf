"""What a study takes from others of its MLflow experiment: by the text of their pools, once, and told."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

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


def test_runs_that_used_another_pool_are_left_out_and_it_is_said(store: Path, tmp_path: Path) -> None:
    study(tmp_path, store, RENAMED, REUSE, sums=60)
    plan = plan_of(tmp_path)
    found = taken(plan)
    assert found.unknown == ("sums",), "a third of it is what it was"
    assert (
        found.runs == 0 and found.why_not is not None and "more than 2% to domains that are not there" in found.why_not
    )
    assert plan.problem.earlier is None
    assert "reuse.store: no run of another study in the experiment counts here" in plan.notes


def test_names_alone_are_no_match(store: Path, tmp_path: Path) -> None:
    study(tmp_path, store, STUDY.replace("study: small", "study: second"), REUSE)
    for name, other in (("prose", "code"), ("code", "sums"), ("sums", "prose")):
        text = "".join(f'{{"text": "{each} {name}"}}\n' for each in documents(other, 40))
        (tmp_path / "data" / f"{name}.jsonl").write_text(text)
    found = taken(plan_of(tmp_path))
    assert (found.pools, found.why_not) == ((), "none of its pools is one of this study's")


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
