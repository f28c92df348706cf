"""From a study file that asks for levels of quality to one over them, and to its answer."""

import json
from pathlib import Path

import numpy as np
import pytest

from mixopt.api import cut_pools
from mixopt.settings.reading import load
from mixopt.study.corpus import find_corpus
from mixopt.study.planning import make_plan
from search.history import History
from tests.e2e.study import STUDY, answer_of, write_study
from tests.program import mixopt
from tests.proxies.quality.texts import good, write_records

ASKS = STUDY.replace("prose: {paths: data/prose.jsonl}", "prose: {paths: data/prose.jsonl, max: 80%, quality: QUALITY}")


def asking(folder: Path, quality: str, text: str = ASKS) -> Path:
    return write_study(folder, text.replace("QUALITY", quality))


def lines(folder: Path, *levels: str) -> list[str]:
    return [
        json.loads(line)["text"]
        for level in levels
        for line in (folder / "pools" / "prose" / f"{level}.jsonl").read_text().splitlines()
    ]


@pytest.fixture
def cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study file over the levels of the pool of prose."""
    monkeypatch.chdir(tmp_path)
    asking(tmp_path, "{scorer: compressibility, levels: 3, search: function}", ASKS + "# kept\n")
    told = answer_of("quality", "study.yaml")
    assert told["study_file"] == "study-levels.yaml"
    [pool] = told["pools"]
    assert [level["name"] for level in pool["levels"]] == ["prose.q1", "prose.q2", "prose.q3"]
    return tmp_path / "study-levels.yaml"


def test_a_pool_becomes_levels_and_the_study_is_over_these(cut: Path) -> None:
    whole = [json.loads(line)["text"] for line in (cut.parent / "data" / "prose.jsonl").read_text().splitlines()]
    assert sorted(lines(cut.parent, "q1", "q2", "q3")) == sorted(whole)
    file = load(cut)
    assert list(file.domains) == ["prose.q1", "prose.q2", "prose.q3", "code", "sums"]
    assert file.study == "small-levels"
    assert "# kept" in cut.read_text()
    assert file.groups["prose"].max == pytest.approx(0.8)
    assert list(file.groups["plain"].domains) == ["prose.q1", "prose.q2", "prose.q3", "sums"]
    # What was judged by the pool is judged by its best level.
    assert file.objective.weights == {"prose.q1": 2, "code": 1}


def test_the_study_over_levels_asks_for_none_more_often_than_for_a_better_one(cut: Path) -> None:
    assert mixopt("prepare", cut).status == 0
    file = load(cut)
    plan = make_plan(file, find_corpus(file))
    asked = plan.problem
    assert asked.grades == {"prose": ("prose.q1", "prose.q2", "prose.q3")}
    tried = {trial.mixture for trial in plan.strategy.ask(History(), 30)} - set(asked.baselines.values())
    assert len(tried) >= 8
    every = [*tried, *asked.baselines.values()]
    assert asked.feasible(np.array([mixture.reordered(asked.space.domains).array for mixture in every])).all()
    assert any("the order of levels, and so replaced" in note and "uniform" in note for note in plan.notes)


def test_levels_of_ones_own_are_parts_with_quality(tmp_path: Path) -> None:
    parts = "{quality: {search: SEARCH}, parts: {high: {paths: data/prose.jsonl}, low: {paths: data/code.jsonl}}}"
    for search, levels in (("function", {"prose": ("prose.high", "prose.low")}), ("cells", {})):
        text = STUDY.replace("{paths: data/prose.jsonl}", parts.replace("SEARCH", search))
        path = write_study(tmp_path / search, text)
        assert mixopt("prepare", path).status == 0
        file = load(path)
        assert make_plan(file, find_corpus(file)).problem.grades == levels


def test_nothing_runs_before_the_levels_are_made(tmp_path: Path) -> None:
    path = asking(tmp_path, "{scorer: repetition}")
    assert (
        f"the levels of prose are still to be made, with: mixopt quality {path}" in answer_of("validate", path)["notes"]
    )
    for command in ("prepare", "plan", "run"):
        done = mixopt(command, path)
        assert done.status == 2
        assert (
            f"domains.prose.quality: the levels of prose are not made yet; make them with: mixopt quality {path}"
            in (done.stderr)
        )


def test_quality_at_the_top_is_that_of_every_domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, STUDY + "quality: {scorer: compressibility, levels: 2}\n")
    found = cut_pools("study.yaml", "cut", "new.yaml")
    assert [pool.domain for pool in found.pools] == ["prose", "code", "sums"]
    file = load(tmp_path / "new.yaml")
    assert len(file.domains) == 6
    assert not file.to_be_cut


def test_a_domain_inside_another_is_cut_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prose = "{paths: data/prose.jsonl, quality: {scorer: density, levels: 2}}"
    inner = f"{{parts: {{prose: {prose}, more: {{paths: data/code.jsonl}}}}}}"
    text = STUDY.replace("prose: {paths: data/prose.jsonl}", f"web: {inner}").replace("{prose: 2", "{web.prose: 2")
    write_study(tmp_path, text.replace("[prose, sums]", "[web, sums]"))
    answer_of("quality", "study.yaml")
    file = load(tmp_path / "study-levels.yaml")
    assert list(file.domains) == ["web.prose.q1", "web.prose.q2", "web.more", "code", "sums"]


def test_an_objective_that_names_a_domain_with_parts_is_judged_by_the_best_level_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prose = "{paths: data/prose.jsonl, split: train, quality: {scorer: density, levels: 2}}"
    text = STUDY.replace("prose: {paths: data/prose.jsonl}", f"web: {{parts: {{prose: {prose}, more: {{paths: x}}}}}}")
    text = text.replace("more: {paths: x}", "more: {paths: data/more.jsonl}").replace("{prose: 2", "{web: 3")
    path = write_study(tmp_path, text.replace("[prose, sums]", "[web, sums]"))
    write_records(tmp_path / "data" / "more.jsonl", good(20, "more"))
    # As some editors save it.
    path.write_text("\ufeff" + path.read_text(), encoding="utf-8")
    answer_of("quality", path)
    file = load(tmp_path / "study-levels.yaml")
    assert file.objective.weights == {"web.prose.q1": 1.5, "web.more": 1.5, "code": 1}
    assert "\ufeff" not in file.text and "split: train" not in file.text


def test_good_text_and_fields_are_relative_to_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    quality = "{scores: [{field: score, weight: 2}, {scorer: classifier, good: good.jsonl}], levels: 2}"
    path = asking(tmp_path / "studies", quality)
    write_records(path.parent / "good.jsonl", good(20, "reference"))
    records = [json.loads(line) for line in (path.parent / "data" / "prose.jsonl").read_text().splitlines()]
    write_records(
        path.parent / "data" / "prose.jsonl", [record["text"] for record in records], score=list(range(len(records)))
    )
    answer_of("quality", path, "-o", "elsewhere")
    assert (tmp_path / "elsewhere" / "prose" / "q1.jsonl").is_file()
    assert mixopt("validate", path.with_name("study-levels.yaml")).status == 0


def few(folder: Path, texts: int) -> Path:
    """A study that wants three levels of a pool of so few texts."""
    path = asking(folder, "{field: score, levels: 3}")
    write_records(folder / "data" / "prose.jsonl", good(texts, "few"), score=[float(place) for place in range(texts)])
    return path


def test_of_few_texts_there_are_no_levels_that_cannot_be_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    few(tmp_path, 5)
    told = answer_of("quality", "study.yaml")
    assert [level["documents"] for pool in told["pools"] for level in pool["levels"]] in ([2, 3], [3, 2])
    assert "2 levels in place of 3: a single text cannot be both trained and measured on" in " ".join(told["notes"])
    assert mixopt("prepare", "study-levels.yaml").status == 0


def test_three_texts_are_no_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    few(tmp_path, 3)
    done = mixopt("quality", "study.yaml")
    assert done.status == 2
    assert "prose: 3 texts make no two levels, of 2 texts each at least" in " ".join(done.stderr.split())
    assert not (tmp_path / "study-levels.yaml").exists()


def test_good_text_that_is_the_pool_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asking(tmp_path, "{scorer: classifier, good: data/prose.jsonl, levels: 2}")
    told = answer_of("quality", "study.yaml")
    assert any("1 of the 1 files of the pool are classifier's good text as well" in note for note in told["notes"])


def test_no_score_is_less_than_nothing_by_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asking(tmp_path, "{field: score, levels: 2}")
    records = [{"text": f"document {number}", "score": -0.0 if number % 2 else -1} for number in range(50)]
    Path("data/prose.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    done = mixopt("quality", "study.yaml")
    assert done.status == 0 and "score 0 to 0" in done.stdout, done.stdout
