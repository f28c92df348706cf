"""A corpus holds its text once, keeps evaluation apart from training, and survives kills, changes and full disks."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxies.data import intake
from proxies.data.corpus import Corpus, CorpusSettings, Progress, find_prepared, prepare
from proxies.data.intake import LowestHashes
from proxies.data.shards import ShardWriter
from proxies.data.sources import Source
from proxies.data.tokenizer import TokenisedDocument
from proxies.errors import ProxyError
from tests.proxies.data.conftest import SETTINGS, sentences, source, texts_of, train_texts, write_jsonl


def held_out_texts(corpus: Corpus, name: str) -> list[str]:
    """Of both sets, the search's and, where it has one, the confirmation's."""
    sets = [corpus.evaluation(name), *([corpus.confirmation(name)] if name in corpus.confirmed_apart else [])]
    return [text for each in sets for text in texts_of(corpus, each.tokens_N[1:])]


def test_every_document_is_trained_on_or_held_out(corpus: Corpus) -> None:
    for name, texts in {"web": sentences(200, seed=1), "code": sentences(100, seed=2)}.items():
        train, held_out = train_texts(corpus, name), held_out_texts(corpus, name)
        assert sorted(train + held_out) == sorted(texts)
        summary = corpus.domains[name]
        assert summary.documents == len(texts)
        tokens = summary.train_tokens + summary.validation_tokens + summary.confirmation_tokens
        assert summary.mean_document_tokens == pytest.approx(tokens / len(texts))
        assert summary.train_tokens == len(corpus.train_tokens(name))
        assert summary.validation_tokens == len(corpus.evaluation(name).tokens_N) - 1
        assert 0 < summary.validation_tokens <= 0.1 * tokens
        assert 0 < summary.confirmation_tokens <= 0.1 * tokens
        assert summary.bytes == sum(len(text) for text in texts)
        assert corpus.evaluation(name).bytes + corpus.confirmation(name).bytes == sum(len(text) for text in held_out)
        assert corpus.evaluation(name).loss_mask_N is None
    assert corpus.evaluation_sets == ("web", "code", "chat")
    assert corpus.vocabulary == 300


def test_bytes_of_pairs_are_those_of_the_completions(corpus: Corpus) -> None:
    chat = corpus.evaluation("chat")
    mask_N = chat.loss_mask_N
    assert mask_N is not None and len(mask_N) == len(chat.tokens_N) and mask_N[0] == 0
    completions = texts_of(corpus, chat.tokens_N[mask_N == 1])
    assert chat.bytes == sum(len(text.encode()) for text in completions)
    assert set(completions) <= {text[::-1] for text in sentences(20, seed=3, words=10)}


def test_only_the_directory_of_a_corpus_is_pickled(corpus: Corpus) -> None:
    packed = pickle.dumps(corpus)
    assert len(packed) < 500
    assert pickle.loads(packed).fingerprint == corpus.fingerprint


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), max_size=30), st.integers(1, 40), st.randoms())
def test_what_is_held_out_does_not_depend_on_the_order(
    offers: list[tuple[int, int]], limit: int, random: Random
) -> None:
    # The same hash is the same document, and so as long.
    documents = [TokenisedDocument(code, np.zeros(length, np.uint32), 0, 0, 0) for code, length in dict(offers).items()]
    chosen = []
    for _ in range(2):
        lowest = LowestHashes(limit)
        rejected = [out for document in documents for out in lowest.offer(document)]
        assert len(rejected) + len(lowest.documents) == len(documents)
        chosen.append([document.hash for document in lowest.documents])
        random.shuffle(documents)
    expected: list[TokenisedDocument] = []
    # One longer than the limit only where every other is too.
    for document in sorted(documents, key=lambda document: (len(document.tokens_N) > limit, document.hash)):
        if expected and sum(len(held.tokens_N) for held in expected) + len(document.tokens_N) > limit:
            break
        expected.append(document)
    assert chosen[0] == chosen[1] == sorted(document.hash for document in expected)
    assert sum(len(held.tokens_N) for held in expected) <= limit or len(expected) == 1


def test_no_held_out_document_is_trained_on(tmp_path: Path) -> None:
    web, code, exam = sentences(100, seed=1), sentences(100, seed=2), sentences(30, seed=3)
    pools = [
        source("web", write_jsonl(tmp_path / "web.jsonl", [*web, *code, *web, *exam[:10]])),
        source(
            "code", write_jsonl(tmp_path / "code.jsonl", [*(f"  {text.replace(' ', '  ')}" for text in web), *code])
        ),
    ]
    evaluation = source("exam", write_jsonl(tmp_path / "exam.jsonl", exam))
    corpus = prepare(pools, [evaluation], SETTINGS, tmp_path / "corpus")
    held_out = {" ".join(text.split()) for name in corpus.evaluation_sets for text in held_out_texts(corpus, name)}
    for name in corpus.domains:
        assert not held_out & {" ".join(text.split()) for text in train_texts(corpus, name)}
    kept_exam = held_out_texts(corpus, "exam")
    summary = corpus.domains["web"]
    assert summary.documents == 310
    kept = sum(text not in held_out for text in [*web, *code, *web, *exam[:10]])
    assert len(train_texts(corpus, "web")) == kept
    assert summary.dropped_contaminated == 310 - kept - len(held_out_texts(corpus, "web"))
    assert len(corpus.evaluation("exam").tokens_N) - 1 <= SETTINGS.validation_tokens
    assert set(kept_exam) <= set(exam)
    # Duplicates that nobody evaluates on stay: how often a text occurs is part of the pool.
    counts = Counter(train_texts(corpus, "web"))
    assert {counts[text] for text in web if text not in held_out} == {2}


def test_empty_documents_are_dropped_and_counted(tmp_path: Path) -> None:
    pool = write_jsonl(tmp_path / "web.jsonl", ["", *sentences(20, seed=1), " \n", None])
    corpus = prepare([source("web", pool)], [], SETTINGS, tmp_path / "corpus")
    assert corpus.domains["web"].dropped_empty == 3


def test_a_book_is_one_document_however_many_pieces_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        (tmp_path / "books").mkdir(exist_ok=True)
        (tmp_path / "books" / f"{number}.txt").write_text("\n".join(sentences(40, seed=number)) + "\n" * 3000)
    (tmp_path / "books" / "empty.txt").write_text("\n" * 3000)
    monkeypatch.setattr("proxies.data.sources.LONGEST_PIECE", 1000)
    monkeypatch.setattr(intake, "CHUNK_DOCUMENTS", 2)  # so that chunks end within books
    summary = prepare([source("books", tmp_path / "books")], [], SETTINGS, tmp_path / "corpus").domains["books"]
    assert summary.documents == 3
    assert summary.dropped_empty == 1
    tokens = summary.train_tokens + summary.validation_tokens + summary.confirmation_tokens
    assert summary.mean_document_tokens == pytest.approx(tokens / 3)

    sample = source("books", tmp_path / "books", max_tokens=100)  # less than one book
    pool = write_jsonl(tmp_path / "web.jsonl", sentences(50, seed=9))
    sampled = prepare([source("web", pool)], [sample], SETTINGS, tmp_path / "sampled")
    assert len(sampled.evaluation("books").tokens_N) + len(sampled.confirmation("books").tokens_N) > 100


def test_max_tokens_takes_a_sample(tmp_path: Path) -> None:
    pool = source("web", write_jsonl(tmp_path / "web.jsonl", sentences(500, seed=1)), max_tokens=3000)
    summary = prepare([pool], [], SETTINGS, tmp_path / "corpus").domains["web"]
    assert 3000 <= summary.train_tokens + summary.validation_tokens + summary.confirmation_tokens < 3000 + 200


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["", " "], r"web: no text in 1 files \(2 empty documents\)"),
        ([], "web: no text"),
        (["only one"], "domain web has 1 document and none to train on"),
        (["twice the same", "twice  the same"], "domain web has 2 documents and none to train on"),
    ],
)
def test_domains_without_training_text(tmp_path: Path, texts: list[str], message: str) -> None:
    with pytest.raises(ProxyError, match=message) as caught:
        prepare([source("web", write_jsonl(tmp_path / "web.jsonl", texts))], [], SETTINGS, tmp_path / "corpus")
    assert caught.value.hint
    with pytest.raises(ProxyError, match="no finished corpus"):
        Corpus.open(tmp_path / "corpus")


def test_names_are_given_once(tmp_path: Path) -> None:
    pool = source("web", write_jsonl(tmp_path / "web.jsonl", sentences(20, seed=1)))
    with pytest.raises(ProxyError, match="web names two sources"):
        prepare([pool], [pool], SETTINGS, tmp_path / "corpus")


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path) -> None:
    def fingerprint(folder: str, texts: list[str], settings: CorpusSettings = SETTINGS) -> str:
        pool = source("web/a b", write_jsonl(tmp_path / folder / "web.jsonl", texts))
        return prepare([pool], [], settings, tmp_path / folder / "corpus").fingerprint

    texts = sentences(50, seed=1)
    first = fingerprint("one", texts)
    assert fingerprint("two", texts) == first
    assert fingerprint("three", [*texts, "another"]) != first
    assert fingerprint("four", texts, dataclasses.replace(SETTINGS, vocabulary=310)) != first
    assert fingerprint("five", texts, dataclasses.replace(SETTINGS, validation_tokens=100)) != first


def test_a_shard_has_the_same_digest_however_its_documents_came(tmp_path: Path) -> None:
    documents = [TokenisedDocument(code, np.arange(5, dtype=np.uint32), 2, 0, 0) for code in range(6)]
    dtype = np.dtype("<u2")
    shards = []
    for name, chosen in (("all", documents), ("kept", documents[2:])):
        with ShardWriter(tmp_path, name, dtype, masked=True) as writer:
            for document in chosen:
                writer.add(document)
            shards.append(writer.close())
    with ShardWriter(tmp_path, "copy", dtype, masked=True) as writer:
        writer.copy(shards[0], np.arange(6) >= 2)
        copy = writer.close()
    assert dataclasses.replace(copy, name="kept") == shards[1]
    for ending in (".tokens", ".mask", ".documents"):
        assert (tmp_path / f"copy{ending}").read_bytes() == (tmp_path / f"kept{ending}").read_bytes()


def test_a_mistake_in_one_source_leaves_a_good_corpus(tmp_path: Path) -> None:
    web = source("web", write_jsonl(tmp_path / "web.jsonl", sentences(50, seed=1)))
    corpus = prepare([web], [], SETTINGS, tmp_path / "corpus")
    wrong = source("code", write_jsonl(tmp_path / "code.jsonl", sentences(50, seed=2), field="body"))
    with pytest.raises(ProxyError, match="no field text"):
        prepare([web], [wrong], SETTINGS, tmp_path / "corpus")
    assert Corpus.open(tmp_path / "corpus").fingerprint == corpus.fingerprint


def test_changed_sources_leave_nothing_of_the_old_ones(tmp_path: Path) -> None:
    web, exam = sentences(100, seed=1), sentences(30, seed=3)
    code = source("code", write_jsonl(tmp_path / "code.jsonl", sentences(50, seed=2)))
    pool = source("web", write_jsonl(tmp_path / "web.jsonl", [*web, *exam]))
    evaluation = source("exam", write_jsonl(tmp_path / "exam.jsonl", exam))
    prepare([code, pool], [evaluation], SETTINGS, tmp_path / "corpus")
    folder = tmp_path / "corpus/domains/web"
    assert list(folder.glob("*.clean.tokens"))
    (folder / "train-00007.tokens").write_bytes(b"closed after the last save of the state")
    write_jsonl(tmp_path / "web.jsonl", web)
    prepare([code, pool], [], SETTINGS, tmp_path / "corpus")
    assert {file.name.split(".")[0] for file in folder.iterdir()} == {
        "train-00000",
        "held-out",
        "confirmation",
        "state",
    }
    assert not list(folder.glob("*.clean.*"))


@pytest.mark.parametrize("damage", ['{"format": 1}', '{"fingerprint": "x"}', "[]", '{"form', "\x00"])
@pytest.mark.parametrize("file", ["manifest.json", "domains/web/state.json"])
def test_files_of_another_format_count_as_absent(tmp_path: Path, file: str, damage: str) -> None:
    web = source("web", write_jsonl(tmp_path / "web.jsonl", sentences(50, seed=1)))
    corpus = prepare([web], [], SETTINGS, tmp_path / "corpus")
    (tmp_path / "corpus/manifest.json").write_text(damage)
    (tmp_path / "corpus" / file).write_text(damage)
    with pytest.raises(ProxyError, match="no finished corpus"):
        Corpus.open(tmp_path / "corpus")
    assert find_prepared([web], [], SETTINGS, tmp_path / "corpus") is None
    assert prepare([web], [], SETTINGS, tmp_path / "corpus").fingerprint == corpus.fingerprint


@pytest.mark.parametrize("which", ["training", "held out"])
def test_a_changed_bit_is_seen_and_what_is_said_to_mend_it_does(tmp_path: Path, which: str) -> None:
    web = source("web", write_jsonl(tmp_path / "web.jsonl", sentences(50, seed=1)))
    first = prepare([web], [], SETTINGS, tmp_path / "corpus")
    shard = first.shards[0 if which == "training" else -1]
    path = tmp_path / "corpus" / f"{shard.name}.tokens"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ProxyError, match="holds other tokens than its manifest says") as caught:
        prepare([web], [], SETTINGS, tmp_path / "corpus")
    folder = caught.value.hint.partition("remove the folder ")[2].partition(",")[0]
    shutil.rmtree(folder)
    assert prepare([web], [], SETTINGS, tmp_path / "corpus").fingerprint == first.fingerprint


def test_a_corpus_that_an_earlier_version_began_keeps_its_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text without spaces, of which versions before 0.2 learned another tokenizer."""
    chance = Random(0)
    proteins = ["".join(chance.choices("ACDEFGHIKLMNPQRSTVWY", k=1500)) for _ in range(40)]
    pool = source("proteins", write_jsonl(tmp_path / "proteins.jsonl", proteins))
    with monkeypatch.context() as earlier:
        earlier.setattr("proxies.data.corpus.LEARNING", 1)
        earlier.setattr("proxies.data.tokenizer._parts", lambda text: [text])
        begun = prepare([pool], [], SETTINGS, tmp_path / "begun")
    new = prepare([pool], [], SETTINGS, tmp_path / "new")
    assert new.fingerprint != begun.fingerprint
    assert new.tokenizer_file.name != begun.tokenizer_file.name, "a digest stands for one content"

    def again(settings: CorpusSettings = SETTINGS) -> Corpus:
        return prepare([pool], [], settings, tmp_path / "begun")

    assert again().fingerprint == begun.fingerprint
    shutil.rmtree(tmp_path / "begun" / "domains" / "proteins")  # as is said where its disk changed it
    assert again().fingerprint == begun.fingerprint
    (tmp_path / "begun" / "manifest.json").unlink()  # as where it is killed meanwhile
    assert again().fingerprint == begun.fingerprint
    other = again(dataclasses.replace(SETTINGS, vocabulary=SETTINGS.vocabulary + 1))
    assert other.tokenizer_file not in (begun.tokenizer_file, new.tokenizer_file)


