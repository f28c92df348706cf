"""A corpus that travels: uploaded once to where every node reaches it, downloaded once by each node.

    <place>/...            the files that the manifest names, and the manifest, written last
    <cache>/<fingerprint>  the same on a node; until it is whole it has another name

The cache is $MIXOPT_CACHE or ~/.cache/mixopt/corpora. What is in it may be deleted while nothing trains.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from proxies import storage
from proxies.data.manifest import MANIFEST, Corpus
from proxies.errors import ProxyError
from proxies.lock import FOREVER, locked

CACHE_VARIABLE = "MIXOPT_CACHE"
COMPARED = "compared"  # in a folder that has another name yet: a byte for each shard that was compared
AT_A_TIME = 8  # files; one alone seldom fills a network


def cache_folder() -> Path:
    """Where this node keeps its copies of corpora."""
    return Path(os.environ.get(CACHE_VARIABLE, "~/.cache/mixopt/corpora")).expanduser()


def publish(corpus: Corpus, place: str, on_bytes: Callable[[int, int], object] = lambda done, total: None) -> None:
    """Upload a corpus, or those of its files that `place` lacks.

    Args:
        on_bytes: told how many bytes are there, and how many are to be brought there.

    Raises:
        ProxyError: `place` cannot be read or written.
    """
    there = storage.sizes(place)
    sizes = {name: (corpus.directory / name).stat().st_size for name in _files(corpus)}
    names = [name for name, size in sizes.items() if there.get(name) != size]
    done, total = 0, sum(sizes[name] for name in names)
    if names:
        on_bytes(done, total)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        sent = pool.map(lambda name: storage.upload(corpus.directory / name, f"{place}/{name}"), names)
        for name, _ in zip(names, sent, strict=True):
            done += sizes[name]
            on_bytes(done, total)
    if names or MANIFEST not in there:
        storage.upload(corpus.directory / MANIFEST, f"{place}/{MANIFEST}")


def fetched_bytes(fingerprint: str) -> int:
    """How much of that corpus, which is being downloaded, is on this node by now, whoever downloads it; it goes on
    changing while what came is compared with the manifest."""
    total = 0
    for file in _partial(fingerprint).rglob("*"):
        with suppress(FileNotFoundError):  # it gets its own name just now
            total += file.stat().st_size
    return total


def fetch_corpus(place: str, fingerprint: str) -> Path:
    """The folder on this node of the corpus that was published at `place`.

    The first process of a node that asks downloads it, the others wait. One that is killed leaves its files to the
    next one.

    Raises:
        ProxyError: it cannot be read, is not whole, is another one, or finds no room here.
    """
    cache = cache_folder()
    folder, partial = cache / fingerprint, _partial(fingerprint)
    if _in_full_length(folder):
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / f"{fingerprint}.lock", FOREVER):
        if _in_full_length(folder):
            return folder
        if folder.exists():  # somebody removed part of it
            folder.rename(partial)
        _download(place, fingerprint, partial)
        partial.rename(folder)
    return folder


def _partial(fingerprint: str) -> Path:
    return cache_folder() / f"{fingerprint}{storage.PARTIAL}"


def _download(place: str, fingerprint: str, folder: Path) -> None:
    """Fetch what `folder` lacks, and compare all of it with the manifest."""
    folder.mkdir(exist_ok=True)
    try:
        storage.write_whole(folder / MANIFEST, storage.read(f"{place}/{MANIFEST}"))
    except FileNotFoundError as error:
        raise ProxyError(f"there is no finished corpus at {place}", hint="mixopt run uploads it") from error
    corpus = Corpus.open(folder)
    if corpus.fingerprint != fingerprint:
        raise ProxyError(f"the corpus at {place} is another one: {corpus.fingerprint}", hint="remove it there")
    there = storage.sizes(place)
    names = [name for name in _files(corpus) if _size(_inside(folder, name)) != there.get(name)]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(lambda name: storage.download(f"{place}/{name}", folder / name), names))
    corpus.verify()
    for shard in corpus.shards:
        try:
            shard.check_content(folder)
        except ProxyError:
            for name in shard.files:
                (folder / name).unlink()
            raise
        # Whoever waits for the corpus sees it; on a full disk it is done in silence.
        with suppress(OSError), (folder / COMPARED).open("ab") as count:
            count.write(b".")
    (folder / COMPARED).unlink(missing_ok=True)


def _files(corpus: Corpus) -> list[str]:
    """The names of all files but the manifest."""
    return [corpus.tokenizer_file.name, *(name for shard in corpus.shards for name in shard.files)]


def _inside(folder: Path, name: str) -> Path:
    """A file of the folder; the name comes over a network."""
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ProxyError(f"the manifest in {folder} names a file elsewhere: {name}")
    return file


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else -1


def _in_full_length(folder: Path) -> bool:
    try:
        Corpus.open(folder).verify()
    except ProxyError:
        return False
    return True
