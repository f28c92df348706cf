"""Domains of a study split or merged: text is kept, and the runs of before count in the study that follows."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zstandard

from mixopt.domains.refined_file import Refinement
from mixopt.settings.reading import load, parse
from mixopt.study.corpus import prepare_corpus
from mixopt.study.from_store import planned as planned_with_store
from mixopt.study.objective import objective_of
from mixopt.study.plan import Plan
from mixopt.study.planning import make_plan
from search.trial import Loss, Measurement, Trial
from tests.e2e.study import STUDY, write_study
from tests.program import Done, mixopt
from tests.simulated import measured, planned, run
from tests.text import documents

SPLIT = STUDY.replace("  prose: {paths", "  # What most of it is.\n  prose: {max: 90%, paths")


def refined(study: Path, *options: str, output: str = "finer") -> Done:
    return mixopt("domains", study, *options, "--workers", 1, "-o", study.parent / output)


def planned_at(path: Path) -> Plan:
    file = load(path)
    return make_plan(file, prepare_corpus(file, lambda progress: None))


def by_levels(trial: Trial) -> Measurement:
    """As for the study of before: a loss falls with the share of its domain, all parts together."""
    found = measured(trial)
    share = sum(share for name, share in trial.mixture.as_dict().items() if name.startswith(("prose.", "plain")))
    return replace(found, losses={**found.losses, "prose_before": Loss(3 - share + trial.seed / 1000, 1.0)})


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that has run."""
    plan = planned(tmp_path_factory.mktemp("study"), SPLIT)
    run(plan)
    return plan.file.file


@pytest.fixture(scope="module")
def finer(study: Path) -> Path:
    done = refined(study, "--split", "prose=3")
    assert done.status == 0, done.stderr
    assert "21 of the " in done.stdout
    return study.with_name("study-finer.yaml")


@pytest.fixture(scope="module")
def plan(finer: Path) -> Plan:
    return planned_at(finer)


def test_a_split_domain_becomes_a_level_with_all_its_text(study: Path, finer: Path) -> None:
    file = load(finer)
    assert file.study == "small-finer"
    assert [(level.name, len(level.domains)) for level in file.levels] == [("prose", 3)]
    texts = []
    for pool in (study.parent / "finer" / "prose" / "text").iterdir():
        for path in pool.iterdir():
            lines = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read().decode().splitlines()
            texts += [json.loads(line)["text"] for line in lines]
    assert sorted(texts) == sorted(documents("prose", 60))
    assert (study.parent / "finer" / "prose" / "domains.html").exists()


def test_what_the_file_says_else_stays_as_it_was_written(study: Path, finer: Path) -> None:
    text = finer.read_text()
    assert "  # What most of it is.\n  prose:\n    max: 90%\n    parts:\n" in text
    kept = [line for line in study.read_text().splitlines() if not line.startswith(("  prose:", "study:", "corpus:"))]
    assert all(line in text.splitlines() for line in kept if "objective" not in line)
    assert load(finer).groups["plain"].domains == [*load(finer).levels[0].domains, "sums"]


def test_all_runs_of_before_count_as_runs_of_the_same_proxies(study: Path, plan: Plan) -> None:
    earlier, problem = plan.problem.earlier, plan.problem
    assert earlier is not None
    assert earlier.fidelities == tuple(rung.fidelity for rung in problem.rungs)
    assert len(earlier) == 21 and earlier.complete_N.all()
    assert "21 of 21 earlier runs count as evidence" in plan.notes
    assert problem.objective.metrics == ("prose_before", "code")
    # Text was drawn evenly from the whole: each part in proportion to its tokens.
    tokens_D = np.array([limit.tokens for limit in problem.space.limits[:3]])
    parts_ND = earlier.weights_ND[:, :3]
    np.testing.assert_allclose(parts_ND, parts_ND.sum(1, keepdims=True) * tokens_D / tokens_D.sum())


def test_the_new_study_measures_on_the_documents_of_before(study: Path, plan: Plan) -> None:
    before = prepare_corpus(load(study), lambda progress: None)
    assert plan.corpus is not None
    np.testing.assert_array_equal(plan.corpus.searched_hashes("prose_before"), before.searched_hashes("prose"))
    np.testing.assert_array_equal(plan.corpus.evaluation("prose_before").tokens_N, before.evaluation("prose").tokens_N)
    assert "prose_before" in plan.corpus.confirmed_apart


def test_the_new_study_runs_to_an_answer_that_rests_on_both(plan: Plan) -> None:
    answer, _ = run(plan, by_levels)
    assert answer.recommendation.trials > 21
    assert answer.levels["prose"].weight <= 0.9 + 1e-6
    assert answer.confirmed