def test_whatever_reads_much_shows_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepared(folder: Path) -> dict[str, list[Progress]]:
        stages: dict[str, list[Progress]] = {}
        pools = [source(name, folder / f"{name}.jsonl") for name in ("web", "code")]
        prepare(pools, [], SETTINGS, folder / "corpus", lambda each: stages.setdefault(each.stage, []).append(each))
        return stages

    for seed, name in enumerate(("web", "code")):
        write_jsonl(tmp_path / "here" / f"{name}.jsonl", sentences(50, seed=seed))
    monkeypatch.setattr("proxies.data.corpus.SHOWN_FROM", 1000)
    first = prepared(tmp_path / "here")
    again = prepared(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    moved = prepared(tmp_path / "there")

    text = sum((tmp_path / "there" / f"{name}.jsonl").stat().st_size for name in ("web", "code"))
    tokens = sum(file.stat().st_size for file in (tmp_path / "there" / "corpus").rglob("*.tokens"))
    assert set(again) == {"check the tokens"} and set(moved) == {"compare the text", "check the tokens"}
    for stages, stage, total in (
        (first, "remember the text", text),
        (first, "decontaminate", 2),
        (again, "check the tokens", tokens),
        (moved, "compare the text", text),
    ):
        shown = [(each.done, each.total) for each in stages[stage]]
        assert shown[0] == (0, total) and shown[-1] == (total, total) and len(shown) > 2
        assert shown == sorted(shown)


@pytest.mark.parametrize("how", ["moved", "copied", "copied and edited"])
def test_text_that_lies_elsewhere_is_known_again(tmp_path: Path, how: str) -> None:
    def sources(folder: Path) -> list[Source]:
        return [source(name, folder / "data" / f"{name}.jsonl") for name in ("web", "code")]

    here, there = tmp_path / "here", tmp_path / "there"
    (here / "data").mkdir(parents=True)
    for seed, name in enumerate(("web", "code")):
        write_jsonl(here / "data" / f"{name}.jsonl", sentences(50, seed=seed))
    first = prepare(sources(here), [], SETTINGS, here / "corpus")
    if how == "moved":
        here.rename(there)
    else:
        shutil.copytree(here, there, copy_function=shutil.copyfile)  # with other times
    if how == "copied and edited":
        edited = there / "data" / "code.jsonl"
        edited.write_text(edited.read_text()[::-1].replace("a", "e")[::-1])
    stages: list[str] = []
    again = prepare(sources(there), [], SETTINGS, there / "corpus", lambda progress: stages.append(progress.stage))
    assert (again.fingerprint == first.fingerprint) == (how != "copied and edited")
    assert bool(stages) == (how == "copied and edited")
    found = find_prepared(sources(there), [], SETTINGS, there / "corpus")
    assert found is not None and found.fingerprint == again.fingerprint


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("vocabulary", "many"),
        ("domains", []),
        ("dtype", "<f8"),
        ("end_of_text_id", -1),
        ("domains.web.train", [{"a": 1}]),
        ("inputs", None),
        ("text", "none"),
        ("text", {"sha256": "0123"}),
        ("text.sha256", 3),
    ],
)
def test_a_manifest_of_another_shape_is_damaged(tmp_path: Path, place: str, value: object) -> None:
    write_jsonl(tmp_path / "web.jsonl", sentences(40, seed=1))
    prepared = prepare([source("web", tmp_path / "web.jsonl")], [], SETTINGS, tmp_path / "corpus")
    manifest = json.loads((prepared.directory / "manifest.json").read_text())
    *path, last = place.split(".")
    inner = manifest
    for name in path:
        inner = inner[name]
    inner[last] = value
    (prepared.directory / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ProxyError, match="is damaged") as error:
        Corpus.open(prepared.directory)
    assert error.value.hint
    (tmp_path / "web.jsonl").rename(tmp_path / "moved.jsonl")
    again = prepare([source("web", tmp_path / "moved.jsonl")], [], SETTINGS, tmp_path / "corpus")
    assert again.fingerprint == prepared.fingerprint


