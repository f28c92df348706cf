"""`mixopt init`: told by flags, asked in a terminal, and as before where neither is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mixopt.settings.new_study import study_text
from mixopt.settings.reading import load
from mixopt.settings.schema import StudyFile
from tests.program import mixopt
from tests.terminal import terminal
from tests.text import write_jsonl


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "data", {"prose": 60, "code": 30, "sums": 20})
    return tmp_path


def made(*options: str) -> tuple[StudyFile, str, str]:
    """The file that is read, its text, and what was said beside it."""
    done = mixopt("init", "data", *options)
    assert done.status == 0, done.stderr
    return load(Path("study.yaml")), Path("study.yaml").read_text(), " ".join(done.stderr.split())


def test_without_flags_and_terminal_it_writes_what_it_always_wrote() -> None:
    _, text, said = made()
    assert text == study_text(Path("data"), Path("study.yaml")) and said == ""
    assert "tokens: 2M, trials: 24}" in text and "# target:" in text and "# budget:" in text


def test_flags_are_the_four_things_that_matter() -> None:
    options = (
        "--for",
        "pretraining",
        "--target-params",
        "7B",
        "--target-tokens",
        "20k",
        "--objective",
        "code=2,prose",
    )
    file, text, said = made(*options, "--budget", "1e15")
    assert (file.target.params, file.target.tokens) == (7 * 10**9, 20_000)
    assert file.objective.weights == {"code": 2, "prose": 1}
    assert file.budget.flops == 1e15
    assert "Sized for a budget of 1e15" in said and "# Sized for a budget of 1e15" in text
    assert "Not known before anything runs" in said


def test_a_target_that_the_files_cannot_feed_is_left_to_be_said(here: Path) -> None:
    file, text, said = made("--target-tokens", "100B")
    assert file.target.tokens is None and "#   tokens: 100B" in text
    assert "they are a sample" in said and "take away the # of target" in said
    assert mixopt("validate").status == 0, "the file is right as it is"


def test_files_to_judge_by_become_evaluation_sets(here: Path) -> None:
    record = {"question": "how much?", "answer": "so much"}
    (here / "exam.jsonl").write_text("\n".join([json.dumps(record)] * 3) + "\n")
    file, _, _ = made("--objective", "exam.jsonl=3", "--objective", "no_worse,prose")
    assert (file.evaluation["exam"].prompt, file.evaluation["exam"].completion) == ("question", "answer")
    assert file.objective.kind == "no_worse" and file.objective.weights == {"exam": 3, "prose": 1}


def test_two_files_of_one_name_are_two_evaluation_sets(here: Path) -> None:
    for folder in ("a", "b"):
        (here / folder).mkdir()
        (here / folder / "exam.jsonl").write_text(json.dumps({"text": f"of {folder}"}) + "\n")
    file, _, _ = made("--objective", "a/exam.jsonl=3", "--objective", "b/exam.jsonl")
    assert file.objective.weights == {"exam": 3, "exam_2": 1}
    paths = {name: each.paths for name, each in file.evaluation.items()}
    assert paths == {"exam": ["a/exam.jsonl"], "exam_2": ["b/exam.jsonl"]}


def test_fine_tuning_takes_prompts_and_names_where_there_are_none(here: Path) -> None:
    (here / "data" / "chat.jsonl").write_text(json.dumps({"prompt": "how?", "completion": "so"}) + "\n")
    file, text, said = made("--for", "fine-tuning")
    assert (file.domains["chat"].prompt, file.domains["chat"].completion) == ("prompt", "completion")
    assert "No such pair of fields was found in code, prose, sums" in said
    assert "not from your base model" in " ".join(text.replace("\n# ", " ").split())


def test_continued_pretraining_says_what_proxies_from_scratch_mean() -> None:
    _, _, said = made("--for", "continued")
    assert "start from random weights here, and not from your base model" in said
    assert "keep a floor under what it must not forget" in said


def test_a_budget_of_time_rests_on_what_was_measured() -> None:
    file, text, said = made("--budget", "10h")
    assert "measured here with" in said and "nothing was measured" not in said
    assert file.budget.time is not None and 0 < file.budget.time < 36_000
    assert file.proxies["dense"].trials >= 12 and "# Sized for a budget of 10h" in text


def test_without_a_probe_the_assumption_is_named() -> None:
    _, _, said = made("--budget", "10h", "--no-probe")
    assert "assumed for" in said and "nothing was measured" in said and "how fast it trains" in said


def test_gpu_hours_take_a_gpu_that_is_here_or_named() -> None:
    done = mixopt("init", "data", "--budget", "20gpuh", "--gpu", "h1000")
    assert done.status == 2 and "its speed is not known; did you mean h100?" in done.stderr
    file, _, said = made("--budget", "20gpuh", "--gpu", "H100")
    assert "assumed for one h100" in said and file.executor.gpus_per_trial == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--budget", "soon"), "'soon' is no budget; write a time such as 2h"),
        (("--budget", "2s", "--no-probe"), "too small for 3 domains: the least study"),
        (("--target-params", "7B"), "--target-params without --target-tokens; give the tokens"),
        (("--target-tokens", "many"), "--target-tokens: 'many' is not an amount"),
        (("--objective", "cod"), "--objective cod: no domain, file or kind of objective; choose from code, prose"),
        (("--objective", "code=-1"), "--objective code=-1: no weight; write a number"),
        (("--objective", "code=0"), "--objective: all weights are 0"),
        (("--objective", "worst_case,code=2"), "--objective code=2: worst_case looks at the worst and weighs nothing"),
        (("--objective", "no_worse,hinge"), "--objective no_worse and hinge are two kinds; choose one"),
        (("--for", "fun"), "must be one of"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(options: tuple[str, ...], said: str) -> None:
    done = mixopt("init", "data", *options)
    assert done.status == 2 and said in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert not Path("study.yaml").exists()


@pytest.mark.slow
def test_in_a_terminal_it_asks_and_asks_again() -> None:
    with terminal("init", "data") as shown:
        shown.until(lambda text: "What for" in text)
        shown.types("cont\n")
        shown.until(lambda text: "parameters and tokens" in text)
        shown.types(",\n")
        shown.until(lambda text: "that is not two numbers" in text)
        shown.types("7B\n")
        shown.until(lambda text: "that is not two numbers" in text)
        shown.types("7B 20k\n")
        shown.until(lambda text: "What counts" in text)
        shown.types("code=2 sums\n")
        shown.until(lambda text: "What may the study take" in text)
        shown.types("1e15\n")
        assert shown.ends() == 0, shown.plain
    file = load(Path("study.yaml"))
    assert (file.target.params, file.target.tokens, file.budget.flops) == (7 * 10**9, 20_000, 1e15)
    assert file.objective.weights == {"code": 2, "sums": 1}
    assert "# For continued pretraining" in file.text


@pytest.mark.slow
def test_in_a_terminal_enter_leaves_everything_open_and_the_end_of_input_leaves() -> None:
    with terminal("init", "data") as shown:
        shown.until(lambda text: "What for" in text)
        shown.types("\x04")
        assert shown.ends() == 130, shown.plain
    assert not Path("study.yaml").exists()
    with terminal("init", "data") as shown:
        shown.until(lambda text: "What for" in text)
        shown.types("\n\n\n\n")
        assert shown.ends() == 0, shown.plain
    assert Path("study.yaml").read_text() == study_text(Path("data"), Path("study.yaml"))
