"""Bad input, one case a row: one line with the place and a remedy, exit status 2, and no trial begun."""

from __future__ import annotations

import gzip
import json
import os
import resource
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mixopt.base.shown import LONGEST_LINE, UNSEEN
from mixopt.settings.reading import load
from mixopt.study.record import journal_path
from tests.e2e.study import STUDY, write_study
from tests.program import COMMAND, Done, mixopt
from tracking.journal import Journal
from tracking.record import Subject

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


def pipe(name: str) -> Spoil:
    """A pipe in the place of a file, into which nobody writes."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return spoil


def bomb(name: str, begin: bytes) -> Spoil:
    """A few compressed bytes that unpack to a line of a few hundred million."""

    def spoil(folder: Path) -> None:
        with gzip.open(folder / "data" / name, "wb", compresslevel=1) as file:
            file.write(begin)
            for _ in range(300):
                file.write(b"a" * 1_000_000)
        study("prose.jsonl", name)(folder)

    return spoil


def tokenizer(**changed: object) -> Spoil:
    """A tokenizer.json in which sections were replaced."""

    def spoil(folder: Path) -> None:
        a_tokenizer_of_other_text(folder)
        path = folder / "tokenizer.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))

    return spoil


def quality(settings: str, few: int = 0) -> Spoil:
    """A study whose prose is to be cut into levels; and a file of so many good texts."""

    def spoil(folder: Path) -> None:
        study("data/prose.jsonl", f"data/prose.jsonl, quality: {settings}")(folder)
        (folder / "data" / "few.jsonl").write_text("".join(f'{{"text": "good {place}"}}\n' for place in range(few)))

    return spoil


def written(text: str) -> Spoil:
    """A study file that is this text."""
    return lambda folder: none((folder / "study.yaml").write_text(text, encoding="utf-8"))


def appended(text: str) -> Spoil:
    """A study file with this at its end."""
    return after_study(lambda before: before + text)


def after_study(change: Callable[[str], str]) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "study.yaml"
        path.write_text(change(path.read_text()), encoding="utf-8")

    return spoil


def none(_: object) -> None:
    pass


ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{depth}: &a{depth} [{', '.join([f'*a{depth - 1}'] * 10)}]\n" for depth in range(1, 10)
)
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
    "aliases of aliases": (appended(ALIASES), "more than 200,000 values"),
    "an alias of itself": (appended("x: &a [*a]\n"), "refers to itself"),
    "5,000 levels of lists": (appended("x: " + "[" * 5000 + "]" * 5000), "nested more than"),
    "5,000 levels of settings": (appended("x: " + "{a: " * 5000 + "1" + "}" * 5000), "nested more than"),
    "a list of 100,000": (study("data/prose.jsonl", f"[{'a, ' * 100_000}a]"), "longer than 10,000"),
    "100,000 keys": (appended("".join(f"k{number}: 1\n" for number in range(100_000))), "values"),
    "1,001 domains": (
        study("groups:", "".join(f"  d{number}: {{paths: x}}\n" for number in range(1001)) + "groups:"),
        "longer than 1,000",
    ),
    "a name of 4,096 letters": (study("study: small", f"study: {'p' * 4096}"), "longer than 100"),
    "a key of 4,096 letters": (appended(f"? {'p' * 4096}\n: 1\n"), "unknown key"),
    "a path of 10,000 letters": (study("data/prose", f"data/{'p' * 10_000}"), "no file matches"),
    "a value of 3 MB": (study("seed: 3", f"seed: {'a' * 3_000_000}"), "seed"),
    "a study file of 10 MB": (appended(f"# {'a' * 10_000_000}\n"), "larger than 4 MB"),
    "a number of 5,000 digits": (study("seed: 3", f"seed: {'9' * 5000}"), "5,000 digits"),
    "an octal number": (study("seed: 3", "seed: 010"), "decimal numbers"),
    "a hexadecimal number": (study("seed: 3", "seed: 0x1F"), "decimal numbers"),
    "a binary number": (study("seed: 3", "seed: 0b1"), "decimal numbers"),
    "a sexagesimal number": (study("seed: 3", "seed: 1:39:39"), "decimal numbers"),
    "a sexagesimal fraction": (study("tokens: 40k", "tokens: 1:30.5"), "decimal numbers"),
    "half a binary number": (study("seed: 3", "seed: 0b"), "seed: '0b'"),
    "a day that there is not": (study("seed: 3", "seed: 2024-13-45"), "seed: '2024-13-45'"),
    "a tag of a number": (study("seed: 3", "seed: !!int abc"), "without a tag"),
    "a tag of a fraction": (study("seed: 3", "seed: !!float x"), "without a tag"),
    "a tag of a date": (study("seed: 3", "seed: !!timestamp 1"), "without a tag"),
    "a tag of an object": (study("seed: 3", "seed: !!python/object/apply:os.getcwd []"), "without a tag"),
    "a key from elsewhere": (study("seed: 3", "<<: {seed: 3}"), "the key <<"),
    "an escape in a key": (appended('"\\e[31m\\nx": 1\n'), r"\x1b[31m\nx"),
    "an escape in a domain's name": (study("prose:", '"\\e]0;x\\a":'), r"\x1b]0;x\x07"),
    "an escape in a path": (study("data/prose.jsonl", '"data/\\e[31m.jsonl"'), r"\x1b[31m"),
    "an escape in a field's name": (study("prose.jsonl}", 'prose.jsonl, text: "\\e[31m\\r"}'), r"\x1b[31m\r"),
    "an escape in the data's field": (data('{"\\u001b[31m\\n": "a"}\n'), r"\x1b[31m\n"),
    "a control character": (study("seed: 3", "seed: \x1b[31m"), "U+001B"),
    "NUL": (study("seed: 3", "seed: \0"), "U+0000"),
    "UTF-16": (lambda folder: none((folder / "study.yaml").write_text(STUDY, encoding="utf-16")), "not UTF-8"),
    "an empty study file": (written(""), "no settings"),
    "a study file that is a list": (written("- a\n"), "no settings"),
    "a folder for a study file": (
        after(lambda folder: (folder / "study.yaml").unlink(), lambda folder: (folder / "study.yaml").mkdir()),
        "is a folder",
    ),
    "a pipe for a study file": (pipe("study.yaml"), "pipe"),
    "a pipe for a pool": (pipe("data/prose.jsonl"), "pipe"),
    "a pipe for a tokenizer": (
        after(pipe("tokenizer.json"), study("corpus: {", "corpus: {tokenizer: tokenizer.json, ")),
        "pipe",
    ),
    "a billion trials": (study("trials: 8", "trials: 1000000000"), "trials"),
    "a width of a billion": (study("width: 32, heads: 2, tokens", "width: 1e9, heads: 2, tokens"), "width"),
    "a depth of a billion": (study("depth: 1,", "depth: 1e9,"), "depth"),
    "1e300 tokens": (study("tokens: 40k", "tokens: 1e300"), "target.tokens"),
    "1e300 validation tokens": (study("validation_tokens: 1k", "validation_tokens: 1e300"), "validation_tokens"),
    "a billion workers": (study("corpus: {", "corpus: {workers: 1e9, "), "workers"),
    "weights beyond numbers": (study("{prose: 2, code: 1}", "{prose: 1e308, code: 1e308}"), "weights"),
    "no time": (study("kind: in_process}", "kind: in_process}\nbudget: {time: 0s}"), "budget.time: '0s'"),
    "a number as a name": (study("study: small", "study: 2026"), 'put it in quotes: "2026"'),
    "a truth as a name": (study("study: small", "study: yes"), 'yes is read as true or false; put it in quotes: "yes"'),
    "no patience": (study("kind: in_process}", "kind: in_process, patience: 0s}"), "patience"),
    "an experiment elsewhere": (appended("tracking: {experiment: ../..}\n"), "experiment"),
    "a study called like the store": (study("study: small", "study: mlflow.db-wal"), "mlflow.db-wal"),
    "a number of 5,000 digits in the data": (data(f'{{"text": "a", "n": {"9" * 5000}}}\n'), "prose.jsonl line 1"),
    "deep JSON": (data(GOOD_LINES + "\n" + '{"text": ' + "[" * 100_000), "prose.jsonl line 41"),
    "UTF-16 data": (data(GOOD_LINES.encode("utf-16")), "prose.jsonl line 1 is not UTF-8"),
    "half a character at the end": (data(GOOD_LINES.encode() + b'\n{"text": "\xc3'), "prose.jsonl line 41"),
    "invalid UTF-8 after carriage returns": (data(GOOD_LINES.replace("\n", "\r").encode() + b'\r"\xe9'), "line 41"),
    "a conversation": (data('{"messages": [{"role": "user", "content": "a"}]}\n'), "turns of a conversation"),
    "a field in a field": (
        after(data('{"content": {"text": "a"}}\n'), study("prose.jsonl}", "prose.jsonl, text: content.text}")),
        "fields within others",
    ),
    "a field of a CSV": (
        after(data("review,stars\na,1\n", "prose.csv"), study("prose.jsonl}", "prose.csv, text: review}")),
        "no field review",
    ),
    "a token of id 2^31": (tokenizer(model={"type": "WordLevel", "vocab": {"a": 2**31}, "unk_token": "a"}), "2,147"),
    "a tokenizer that panics": (
        tokenizer(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        "no tokenizer",
    ),
    "a tokenizer without a token for the unknown": (
        tokenizer(model={"type": "Unigram", "unk_id": None, "vocab": [["</s>", 0.0]]}),
        "unknown token",
    ),
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
BOMBS = {
    "a compressed line without end": (bomb("prose.jsonl.gz", b'{"text": "'), "a line of more than"),
    "a compressed text without end": (bomb("prose.txt.gz", b""), "a line of more than"),
}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        *(pytest.param(*case, id=name) for name, case in CASES.items()),
        *(pytest.param(*case, id=name, marks=pytest.mark.slow) for name, case in BOMBS.items()),
    ],
)
def test_bad_input(tmp_path: Path, spoil: Spoil, says: str) -> None:
    path = write_study(tmp_path)
    spoil(tmp_path)
    done = mixopt("run", path)
    said_in_one_line(done, says)
    assert "search: " not in done.stderr, "no trial had begun"


def said_in_one_line(done: Done, says: str) -> None:
    errors = [line for line in done.stderr.split("\n") if line.startswith("error: ")]
    assert done.status == 2, done.stderr[:1000]
    assert len(errors) == 1, done.stderr[:1000]
    assert len(errors[0]) <= len("error: ") + LONGEST_LINE
    assert not UNSEEN.search(errors[0])
    assert says in errors[0]
    assert "; " in errors[0], "a remedy follows"
    assert "Traceback" not in done.stderr


def executor(settings: str) -> Spoil:
    return study("executor: {kind: in_process}", f"executor: {{{settings}}}")


def file_at(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("a file")

    return spoil


# What a study names and is not there: known before anything is read, trained or started, with its place.
NOT_THERE: dict[str, tuple[Spoil, str]] = {
    "a directory that is a file": (
        after(file_at("here"), appended("directory: here\n")),
        "study.yaml:19: directory: ",
    ),
    "a directory below a file": (after(file_at("here"), appended("directory: here/in/it\n")), "here is not a folder"),
    "a directory that takes no files": (appended("directory: /proc/studies\n"), "/proc cannot be written to"),
    "a study's folder that is a file": (file_at(".mixopt/small"), "small is not a folder"),
    "a GPU of this machine": (executor("kind: ray, gpus_per_trial: 999"), "study.yaml:17: executor.gpus_per_trial"),
    "a GPU of this process": (executor("kind: in_process, gpus_per_trial: 999"), "a trial asks for 999, and "),
    "processors": (executor("kind: ray, cpus_per_trial: 9999"), "study.yaml:17: executor.cpus_per_trial"),
    "a shared folder that is a file": (
        after(file_at("here"), executor("kind: in_process, shared: here")),
        "study.yaml:17: executor.shared: ",
    ),
    "a shared folder that takes no files": (executor("kind: ray, shared: /proc"), "/proc cannot be written to"),
    "a shared place of an unknown kind": (executor("kind: ray, shared: 's4://a/b'"), "s4://a/b cannot be opened"),
    "a table of earlier runs": (appended("reuse: {runs: gone.csv}\n"), "gone.csv"),
    "an impossible proxy": (study("heads: 2, tokens", "heads: 7, tokens"), "study.yaml:12: proxies.dense: "),
}
# What a run notices as early, but later than what a table of its own could tell.
NOT_THERE_FOR_VALIDATE: dict[str, tuple[Spoil, str]] = {
    "a tokenizer": (
        study("corpus: {", "corpus: {tokenizer: none.json, "),
        "study.yaml:10: corpus.tokenizer: tokenizer ",
    ),
    "a tokenizer by its name on the hub": (
        study("corpus: {", "corpus: {tokenizer: hf:gpt2, "),
        "name a tokenizer.json; that of a model on the hub is hf://OWNER/NAME/tokenizer.json",
    ),
    "a tokenizer that is a folder": (
        study("corpus: {", "corpus: {tokenizer: data, "),
        "is a folder, a pipe or a device",
    ),
    "a text": (study("data/code.jsonl", "data/gone.jsonl"), "study.yaml:5: domains.code.paths: no file matches "),
    "what a pattern matches": (study("data/code.jsonl", '"data/*.cod"'), "study.yaml:5: domains.code.paths: "),
    "a text of an evaluation set": (
        appended("evaluation: {tasks: {paths: data/tasks.jsonl}}\n"),
        "study.yaml:19: evaluation.tasks.paths: no file matches ",
    ),
    "a cluster": (executor("kind: ray, address: '127.0.0.1:9'"), "study.yaml:17: executor.address: no Ray cluster"),
    "an MLflow server": (
        appended("tracking: {uri: 'http://127.0.0.1:9'}\n"),
        "study.yaml:19: tracking.uri: no MLflow server answers at http://127.0.0.1:9",
    ),
    "a folder for an MLflow store": (
        after(file_at("here"), appended("tracking: {uri: 'sqlite:///here/mlflow.db'}\n")),
        "here is not a folder",
    ),
    "a database that is none": (
        after(file_at("here"), appended("tracking: {uri: 'sqlite:///here'}\n")),
        "is damaged: file is not a database",
    ),
}


@pytest.mark.parametrize(
    ("command", "spoil", "says"),
    [
        pytest.param("validate", *case, id=f"validate: {name}")
        for name, case in (NOT_THERE | NOT_THERE_FOR_VALIDATE).items()
    ]
    + [pytest.param("run", *case, id=f"run: {name}") for name, case in NOT_THERE.items()],
)
def test_what_is_not_there_is_told_before_anything_begins(
    tmp_path: Path, command: str, spoil: Spoil, says: str
) -> None:
    path = write_study(tmp_path)
    spoil(tmp_path)
    before = everything_in(tmp_path)
    said_in_one_line(mixopt(command, path), says)
    assert everything_in(tmp_path) == before, "nothing was made, and nothing left"


def everything_in(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_all_that_is_wrong_is_told_at_once_and_fast(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    for spoil in (
        study("data/code.jsonl", "[data/code.jsonl, data/gone.jsonl, data/gone.txt]"),
        study("corpus: {", "corpus: {tokenizer: none.json, "),
        study("depth: 1, width: 32, heads: 2", "depth: 1, width: 32, heads: 7"),
        study("depth: 2, width: 32, heads: 2", "depth: 2, width: 32, heads: 5"),
        executor("kind: ray, cpus_per_trial: 9999, shared: /proc"),
        appended("directory: /proc/x\ntracking: {uri: 'http://127.0.0.1:9'}\n"),
    ):
        spoil(tmp_path)
    done = mixopt("validate", path)
    places = [line.removeprefix(f"error: {path}:").split(": ")[1] for line in done.stderr.splitlines()]
    assert places == [
        *("proxies.dense", "proxies.moe", "corpus.tokenizer", "domains.code.paths", "domains.code.paths"),
        *("directory", "executor.cpus_per_trial", "executor.shared", "tracking.uri"),
    ]
    assert done.status == 2


def test_a_store_of_this_machine_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    said_in_one_line(mixopt("validate", write_study(tmp_path)), "$MLFLOW_TRACKING_URI: ./mlruns names no MLflow store")


def test_a_study_that_was_begun_with_another_file(tmp_path: Path) -> None:
    file = load(write_study(tmp_path))
    Journal.create(journal_path(file), Subject(file.study, file.deciding(), "a corpus"), (), ()).close()
    study("seed: 3", "seed: 4")(tmp_path)
    said_in_one_line(mixopt("validate", file.file), "study small exists with another study file; changed: seed")


def test_what_is_only_known_later_is_said(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        executor(f"kind: ray, address: '{address}', gpus_per_trial: 4")(tmp_path)
        done = mixopt("validate", path)
        [note] = json.loads(mixopt("validate", path, "--json").stdout)["notes"]
    assert done.status == 0, done.stderr
    assert (
        note
        == f"whether the cluster at {address} has room for a trial (CPUs: 1, GPUs: 4) is seen when the study starts"
    )
    assert " ".join(done.stderr.split()) == f"note: {note}"


# A command on the study `study.yaml` or on the table `runs.csv`, after a file was spoiled, and what it says.
WRONG_ARGUMENTS: dict[str, tuple[str, Spoil, str]] = {
    "init: no folder": ("init none -o new.yaml", none, "none is not a folder; name the folder that holds"),
    "init: a file": ("init runs.csv -o new.yaml", none, "runs.csv is not a folder; name the folder that holds"),
    "init: one pool": ("init data/one -o new.yaml", lambda folder: (folder / "data/one").mkdir(), "holds 0 domains"),
    "init: a file that is there": ("init data", none, "study.yaml exists; choose another name with --output"),
    "validate: a table": ("validate runs.csv", none, "runs.csv: no settings in this file; start from: mixopt init"),
    "validate: an empty path": ("validate", study("data/code.jsonl", "''"), "domains.code.paths.0: '' is empty; write"),
    "validate: an address": ("validate --address head", none, "--address head is not the address of a cluster's head"),
    "validate: a table of something else": (
        "validate",
        appended("reuse: {runs: study.yaml}\n"),
        "study.yaml:19: reuse.runs: ",
    ),
    "plan: a text that is gone": ("plan", study("data/code.jsonl", "data/gone.jsonl"), "code: no file matches "),
    "plan: a budget for nothing": ("plan --no-probe", appended("budget: {flops: 10}\n"), "budget.flops 10 leaves no"),
    "plan: a folder that is a file": (
        "plan",
        after(file_at("here"), appended("directory: here\n")),
        ":19: directory: ",
    ),
    "fit: a URL": ("fit https://example.com/runs.csv", none, "is read from a disk, not from a URL; download it"),
    "fit: a study": ("fit study.yaml", none, "a table ends in .csv, .tsv, .json, .jsonl or .parquet"),
    "fit: no such surrogate": ("fit runs.csv --surrogate gpt", none, "surrogate 'gpt' does not exist; choose from"),
    "fit: a table of limits": ("fit runs.csv --space runs.csv", none, "runs.csv: no settings in this file"),
    "best: what has not run": ("best", none, "study small has not run yet; run it: mixopt run"),
    "best: a store that is none": ("best", none, "the MLflow store ./mlruns is no address of a database; correct"),
    "export: tokens of nothing": ("export --tokens many", none, "tokens: 'many' is not an amount; write a number"),
    "export: a mixture of others": ("export --mixture runs.csv", none, "runs.csv: "),
    "compare: one": ("compare study.yaml", none, "mixopt compare: B is missing; see mixopt compare --help"),
    "compare: what has not run": ("compare study.yaml uniform", none, "study small has not run yet; run it"),
    "prune: a file": ("prune study.yaml", none, "study.yaml: not a folder; name the folder where studies are kept"),
    "prune: nothing": ("prune none", none, "none: no such folder; name the folder where studies are kept"),
    "quality: nothing to cut": ("quality", none, "no domain asks for levels of quality; write quality: "),
    "quality: no such scorer": (
        "quality",
        quality("{scorer: taste}"),
        "domains.prose.quality.scorer: 'taste' is unknown",
    ),
    "quality: two ways": (
        "quality",
        quality("{scorer: density, field: s}"),
        "a score is by a scorer or in a field; give one of the two",
    ),
    "quality: no way": ("quality", quality("{levels: 3}"), "quality needs what documents are scored by; give"),
    "quality: nothing good": ("quality", quality("{scorer: classifier}"), "learns from text that is known to be good"),
    "quality: good that is gone": (
        "quality",
        quality("{scorer: classifier, good: gone.jsonl}"),
        "good text for prose: no file matches ",
    ),
    "quality: good that is broken": (
        "quality",
        after(file_at("good.jsonl"), quality("{scorer: language_model, good: good.jsonl}")),
        "good text for prose: ",
    ),
    "quality: too little that is good": (
        "quality",
        quality("{scorer: classifier, good: [data/few.jsonl]}", few=3),
        "the good set has 3 texts, too few to learn from; give",
    ),
    "quality: good for whom": (
        "quality",
        quality("{scorer: repetition, good: data/code.jsonl}"),
        "good is for language_model and classifier; remove it",
    ),
    "quality: one level": ("quality", quality("{scorer: density, levels: 1}"), "quality.levels: 1 is out of range"),
    "quality: no field": (
        "quality",
        quality("{field: score}"),
        "line 1 has no field score; every record needs a number",
    ),
    "quality: a field of text": ("quality", quality("{field: text}"), "field text holds the text"),
    "quality: the same for all": (
        "quality",
        after(data('{"text": "one", "s": 1}\n{"text": "two", "s": 1}\n'), quality("{field: s, levels: 2}")),
        "prose: every text has the same s, 1; choose another",
    ),
    "quality: more levels than texts": (
        "quality",
        after(data('{"text": "one", "s": 1}\n{"text": "two", "s": 2}\n'), quality("{field: s, levels: 3}")),
        "prose: 3 levels of 2 texts; ask for fewer",
    ),
    "quality: a study that is there": (
        "quality",
        after(quality("{scorer: density}"), file_at("study-levels.yaml")),
        "study-levels.yaml exists; choose another name with --study-file",
    ),
    "quality: pools into a file": (
        "quality -o runs.csv",
        quality("{scorer: density}"),
        "--output runs.csv: ",
    ),
    "quality: a domain that stands for another": (
        "quality",
        after(
            quality("{scorer: density}"),
            after_study(
                lambda text: text.replace("prose: {", "prose: &p {").replace("{paths: data/sums.jsonl, min: 5%}", "*p")
            ),
        ),
        "study.yaml:6: *p stands for what is written elsewhere",
    ),
    "quality: levels that are there": (
        "quality",
        after(quality("{scorer: density}"), file_at("pools/prose/q2.jsonl")),
        "pools/prose/q2.jsonl exists; choose another folder with --output",
    ),
    "quality: levels into a pool": (
        "quality",
        after(after(quality("{scorer: density}"), study("data/code.jsonl", "pools")), file_at("pools/code.txt")),
        "the levels would come to lie in pools/prose, which code reads; choose another folder with --output",
    ),
    "quality: levels into what a pattern matches": (
        "quality -o data",
        after(quality("{scorer: density}"), study("data/code.jsonl", "data/**/*.jsonl")),
        "the levels would come to lie in data/prose, which code reads; choose another folder with --output",
    ),
    # The scores, all the same, are not looked at.
    "quality: a name that a level would have": (
        "quality",
        after(
            after(data('{"text": "one", "s": 1}\n{"text": "two", "s": 1}\n'), quality("{field: s, levels: 2}")),
            after_study(lambda text: text.replace("code:", "prose.q1:")),
        ),
        "there is a domain prose.q1 already",
    ),
    "quality: parts in parts": (
        "validate",
        study("{paths: data/prose.jsonl}", "{quality: {}, parts: {a: {parts: {b: {paths: x}}}, c: {paths: y}}}"),
        "a is a level of quality and has parts itself; move",
    ),
    "domains: one": ("domains data --count 1 -o new", none, "count 1: a mixture is of at least two domains; ask for 2"),
    "domains: more than documents": (
        "domains data --count 900 -o new",
        none,
        "documents that differ; ask for fewer domains with --count",
    ),
    "domains: nothing there": ("domains none -o new", none, "data: no file matches none; check the path"),
    "domains: a folder that is not empty": ("domains data -o data", none, "--output data is not empty; choose another"),
    "domains: into a file": ("domains data -o study.yaml", none, "study.yaml is not a folder; choose another"),
    "domains: no text": (
        "domains data/prose.jsonl -o new",
        data('{"n": 1}\n{"n": 2}\n'),
        "no file of records has a field with text in its first record",
    ),
    "domains: texts of several names": (
        "domains data/prose.jsonl -o new",
        data('{"title": "a", "said": "b"}\n'),
        "it has title, said; name it: --text FIELD",
    ),
    "domains: no such field": ("domains data --text said -o new", none, "has no field said, but text"),
    "domains: one document": (
        "domains data/prose.jsonl -o new",
        data('{"text": "alone"}\n'),
        "1 document with text; domains are made of at least two",
    ),
    "domains: copies": (
        "domains data/prose.jsonl -o new",
        data('{"text": "the same again and again"}\n' * 30),
        "all 30 documents are alike",
    ),
    "domains: no embedding": (
        "domains data --embedding data -o new",
        none,
        "data holds no embedding; name a study file",
    ),
    "submit: nowhere": ("submit", none, "no cluster is named; give --address http://head:8265"),
    "submit: to a port": ("submit --address head:8265", none, "is not the address of a cluster's head; write it as"),
    "status: a name": ("status small", none, "study small: one of this machine is known by its file"),
}


@pytest.mark.parametrize(("command", "spoil", "says"), WRONG_ARGUMENTS.values(), ids=WRONG_ARGUMENTS)
def test_wrong_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, spoil: Spoil, says: str
) -> None:
    write_study(tmp_path)
    (tmp_path / "runs.csv").write_text("weight.web,weight.code,metric.loss\n0.5,0.5,2\n0.4,0.6,1\n")
    spoil(tmp_path)
    monkeypatch.chdir(tmp_path)
    if "mlruns" in says:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    done = mixopt(*command.split())
    said_in_one_line(done, says)
    assert done.stdout == ""


def test_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    said_in_one_line(mixopt("init"), "the folder that this was started in: No such file or directory; check the path")


ROWS = "".join(f"r{place},{place / 8},{1 - place / 8},{3 + place / 9}\n" for place in range(1, 8))
TABLE = "run,mix/a,mix/b,eval/loss\n" + ROWS

# By what is wrong: the table, its content, options of `mixopt fit`, and what the line says.
TABLES: dict[str, tuple[str, str | bytes, list[str], str]] = {
    "weights that sum to 2.387": (
        "r.csv",
        "mix/a,mix/b,eval/loss\n1.387,1,3\n1.2,1.187,3\n",
        [],
        "row 2: the weights sum to 2.387, not 1",
    ),
    "a missing domain": ("r.csv", "mix/a,mix/b,eval/loss\n0.3,0.4,3\n0.2,0.4,3\n", [], "row 2: the weights sum to 0.7"),
    "shares and percentages": ("r.csv", "mix/a,mix/b,eval/loss\n0.3,0.7,3\n20,80,3\n", [], "two units"),
    "two mixtures": ("r.csv", "mix/a,mix/b,my_mix/a,my_mix/b,loss\n1,0,0,1,3\n0,1,1,0,2\n", [], "--weights 'mix/*'"),
    "no mixture": ("r.csv", "run,lr,eval/loss\na,1,2\nb,2,3\n", [], "--weights"),
    "no metric": ("r.csv", "mix/a,mix/b,speed\n1,0,2\n0,1,3\n", [], "--metrics speed"),
    "a mixture for a pattern that fits nothing": (
        "r.csv",
        TABLE,
        ["--weights", "mx/*"],
        "--weights mx/* fits no column",
    ),
    "metrics for a pattern that fits nothing": ("r.csv", TABLE, ["--metrics", "val*"], "--metrics val* fits no column"),
    "a pattern that only leaves columns out": ("r.csv", TABLE, ["--weights", "!mix/a"], "says none that counts"),
    "two runs of one name": (
        "r.csv",
        "run,step,mix/a,mix/b,loss\nm,9990,0.2,0.8,2\nm,10000,0.6,0.4,3\nn,10000,0,1,3\n",
        [],
        "rows 2 and 3 would be steps of run m",
    ),
    "a row of a long table without its run": (
        "r.csv",
        "run,domain,share,loss\nr,a,0.5,2\n,b,0.5,2\ns,a,0.4,2\ns,b,0.6,2\n",
        [],
        "row 3, column run: no name of a run",
    ),
    "one domain": ("r.csv", TABLE, ["--weights", "mix/a"], "one domain, mix/a"),
    "a role that there is not": ("r.csv", TABLE, ["--column", "colour=run"], "--column colour=run"),
    "a role's column that there is not": ("r.csv", TABLE, ["--column", "run=who"], "no column who"),
    "units that there are not": ("r.csv", TABLE, ["--units", "grams"], "--units grams"),
    "a decimal that there is not": ("r.csv", TABLE, ["--decimal", "dot"], "--decimal dot"),
    "an encoding that there is not": ("r.csv", TABLE, ["--encoding", "morse"], "--encoding morse"),
    "a join that there is not": ("r.csv", TABLE, ["--join", "none.csv"], "none.csv"),
    "an objective that there is not": ("r.csv", TABLE, ["--objective", "none.yaml"], "none.yaml"),
    "an experiment without a store": ("r.csv", TABLE, ["--experiment", "x"], "--from-mlflow"),
    "a store that there is not": ("", "", ["--from-mlflow", "sqlite:///none.db", "--experiment", "x"], "none.db"),
    "a table and a store": ("r.csv", TABLE, ["--from-mlflow", "x", "--experiment", "x"], "two tables"),
    "nothing": ("", "", [], "no table of runs"),
    "a workbook": ("r.xlsx", b"PK\x03\x04", [], "save the sheet as CSV"),
    "Windows' own encoding": ("r.csv", TABLE.replace("eval", "prüf").encode("cp1252"), [], "--encoding cp1252"),
    "commas of two meanings": ("r.csv", "mix/a;mix/b;loss\n1;0;2,387\n0;1;3,120\n", [], "--decimal comma"),
    "decimals of two kinds": ("r.csv", "mix/a;mix/b;loss\n1;0;2,38\n0;1;3.12\n", [], "column loss"),
    "every run crashed": ("r.csv", "state,mix/a,mix/b,loss\ncrashed,1,0,2\nfailed,0,1,3\n", [], "no run is left"),
    "half of the runs too short": (
        "r.csv",
        "_step,mix/a,mix/b,loss\n10,1,0,2\n10,0,1,3\n5,0.5,0.5,1\n5,0.4,0.6,1\n",
        [],
        "2 of 4 runs end before the last of them",
    ),
    "a chart's export": ("r.csv", "Step,a - loss,a - loss__MIN,a - loss__MAX\n1,2,2,2\n", [], "a chart"),
    "counts of documents": (
        "r.csv",
        "docs/a,docs/b,loss\n3000000,1000000,2\n1000000,3000000,3\n",
        [],
        "counts of documents",
    ),
    "broken JSON lines": ("r.jsonl", '{"mix": {"a": 1, "b": 0}, "loss": 2}\n{"mix":\n', [], "line 2 is not JSON"),
    "JSON that is no list": ("r.json", "7", [], "no list of runs"),
    "JSON lines of numbers": ("r.jsonl", "7\n8\n", [], "row 1, 7, is no run"),
    "deep JSON": ("r.json", "[" * 100_000, [], "is not JSON"),
    "an escape in a run's settings": (
        "r.json",
        json.dumps([{"mix\x1b[31m": {"a": 1, "b": 0}, "loss": 2}]),
        [],
        r"\x1b[31m",
    ),
    "a mapping file with a mistake": ("r.mapping.yaml", "wieghts: mix/*\n", ["--mapping", "r.mapping.yaml"], "wieghts"),
}


@pytest.mark.parametrize(("name", "content", "options", "says"), TABLES.values(), ids=TABLES.keys())
def test_a_bad_table_of_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str | bytes, options: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    table = []
    if name:
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
        table = [name if not name.endswith(".yaml") else "runs.csv"]
    done = mixopt("fit", *table, *options)
    errors = [line for line in done.stderr.split("\n") if line.startswith("error: ")]
    assert done.status == 2, done.stderr[:1000]
    assert len(errors) == 1, done.stderr[:1000]
    assert says in errors[0]
    assert "; " in errors[0], "a remedy follows"
    assert len(errors[0]) <= len("error: ") + LONGEST_LINE
    assert not UNSEEN.search(errors[0])
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*-fit")), "nothing was fitted"


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