def test_unchanged_inputs_are_not_read_again(tmp_path: Path) -> None:
    web = source("web", write_jsonl(tmp_path / "web.jsonl", sentences(50, seed=1)))
    code = source("code", write_jsonl(tmp_path / "code.jsonl", sentences(50, seed=2)))
    stages: list[str] = []

    def watch(progress: Progress) -> None:
        stages.append(progress.stage)

    assert find_prepared([web, code], [], SETTINGS, tmp_path / "corpus") is None
    assert not (tmp_path / "corpus").exists()
    first = prepare([web, code], [], SETTINGS, tmp_path / "corpus", watch)
    found = find_prepared([web, code], [], SETTINGS, tmp_path / "corpus")
    assert found is not None and found.fingerprint == first.fingerprint
    assert set(stages) == {"train tokenizer", "tokenise web", "tokenise code", "decontaminate", "look at samples"}
    stages.clear()
    assert prepare([web, code], [], SETTINGS, tmp_path / "corpus", watch).fingerprint == first.fingerprint
    assert prepare([web, code], [], dataclasses.replace(SETTINGS, workers=2), tmp_path / "corpus", watch)
    assert stages == []

    given = dataclasses.replace(SETTINGS, tokenizer_file=str(first.tokenizer_file))
    prepare([web, code], [], given, tmp_path / "corpus", watch)
    stages.clear()
    write_jsonl(tmp_path / "code.jsonl", sentences(60, seed=2))
    assert find_prepared([web, code], [], given, tmp_path / "corpus") is None
    changed = prepare([web, code], [], given, tmp_path / "corpus", watch)
    assert set(stages) == {"tokenise code", "decontaminate", "look at samples"}
    assert sorted(train_texts(changed, "code") + held_out_texts(changed, "code")) == sorted(sentences(60, seed=2))