def test_runs_count_once_also_where_the_store_has_them_too(tmp_path: Path) -> None:
    """Those that gave the split domain next to nothing are found in the store as well."""
    plan = planned(tmp_path, STUDY + "reuse: {store: true}\n")
    run(plan)
    assert refined(plan.file.file, "--split", "code=2").status == 0
    file = load(tmp_path / "study-finer.yaml")
    assert file.reuse.store and file.reuse.runs is not None
    finer = planned_with_store(file, prepare_corpus(file, lambda progress: None))
    assert finer.problem.earlier is not None and len(finer.problem.earlier) == 21
    assert finer.taken is not None
    [before] = finer.taken.reused.studies
    assert (before.runs, before.left_out) == (0, {"counted from reuse.runs already": 21})


def test_asked_again_nothing_is_done_again(study: Path, finer: Path) -> None:
    stamp = finer.stat().st_mtime_ns
    done = refined(study, "--split", "prose=3")
    assert (done.status, "learn an embedding" in done.stderr) == (0, False)
    assert finer.stat().st_mtime_ns == stamp


def test_of_a_merged_pool_whose_confirmation_set_is_in_those_of_before_the_right_reason_is_given(
    tmp_path: Path,
) -> None:
    plan = planned(tmp_path, STUDY.replace("code: 1}", "code: 1, sums: 1}"))
    run(plan)
    assert refined(plan.file.file, "--merge", "prose,sums=press", output="coarse").status == 0
    path = tmp_path / "study-coarse.yaml"
    coarse = planned_at(path)
    assert coarse.corpus is not None and coarse.corpus.searched_elsewhere == ("press",)
    assert not [note for note in coarse.notes if "press for the confirmation" in note], "it is not judged by"
    path.write_text(path.read_text().replace("{prose_before:", "{press: 1, prose_before:"))
    notes = planned_at(path).notes
    assert any("what was held out of press for the confirmation is in other evaluation sets" in note for note in notes)
    assert not any("too little text" in note for note in notes)


def test_without_the_study_file_nothing_is_finished(study: Path) -> None:
    first = json.loads(refined(study, "--merge", "prose,sums=press", "--json", output="lost").stdout)
    Path(first["study"]).unlink()
    done = refined(study, "--merge", "prose,sums=press", output="lost")
    assert done.status == 2 and "lost is not empty" in " ".join(done.stderr.split())


def test_a_call_that_was_killed_is_gone_on_with(study: Path) -> None:
    """Here right before its end, when the pools lay in their place."""
    output = study.parent / "again"
    first = json.loads(refined(study, "--split", "prose=3", "--json", output="again").stdout)
    pools = {path: path.read_bytes() for path in output.rglob("*.zst")}
    (output / "refined.json").unlink()
    (output / ".work").mkdir()
    (output / ".work" / "inputs").write_text(first["inputs"])
    assert json.loads(refined(study, "--split", "prose=3", "--json", output="again").stdout) == first
    assert {path: path.read_bytes() for path in output.rglob("*.zst")} == pools


def test_merged_domains_are_one_pool_and_runs_that_mixed_them_otherwise_do_not_count(study: Path) -> None:
    done = refined(study, "--merge", "prose,sums=press", output="coarse")
    assert done.status == 0, done.stderr
    assert "name them in reuse.keep" in " ".join(done.stdout.split())
    coarse = planned_at(study.with_name("study-coarse.yaml"))
    assert coarse.problem.space.domains == ("code", "press")
    assert coarse.file.groups["plain"].domains == ["press"]
    assert objective_of(coarse.file).metrics == ("prose_before", "code")
    earlier = coarse.problem.earlier
    assert earlier is not None and 0 < len(earlier) < 21
    assert f"{len(earlier)} of the " in done.stdout and "runs of small will count" in done.stdout
    assert any(
        "otherwise than their tokens are, by more than 2% of all, were left out" in each for each in coarse.notes
    )


def test_a_study_that_has_not_run_is_judged_by_the_parts_in_proportion(tmp_path: Path) -> None:
    study = write_study(tmp_path, STUDY.replace("{paths: data/prose.jsonl}", "{paths: data/prose.jsonl, tokens: 1M}"))
    done = refined(study, "--split", "prose=3", "--json")
    found = json.loads(done.stdout)
    assert (done.status, found["runs"], found["earlier_runs"], found["held_out"]) == (0, None, 0, {})
    file = load(Path(found["study"]))
    shares = {f"prose.{name}": each["share"] for name, each in found["split"]["prose"]["domains"].items()}
    assert file.objective.weights is not None
    assert {name: file.objective.weights[name] / 2 for name in shares} == pytest.approx(shares, rel=1e-4)
    assert sum(file.domains[name].tokens or 0 for name in shares) == pytest.approx(1e6, abs=3)
    assert file.reuse.runs is None


