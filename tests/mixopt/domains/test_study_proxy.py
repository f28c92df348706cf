"""The hidden states of a study's proxy as the embedding of `mixopt domains`: trained once more, and kept."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from mixopt.base.errors import ConfigError
from mixopt.domains.study_proxy import proxy_of
from mixopt.settings.reading import load
from mixopt.study.stages import Stages
from proxies.domains.embedding.opening import open_embedding
from tests.e2e.study import write_study
from tests.program import mixopt
from tests.text import write_jsonl

ONE_PROXY = """\
study: small
domains: {prose: {paths: data/prose.jsonl}, code: {paths: data/code.jsonl}}
corpus: {vocabulary: 300, validation_tokens: 1k, sequence_length: 32}
proxies: {dense: {kind: dense, depth: 1, width: 32, heads: 2, tokens: 4k, batch_rows: 8, evaluations: 2, trials: 4}}
baselines: [proportional]
confirm: {candidates: 0}
executor: {kind: in_process}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_study(tmp_path_factory.mktemp("study"), ONE_PROXY)
    done = mixopt("run", path)
    assert done.status == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def heap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heap")
    write_jsonl(folder, {"prose": 40, "code": 40})
    return folder


def test_domains_are_found_by_the_hidden_states_of_a_studys_proxy(study: Path, heap: Path, tmp_path: Path) -> None:
    done = mixopt(
        "domains", heap, "-o", tmp_path / "pools", "--count", 2, "--embedding", study, "--workers", 1, "--json"
    )
    assert done.status == 0, done.stderr
    assert "train proxy dense again" in done.stderr
    found = json.loads(done.stdout)
    assert found["embedding"].startswith("proxy-")
    kept = list((study.parent / ".mixopt" / "small" / "proxies").iterdir())
    assert [sorted(path.name for path in each.iterdir()) for each in kept] == [
        ["proxy.json", "tokenizer.json", "weights.npz"]
    ]


def test_it_is_trained_once(study: Path, heap: Path, tmp_path: Path) -> None:
    folder = proxy_of(load(study), Stages(Console(stderr=True)))
    stamp, identity = (folder / "weights.npz").stat().st_mtime_ns, open_embedding(folder).identity
    for output in ("one", "other"):
        done = mixopt("domains", heap, "-o", tmp_path / output, "--count", 2, "--embedding", study, "--json")
        assert (done.status, "train proxy" in done.stderr) == (0, False)
        assert json.loads(done.stdout)["embedding"] == identity
    assert (folder / "weights.npz").stat().st_mtime_ns == stamp
    pools = [{path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.zst")} for name in ("one", "other")]
    assert pools[0] == pools[1]


def test_made_anew_it_is_the_same_proxy(study: Path) -> None:
    folder = proxy_of(load(study), Stages(Console(stderr=True)))
    identity = open_embedding(folder).identity
    (folder / "weights.npz").write_bytes((folder / "weights.npz").read_bytes()[:-100])
    assert proxy_of(load(study), Stages(Console(stderr=True))) == folder
    assert open_embedding(folder).identity == identity


def test_what_is_kept_is_used_when_the_text_is_gone(study: Path, tmp_path: Path) -> None:
    kept = proxy_of(load(study), Stages(Console(stderr=True)))
    copied = Path(shutil.copytree(study.parent, tmp_path / "copy")) / study.name
    shutil.rmtree(copied.parent / "data")
    found = proxy_of(load(copied), Stages(Console(stderr=True)))
    assert found == copied.parent / kept.relative_to(study.parent)
    shutil.rmtree(found)
    with pytest.raises(ConfigError, match=f"answer is not in {found.parent}, and cannot be trained: .*prose.jsonl"):
        proxy_of(load(copied), Stages(Console(stderr=True)))


def test_a_copy_of_other_times_is_mended_as_the_message_says(study: Path, heap: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(study.parent, tmp_path / "copy")) / study.name
    shutil.rmtree(copied.parent / ".mixopt" / "small" / "proxies", ignore_errors=True)
    for path in (copied.parent / "data").iterdir():
        os.utime(path, (1, 1))  # as `cp -r` gives it another time
    asked = ("domains", heap, "-o", tmp_path / "pools", "--count", 2, "--embedding", copied, "--workers", 1)
    told = mixopt(*asked)
    said = " ".join(told.stderr.split())
    assert told.status == 2 and "or was copied; of the same text they count again after: mixopt prepare" in said
    assert mixopt("prepare", copied).status == 0
    assert (done := mixopt(*asked)).status == 0, done.stderr


def test_of_a_study_that_goes_on_it_is_said_that_its_answer_may_change(study: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(study.parent, tmp_path / "copy")) / study.name
    assert mixopt("prepare", copied).status == 0
    journal = copied.parent / ".mixopt" / "small" / "journal.jsonl"
    before_answer, _, _ = journal.read_text().partition('{"written":"mixopt.answer"')
    journal.write_text(before_answer)
    console = Console(stderr=True, file=io.StringIO())
    proxy_of(load(copied), Stages(console))
    assert isinstance(console.file, io.StringIO)
    assert "study small has not ended: its proxy is that of the answer so far" in " ".join(
        console.file.getvalue().split()
    )
    exported = mixopt("export", copied, "-o", tmp_path / "mix.yaml")
    assert exported.status == 0
    assert "study small has not ended: this is its answer so far, unconfirmed" in " ".join(exported.stderr.split())
    assert "has not ended" not in mixopt("export", study, "-o", tmp_path / "mix.yaml").stderr


def test_a_studys_domain_is_split_by_its_own_proxy(study: Path) -> None:
    output = study.parent / "finer"
    done = mixopt("domains", study, "--split", "prose=2", "--embedding", study, "--workers", 1, "-o", output, "--json")
    assert done.status == 0, done.stderr
    assert json.loads(done.stdout)["split"]["prose"]["embedding"].startswith("proxy-")


def test_a_study_that_has_not_run_is_told_before_anything_is_written(heap: Path, tmp_path: Path) -> None:
    path = write_study(tmp_path, ONE_PROXY)
    done = mixopt("domains", heap, "-o", tmp_path / "pools", "--embedding", path)
    assert (done.status, (tmp_path / "pools").exists()) == (2, False)
    assert "study small has not run yet" in " ".join(done.stderr.split())


def test_a_folder_with_something_else_in_it_is_told_before_a_proxy_is_trained(heap: Path, tmp_path: Path) -> None:
    path = write_study(tmp_path, ONE_PROXY)
    done = mixopt("domains", heap, "-o", tmp_path, "--embedding", path)
    assert done.status == 2 and "is not empty" in " ".join(done.stderr.split())


def test_a_study_of_another_trainer_has_no_proxy(heap: Path, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        "study: theirs\ndomains: {a: {tokens: 1M}, b: {tokens: 1M}}\n"
        "proxies: {p: {params: 1M, tokens: 1M, trials: 4}}\n"
        "executor: {kind: external}\n"
    )
    done = mixopt("domains", heap, "-o", tmp_path / "pools", "--embedding", path)
    assert done.status == 2 and "trains with another trainer" in " ".join(done.stderr.split())
