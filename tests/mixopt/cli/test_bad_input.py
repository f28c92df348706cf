"""Bad input, one case a row: one line with the place and a remedy, exit status 2, and no trial begun."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.e2e.study import STUDY, write_study
from tests.program import COMMAND, mixopt

Spoil = Callable[[Path], None]


def data(content: bytes | str, name: str = "prose.jsonl") -> Spoil:
    """Replaces the prose domain's file."""

    def spoil(folder: Path) -> None:
        (folder / "data" / "prose.jsonl").unlink()
        (folder / "data" / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return spoil


def study(was: str, becomes: str) -> Spoil:
    """Replaces a part of the study file."""

    def spoil(folder: Path) -> None:
        path = folder / "study.yaml"
        assert was in path.read_text()
        path.write_text(path.read_text().replace(was, becomes))

    return spoil


def truncated_parquet(folder: Path) -> None:
    pd.DataFrame({"text": ["some text"] * 1000}).to_parquet(folder / "data" / "prose.parquet")
    whole = (folder / "data" / "prose.parquet").read_bytes()
    (folder / "data" / "prose.parquet").write_bytes(whole[: len(whole) // 2])
    study("data/prose.jsonl", "data/prose.parquet")(folder)


def truncated_gzip(folder: Path) -> None:
    packed = gzip.compress((folder / "data" / "prose.jsonl").read_bytes())
    (folder / "data" / "prose.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    study("data/prose.jsonl", "data/prose.jsonl.gz")(folder)


def a_tokenizer_of_other_text(folder: Path) -> None:
    from tokenizers import Tokenizer, models

    vocabulary = {"<unk>": 0, "</s>": 1, "один": 2, "два": 3}
    Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>")).save(str(folder / "tokenizer.json"))
    study("corpus: {", "corpus: {tokenizer: tokenizer.json, ")(folder)


def after(first: Spoil, second: Spoil) -> Spoil:
    def both(folder: Path) -> None:
        first(folder)
        second(folder)

    return both


GOOD_LINES = "\n".join(json.dumps({"text": f"line {number} of some text"}) for number in range(40))

CASES: dict[str, tuple[Spoil, str]] = {
    "an empty file": (data(""), "prose"),
    "a file of empty documents": (data('{"text": ""}\n{"text": "  "}\n'), "prose"),
    "a missing file": (study("data/code.jsonl", "data/cod.jsonl"), "cod.jsonl"),
    "a missing field": (study("data/prose.jsonl}", "data/prose.jsonl, text: body}"), "body"),
    "a field that is no text": (data('{"text": 7}\n'), "prose.jsonl line 1"),
    "invalid UTF-8": (data(GOOD_LINES.encode() + b'\n{"text": "\xff\xfe"}\n'), "line 41"),
    "a broken JSON line": (data(GOOD_LINES + '\n{"text": "half'), "prose.jsonl line 41"),
    "a truncated gzip file": (truncated_gzip, "prose.jsonl.gz"),
    "a truncated Parquet file": (truncated_parquet, "prose.parquet"),
    "an unknown ending": (after(data("x", "prose.xyz"), study("prose.jsonl", "prose.xyz")), "prose.xyz"),
    "a domain with one document": (data('{"text": "a single short document"}\n'), "1 document"),
    "a domain shorter than a sequence": (data('{"text": "a"}\n{"text": "b"}\n'), "prose"),
    "groups that clash": (study("groups:\n", "groups:\n  none: {domains: [prose, sums], max: 10%}\n"), "group"),
    "a supply too small": (study("tokens: 40k", "tokens: 4M"), "4 epochs of its"),
    "a tokenizer of other text": (a_tokenizer_of_other_text, "tokenizer"),
    "a missing tokenizer": (study("corpus: {", "corpus: {tokenizer: none.json, "), "none.json"),
    "a tokenizer that is none": (study("corpus: {", "corpus: {tokenizer: data/prose.jsonl, "), "prose.jsonl"),
    "no MLflow server": (
        study("study: small", "study: small\ntracking: {uri: 'http://127.0.0.1:9'}"),
        "no MLflow server",
    ),
    "an impossible model": (study("heads: 2, tokens", "heads: 7, tokens"), "proxies.dense"),
    "more than a batch of tokens": (
        study("width: 32, heads: 2, tokens: 4k", "width: 32, heads: 2, tokens: 10"),
        "proxies",
    ),
}
NO_GPU = study("executor: {kind: in_process}", "executor: {kind: ray, gpus_per_trial: 1}")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        *(pytest.param(*case, id=name) for name, case in CASES.items()),
        pytest.param(NO_GPU, "GPU", id="no GPU", marks=pytest.mark.slow),  # Ray has to start
    ],
)
def test_bad_input(tmp_path: Path, spoil: Spoil, says: str) -> None:
    path = write_study(tmp_path)
    spoil(tmp_path)
    done = mixopt("run", path)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.status == 2, done.stderr
    assert len(errors) == 1, done.stderr
    assert says in errors[0]
    assert "; " in errors[0], "a remedy follows"
    assert "Traceback" not in done.stderr
    assert "search: " not in done.stderr, "no trial had begun"


def test_a_mended_mistake_goes_on_where_it_was(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    good = (tmp_path / "data" / "sums.jsonl").read_text()
    (tmp_path / "data" / "sums.jsonl").write_text(good + '{"text": ')
    assert mixopt("prepare", path).status == 2
    (tmp_path / "data" / "sums.jsonl").write_text(good)
    assert mixopt("prepare", path).status == 0


@pytest.mark.slow
def test_a_full_disk(tmp_path: Path) -> None:
    """A limit on the size of files, which the system reports as it does a full disk."""
    path = write_study(tmp_path)
    command = [*COMMAND, "prepare", str(path)]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    full = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert full.returncode == 2, full.stderr
    assert "no room left" in full.stderr
    assert "Traceback" not in full.stderr
    again = mixopt("prepare", path)
    assert again.status == 0, again.stderr


@pytest.mark.slow
def test_a_document_of_100_megabytes(tmp_path: Path) -> None:
    path = write_study(tmp_path, STUDY.replace("data/prose.jsonl", "data/prose.txt, sample: 50k"))
    line = "{:09}: the river ran slowly past old houses while evening light fell on quiet water\n"
    with (tmp_path / "data" / "prose.txt").open("w") as file:
        for number in range(100_000_000 // 80):
            file.write(line.format(number))
    done = mixopt("prepare", path)
    assert done.status == 0, done.stderr