def test_a_damaged_corpus_is_noticed_and_repaired(tmp_path: Path) -> None:
    web = source("web", write_jsonl(tmp_path / "web.jsonl", sentences(50, seed=1)))
    corpus = prepare([web], [], SETTINGS, tmp_path / "corpus")
    corpus.verify()
    (shard,) = (tmp_path / "corpus").glob("domains/web/train-*.tokens")
    whole = shard.read_bytes()
    os.truncate(shard, 100)
    with pytest.raises(ProxyError, match="holds 100 bytes"):
        corpus.verify()
    with pytest.raises(ProxyError, match="ends early"):
        corpus.train_tokens("web")[:]
    assert prepare([web], [], SETTINGS, tmp_path / "corpus").fingerprint == corpus.fingerprint
    assert shard.read_bytes() == whole


def test_a_tokenizer_that_does_not_match_is_refused(tmp_path: Path, corpus: Corpus) -> None:
    definition = json.loads(corpus.tokenizer_file.read_text())
    definition["model"]["vocab"] = {"a": 0, "<|endoftext|>": 1}
    definition["model"]["merges"] = []
    (tmp_path / "tokenizer.json").write_text(json.dumps(definition))
    web = source("web", write_jsonl(tmp_path / "web.jsonl", sentences(50, seed=1)))
    settings = dataclasses.replace(SETTINGS, tokenizer_file=str(tmp_path / "tokenizer.json"))
    with pytest.raises(ProxyError, match="web: the tokenizer does not match"):
        prepare([web], [], settings, tmp_path / "corpus")


