"""What the documentation tells people to do works, its links lead somewhere, its reference is what the code says."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import typer
from typer.core import TyperGroup

from mixopt.cli.main import app
from search.surrogates.base import Surrogate
from tests.program import mixopt
from tests.simulated import ROUNDS, planned, run
from tests.text import documents, write_jsonl

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")

# What makes the tutorial's study of minutes one of seconds.
SMALLER = {
    "vocabulary: 4096": "vocabulary: 300",
    "sequence_length: 256": "sequence_length: 32",
    "{kind: dense, depth: 2, tokens: 2M, trials: 24}": (
        "{depth: 1, width: 32, heads: 2, tokens: 8k, batch_rows: 8, trials: 10}"
    ),
    "seeds: 3": "seeds: 2",
    "strategy: bayes ": "surrogate: linear",
}
# The same for the studies that pages show.
TINY = {
    "dense: {depth: 2, tokens: 2M, trials: 24}": (
        "dense: {depth: 1, width: 32, heads: 2, tokens: 8k, batch_rows: 8, trials: 10}"
    ),
    "target: {tokens: 20M,": "target: {tokens: 40k,",
}
QUICKLY = """\
corpus: {vocabulary: 300, sequence_length: 32}
confirm: {candidates: 1, seeds: 2}
search: {strategy: regmix, surrogate: linear}
executor: {kind: in_process}
"""


def blocks(page: Path, language: str) -> list[str]:
    return [text for name, text in BLOCK.findall(page.read_text()) if name == language]


def named(pages: list[Path]) -> list[object]:
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages]


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every mixopt command in the page's blocks."""
    for language, text in BLOCK.findall(page.read_text()):
        if language in ("", "sh"):
            for line in text.replace("\\\n", " ").splitlines():
                for part in re.split(r";|\||>|&&", line.partition(" #")[0]):
                    if re.match(r"\s*mixopt [a-z]", part):
                        yield shlex.split(part, comments=True)


@pytest.mark.parametrize("page", named(PAGES))
def test_every_command_and_option_exists(page: Path) -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    for _, name, *words in commands(page):
        assert name in group.commands, f"no command mixopt {name}"
        options = {option for each in group.commands[name].params for option in (*each.opts, *each.secondary_opts)}
        for word in words:
            if re.match(r"--?[a-z]", word):
                assert word.partition("=")[0] in {*options, "--help"}, f"mixopt {name} has no {word}"


@pytest.mark.parametrize("page", named(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            titles = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in anchors, f"{target}#{anchor}"


def test_the_reference_is_what_the_code_says() -> None:
    folder = ROOT / "docs" / "reference"
    writer = loaded(folder / "write.py")
    assert (folder / "commands.md").read_text() == writer.commands(), "make reference"
    assert (folder / "settings.md").read_text() == writer.settings(), "make reference"
    assert (folder / "results.md").read_text() == writer.results(), "make reference"


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    named(
        [
            ROOT / "docs" / name
            for name in ("tutorial.md", "how-to/limits.md", "how-to/fine-tuning.md", "how-to/quality.md")
        ]
    ),
)
def test_what_a_page_tells_to_do_works_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_data(tmp_path / "data", page.stem)
    for text in blocks(page, "yaml"):
        (tmp_path / "study.yaml").write_text(replaced(text, TINY) + QUICKLY)
    monkeypatch.chdir(tmp_path)
    for text in blocks(page, "sh"):
        for line in text.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            assert program == "mixopt", f"a shell would be needed for: {line}"
            done = mixopt(*arguments)
            assert done.status == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            if arguments[0] == "init":
                make_smaller(tmp_path / "study.yaml")


@pytest.mark.slow
def test_the_lines_about_python_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(planned(tmp_path, ROUNDS.replace("jsonl", "jsonl, tokens: 10k")))
    write_runs(tmp_path / "runs.csv")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for text in blocks(ROOT / "docs/python.md", "python"):
        exec(replaced(text, {'"100B"': '"1k"', "seeds=20": "seeds=1"}), names)


def write_runs(path: Path) -> None:
    """A table of thirty runs, whose loss falls with the share of web."""
    weights_ND = np.random.default_rng(0).dirichlet(np.ones(3), 30)
    lines = [f"{web},{code},{books},2e9,{3 - web**0.5}" for web, code, books in weights_ND]
    path.write_text("\n".join(["weight.web,weight.code,weight.books,tokens,metric.loss", *lines]) + "\n")


def write_data(folder: Path, page: str) -> None:
    if page != "fine-tuning":
        write_jsonl(folder, {"prose": 60, "code": 30, "sums": 20})
        if page == "quality":
            exam = documents("prose", 80)[60:]
            (folder / "exam.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in exam))
        return
    folder.mkdir()
    pairs = {"chat": ("question", "answer"), "maths": ("problem", "solution"), "exam": ("question", "answer")}
    voices = {"chat": "prose", "maths": "sums", "exam": "sums"}
    for name, (prompt, completion) in pairs.items():
        texts = list(documents(voices[name], 90 if name == "exam" else 40))[-40:]
        records = [{prompt: text[:80], completion: text[80:]} for text in texts]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    lines = [json.dumps({"text": text}) for text in documents("code", 40)]
    (folder / "general.jsonl").write_text("\n".join(lines) + "\n")


def make_smaller(study: Path) -> None:
    text = study.read_text()
    assert all(written in text for written in SMALLER)
    study.write_text(replaced(text, SMALLER) + "executor: {kind: in_process}\n")


def replaced(text: str, smaller: dict[str, str]) -> str:
    for written, instead in smaller.items():
        text = text.replace(written, instead)
    return text


def test_the_surrogate_of_the_how_to_is_one(tmp_path: Path) -> None:
    [text] = blocks(ROOT / "docs/how-to/surrogate.md", "python")
    (tmp_path / "nearest.py").write_text(text)
    nearest = loaded(tmp_path / "nearest.py").Nearest()
    assert isinstance(nearest, Surrogate)
    weights_ND = np.random.default_rng(0).dirichlet(np.ones(3), 200)
    predicted = nearest.fit(weights_ND[:150], weights_ND[:150, 0]).predict(weights_ND[150:])
    assert np.corrcoef(predicted.mean_N, weights_ND[150:, 0])[0, 1] > 0.9


def loaded(path: Path) -> ModuleType:
    found = spec_from_file_location(path.stem, path)
    assert found is not None and found.loader is not None
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module