def test_each_part_of_a_domain_is_to_be_cut_into_levels_of_its_own(tmp_path: Path) -> None:
    quality = "quality: {scorer: density, levels: 2}"
    study = write_study(tmp_path, STUDY.replace("data/prose.jsonl}", f"data/prose.jsonl, {quality}}}"))
    done = refined(study, "--split", "prose=2")
    assert done.status == 0, done.stderr
    file = load(study.with_name("study-finer.yaml"))
    assert [level.quality for level in file.levels] == [None]
    assert {name: settings.levels for name, settings in file.to_be_cut.items()} == dict.fromkeys(
        file.levels[0].domains, 2
    )
    unlike = refined(study, "--merge", "prose,sums=x")
    assert "domains prose and sums ask for other levels of quality; write the same" in unlike.stderr


def test_the_first_lines_tell_the_commands_for_the_new_file(tmp_path: Path) -> None:
    header = (
        "# Domains.\n#   mixopt plan pools/study.yaml    what will run\n#   mixopt run study.yaml\n# mixopt schema\n\n"
    )
    study = write_study(tmp_path, header + STUDY)
    assert refined(study, "--split", "prose=2").status == 0
    said = study.with_name("study-finer.yaml").read_text()
    assert said.startswith(header.replace("study.yaml", "study-finer.yaml"))


def test_levels_of_quality_are_not_merged_out_of_their_order(tmp_path: Path) -> None:
    levels = "{quality: {}, parts: {q1: {paths: data/prose.jsonl}, q2: {paths: data/code.jsonl}}}"
    study = write_study(tmp_path, STUDY.replace("{paths: data/prose.jsonl}", levels))
    for merged in ("prose.q1,prose.q2=x", "code,sums=prose.x"):
        assert (
            "the parts of prose are levels of its quality, in an order; cut it"
            in refined(study, "--merge", merged).stderr
        )


def test_a_part_of_a_level_is_split_within_it(tmp_path: Path) -> None:
    lines = "  all: {max: 95%, parts: {prose: {paths: data/prose.jsonl}, sums: {paths: data/sums.jsonl}}}\n"
    text = STUDY[: STUDY.index("  prose:")] + lines + STUDY[STUDY.index("  code:") :]
    text = text.replace("  sums:  {paths: data/sums.jsonl, min: 5%}\n", "").replace("[prose, sums]", "[all]")
    study = write_study(tmp_path, text.replace("{prose: 2,", "{all: 2,"))
    assert refined(study, "--split", "all.prose=2").status == 0
    file = load(study.with_name("study-finer.yaml"))
    assert [(level.name, len(level.domains)) for level in file.levels] == [("all", 3), ("all.prose", 2)]
    assert file.groups["all"].max == 0.95
    merged = refined(study, "--merge", "all.prose,all.sums=all.one", output="one")
    assert merged.status == 0, merged.stderr
    assert list(load(study.with_name("study-one.yaml")).domains) == ["all.one", "code"]


def test_a_merger_inside_a_level_names_the_deepest_one_at_once(tmp_path: Path) -> None:
    lines = (
        "  all: {max: 95%, parts: {src: {max: 90%, parts: {prose: {paths: data/prose.jsonl}, "
        "sums: {paths: data/sums.jsonl}}}, code: {paths: data/code.jsonl}}}\n  more: {paths: data/sums.jsonl}\n"
    )
    text = STUDY[: STUDY.index("  prose:")] + lines + STUDY[STUDY.index("  sums:") :]
    text = text.replace("  sums:  {paths: data/sums.jsonl, min: 5%}\n", "").replace("[prose, sums]", "[all]")
    study = write_study(tmp_path, text.replace("{prose: 2, code: 1}", "{all: 2, more: 1}"))
    for new in ("q", "all.q"):
        told = refined(study, "--merge", f"all.src.prose,all.src.sums={new}", output="one")
        assert "call it all.src.q" in " ".join(told.stderr.split()), told.stderr
    done = refined(study, "--merge", "all.src.prose,all.src.sums=all.src.q", output="one")
    assert done.status == 0, done.stderr