def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "SHARD_TOKENS", 3000)
    monkeypatch.setattr(intake, "CHUNK_DOCUMENTS", 20)


SCRIPT = """
import os, resource, signal, sys
from pathlib import Path
from proxies.data import intake
from proxies.data.corpus import prepare
from proxies.errors import ProxyError
from tests.proxies.data.conftest import SETTINGS, source

intake.SHARD_TOKENS, intake.CHUNK_DOCUMENTS = 3000, 20
folder, end = Path(sys.argv[1]), sys.argv[2]

def watch(progress):
    if progress.stage == "tokenise code" and progress.done > 30_000:
        if end == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

try:
    prepare([source(n, folder / f"{n}.jsonl") for n in ("web", "code")], [], SETTINGS, folder / "corpus", watch)
except ProxyError as error:
    print(error.message, "|", error.hint)
"""


@pytest.mark.parametrize("end", ["kill", "no room"])
def test_an_interrupted_start_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    for number, name in enumerate(("web", "code")):
        write_jsonl(tmp_path / f"{name}.jsonl", sentences(300, seed=number))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), end], capture_output=True, text=True, cwd=Path.cwd()
    )
    if end == "kill":
        assert done.returncode == -signal.SIGKILL
    else:
        assert done.stdout.startswith(f"no room left to write in {tmp_path / 'corpus'}"), done.stderr
        assert not list(tmp_path.rglob("*-partial"))
    assert len(list((tmp_path / "corpus/domains/code").glob("train-*.tokens"))) >= 2
    with pytest.raises(ProxyError, match="no finished corpus"):
        Corpus.open(tmp_path / "corpus")

    small_shards(monkeypatch)
    read: list[Progress] = []
    pools = [source(name, tmp_path / f"{name}.jsonl") for name in ("web", "code")]
    continued = prepare(pools, [], SETTINGS, tmp_path / "corpus", read.append)
    assert not [progress for progress in read if progress.stage in ("train tokenizer", "tokenise web")]
    assert read[0].done > 10_000
    assert continued.fingerprint == prepare(pools, [], SETTINGS, tmp_path / "fresh").fingerprint
    assert not list(tmp_path.rglob("*-partial"))


def test_processes_make_the_same_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pools = [source(name, write_jsonl(tmp_path / f"{name}.jsonl", sentences(300, seed=1))) for name in ("web", "code")]
    alone = prepare(pools, [], SETTINGS, tmp_path / "alone")
    monkeypatch.setattr("proxies.data.corpus.SMALL_CORPUS", 0)
    together = prepare(pools, [], dataclasses.replace(SETTINGS, workers=2), tmp_path / "together")
    assert together.fingerprint == alone.fingerprint


def test_a_killed_tokenising_process_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = source("web", write_jsonl(tmp_path / "web.jsonl", sentences(300, seed=1)))
    monkeypatch.setattr("proxies.data.corpus.SMALL_CORPUS", 0)
    small_shards(monkeypatch)

    def kill(progress: Progress) -> None:
        if progress.stage == "tokenise web":
            for process in multiprocessing.active_children():
                process.kill()

    with pytest.raises(ProxyError, match="2 tokenising processes was killed") as caught:
        prepare([pool], [], dataclasses.replace(SETTINGS, workers=2), tmp_path / "corpus", kill)
    assert "workers" in caught.value.hint
