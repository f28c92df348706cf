"""A corpus that is uploaded once and downloaded once by each node: whole or not at all, whatever dies meanwhile."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from proxies import storage
from proxies.data.corpus import Corpus
from proxies.data.node_cache import CACHE_VARIABLE, fetch_corpus, publish
from proxies.errors import ProxyError


class Counted(MemoryFileSystem):  # type: ignore[misc]
    """Counts what is carried, and carries only so much."""

    protocol = "counted"
    cachable = False
    up: list[str]
    down: list[str]
    most = 1000
    killed = False

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        self._count(self.up, rpath)
        super().put_file(lpath, rpath, **options)

    def get_file(self, rpath: str, lpath: str, **options: Any) -> None:
        self._count(self.down, rpath)
        super().get_file(rpath, lpath, **options)

    def _count(self, carried: list[str], path: str) -> None:
        if len(carried) == self.most:
            if self.killed:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ConnectionResetError("the network went away")
        carried.append(path)


@pytest.fixture
def network() -> type[Counted]:
    fsspec.register_implementation("counted", Counted, clobber=True)
    Counted.up, Counted.down, Counted.most = [], [], 1000
    return Counted


@pytest.fixture
def place(network: type[Counted], tmp_path: Path) -> str:
    return f"counted://{tmp_path}/corpora/abc"


@pytest.fixture(autouse=True)
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "node"))
    return tmp_path / "node"


def assert_same(corpus: Corpus, other: Corpus) -> None:
    assert other.fingerprint == corpus.fingerprint
    for name in corpus.domains:
        np.testing.assert_array_equal(other.train_tokens(name)[:], corpus.train_tokens(name)[:])
    for name in corpus.evaluation_sets:
        np.testing.assert_array_equal(other.evaluation(name).tokens_N, corpus.evaluation(name).tokens_N)
    mask, expected = other.train_loss_mask("chat"), corpus.train_loss_mask("chat")
    assert mask is not None and expected is not None
    np.testing.assert_array_equal(mask[:], expected[:])
    assert other.tokenizer_file.read_bytes() == corpus.tokenizer_file.read_bytes()


@pytest.mark.parametrize("scheme", ["memory://", "file://"])
def test_a_node_gets_the_same_tokens(corpus: Corpus, scheme: str, tmp_path: Path, node: Path) -> None:
    place = f"{scheme}{tmp_path}/shared"
    publish(corpus, place)

    folder = fetch_corpus(place, corpus.fingerprint)

    assert folder.is_relative_to(node)
    assert_same(corpus, Corpus.open(folder))
    assert fetch_corpus(place, corpus.fingerprint) == folder


def test_what_is_carried_is_counted(corpus: Corpus, place: str) -> None:
    told: list[tuple[int, int]] = []
    for _ in range(2):
        publish(corpus, place, lambda done, total: told.append((done, total)))
    files = [corpus.tokenizer_file, *(corpus.directory / name for shard in corpus.shards for name in shard.files)]
    total = sum(file.stat().st_size for file in files)
    assert told[0] == (0, total) and told[-1] == (total, total)
    assert len(told) == len(files) + 1, "nothing is carried the second time"


def test_nothing_is_carried_twice(corpus: Corpus, place: str, network: type[Counted]) -> None:
    for _ in range(2):
        publish(corpus, place)
    with ThreadPoolExecutor(4) as workers:  # a lock of one thread is as closed to another as to another process
        folders = set(workers.map(lambda _: fetch_corpus(place, corpus.fingerprint), range(4)))

    assert len(folders) == 1
    assert len(network.up) == len(set(network.up))
    assert len(network.down) == len(set(network.down)) == len(network.up) - 1  # the manifest is read, not copied


def test_an_upload_that_is_cut_off_is_not_there_until_it_is_finished(
    corpus: Corpus, place: str, network: type[Counted]
) -> None:
    network.most = 3
    with pytest.raises(ProxyError, match="the network went away"):
        publish(corpus, place)
    with pytest.raises(ProxyError, match="no finished corpus"):
        fetch_corpus(place, corpus.fingerprint)

    network.most = 1000
    publish(corpus, place)

    assert len(network.up) == len(set(network.up)), "what was there is not carried again"
    assert_same(corpus, Corpus.open(fetch_corpus(place, corpus.fingerprint)))


def test_a_download_that_is_cut_off_goes_on(
    corpus: Corpus, place: str, network: type[Counted], node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxies.storage.PAUSES", ())
    publish(corpus, place)
    network.most = 3
    with pytest.raises(ProxyError, match="the network went away"):
        fetch_corpus(place, corpus.fingerprint)
    assert not (node / corpus.fingerprint).exists()

    network.most = 1000
    assert_same(corpus, Corpus.open(fetch_corpus(place, corpus.fingerprint)))
    assert len(network.down) == len(set(network.down))


def test_a_process_that_is_killed_leaves_nothing_half(
    corpus: Corpus, place: str, network: type[Counted], node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(corpus, place)
    monkeypatch.setattr(network, "most", 3)
    monkeypatch.setattr(network, "killed", True)
    worker = multiprocessing.get_context("fork").Process(target=fetch_corpus, args=(place, corpus.fingerprint))
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    assert not (node / corpus.fingerprint).exists()

    monkeypatch.setattr(network, "most", 1000)
    assert_same(corpus, Corpus.open(fetch_corpus(place, corpus.fingerprint)))


def test_what_is_removed_or_lost_at_either_end_is_carried_again(corpus: Corpus, place: str) -> None:
    publish(corpus, place)
    lost = corpus.shards[0].files[0]
    storage.remove(f"{place}/{lost}")
    with pytest.raises(ProxyError, match=r"\.tokens cannot be read"):
        fetch_corpus(place, corpus.fingerprint)

    publish(corpus, place)
    (fetch_corpus(place, corpus.fingerprint) / lost).unlink()

    assert_same(corpus, Corpus.open(fetch_corpus(place, corpus.fingerprint)))


def test_damaged_tokens_are_refused_until_they_are_mended(corpus: Corpus, place: str) -> None:
    publish(corpus, place)
    name = corpus.shards[0].files[0]
    good = storage.read(f"{place}/{name}")
    storage.write(f"{place}/{name}", bytes([good[0] ^ 1]) + good[1:])
    with pytest.raises(ProxyError, match="other tokens"):
        fetch_corpus(place, corpus.fingerprint)

    storage.write(f"{place}/{name}", good)
    assert_same(corpus, Corpus.open(fetch_corpus(place, corpus.fingerprint)))


def test_another_corpus_is_refused(corpus: Corpus, place: str) -> None:
    publish(corpus, place)
    with pytest.raises(ProxyError, match="another one"):
        fetch_corpus(place, "0" * 64)


def test_a_manifest_writes_nothing_outside_the_cache(corpus: Corpus, place: str, tmp_path: Path) -> None:
    publish(corpus, place)
    manifest = json.loads(storage.read(f"{place}/manifest.json"))
    manifest["domains"]["web"]["train"][0]["name"] = "../../outside"
    storage.write(f"{place}/manifest.json", json.dumps(manifest).encode())
    storage.write(f"{place}/../../outside.tokens", b"anything")

    with pytest.raises(ProxyError, match="a file elsewhere"):
        fetch_corpus(place, corpus.fingerprint)
    assert not list(tmp_path.rglob("outside*"))