def test_a_limit_that_a_merger_ends_is_told(tmp_path: Path) -> None:
    study = write_study(tmp_path, STUDY.replace("data/prose.jsonl}", "data/prose.jsonl, max: 30%}"))
    done = refined(study, "--merge", "prose,sums=press")
    assert done.status == 0, done.stderr
    assert "max 0.3 of prose no longer holds" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "nothing says what is to become of its domains; write --split web=6"),
        (["--split", "prose"], "--split prose does not say how many parts; write --split web=6"),
        (["--split", "prose=1"], "--split prose=1: that many parts are not to be had; ask for 2 to 1000"),
        (["--split", "pros=3"], "has no domain pros; choose from prose, code, sums"),
        (["--split", "prose=300"], "ask for fewer parts with --split prose=N"),
        (["--split", "prose=3", "--count", "5"], "say how many parts in --split"),
        (["--split", "prose=3", "--merge", "prose,code=x"], "domain prose is to become several things"),
        (
            ["--split", "prose=2", "--split", "prose=3"],
            "--split prose=2 and --split prose=3 are of one domain; give one",
        ),
        (["--split", "prose=5000"], "--split prose=5000: that many parts are not to be had; ask for 2 to 1000"),
        (["--merge", "prose,code"], "--merge prose,code does not say the new name; write --merge news,blogs=press"),
        (["--merge", "prose,code="], "--merge prose,code= does not say the new name"),
        (["--merge", "prose,code=a b/c"], "a merged domain cannot be called a b/c; take at most 100 letters"),
        (["--merge", "prose=x"], "--merge prose=x does not name two domains"),
        (["--merge", "prose,code=sums"], "there is a domain sums already"),
        (
            ["--merge", "prose,code=x"],
            "prose would leave plain, whose limits hold for them; change the limits of plain",
        ),
        (["--merge", "prose,code,sums=x"], "would leave plain"),
        (["--split", "prose=3", "--fine", "2"], "fine 2: fewer clusters than 3 domains"),
    ],
)
def test_what_cannot_be_refined_is_said_in_one_line(tmp_path: Path, options: list[str], says: str) -> None:
    study = write_study(tmp_path)
    done = refined(study, *options)
    assert done.status == 2 and done.stderr.strip().count("\n") <= 3
    assert says in " ".join(done.stderr.split()), done.stderr
    assert not study.with_name("study-finer.yaml").exists()


def test_documents_are_no_study(tmp_path: Path) -> None:
    write_study(tmp_path)
    done = mixopt("domains", tmp_path / "data", "--split", "prose=3", "-o", tmp_path / "out")
    assert done.status == 2 and "refine the pools of a study" in done.stderr


def test_a_study_whose_tokens_are_not_those_of_its_text_is_not_refined(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study.parent, tmp_path / "copy")
    (tmp_path / "copy" / "data" / "prose.jsonl").write_text('{"text": "another"}\n' * 50)
    done = refined(tmp_path / "copy" / "study.yaml", "--split", "code=2", output="other")
    assert done.status == 2 and "or its text has changed, or was copied" in " ".join(done.stderr.split())


def test_each_domain_is_found_by_its_own_count(tmp_path: Path) -> None:
    """And not by that of a heap, which is 20."""
    study = write_study(tmp_path)
    done = refined(study, "--split", "prose=3", "--fine", "10", "--sample", "15")
    assert done.status == 0, done.stderr


def test_what_stands_for_another_setting_is_refused_before_the_work(tmp_path: Path) -> None:
    text = STUDY.replace("prose: {paths: data/prose.jsonl}", "prose: &p {paths: data/prose.jsonl}")
    study = write_study(tmp_path, text + "evaluation: {again: *p}\n")
    done = refined(study, "--split", "prose=3")
    assert done.status == 2, done.stderr
    assert "write it out in place of *p" in " ".join(done.stderr.split())
    assert not (tmp_path / "finer").exists()


def test_an_evaluation_set_of_somebody_keeps_its_name() -> None:
    sets = "evaluation: {prose_before: {paths: x}, prose_before_2: {paths: y}}\n"
    asked = Refinement({"prose": 2}, {})
    assert asked.before(parse(STUDY, Path("study.yaml")), "prose") == "prose_before"
    assert asked.before(parse(STUDY + sets, Path("study.yaml")), "prose") == "prose_before_3"


def test_a_name_that_becomes_too_long_is_told_before_the_work(tmp_path: Path) -> None:
    long = "p" * 70
    text = STUDY.replace("prose:", f"{long}:").replace("[prose,", f"[{long},")
    study = write_study(tmp_path, text.replace("{prose: 2,", f"{{{long}: 2,"))
    done = refined(study, "--split", f"{long}=3")
    assert done.status == 2 and "shorten one to stay within 100" in " ".join(done.stderr.split())
    assert not (tmp_path / "finer").exists()


def test_runs_of_other_studies_still_count(study: Path) -> None:
    same = study.with_name("same.yaml")
    same.write_text(study.read_text() + "reuse: {store: true}\n")
    done = refined(same, "--merge", "prose,sums=press", output="stored")
    assert done.status == 0, done.stderr
    reuse = load(study.with_name("same-stored.yaml")).reuse
    assert reuse.store and reuse.runs is not None
