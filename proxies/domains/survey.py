"""What there is: every document read once, and remembered by a few numbers; some of them kept, to learn from.

The sample is of the texts with the lowest hashes, so that it depends on what the documents are and not on their order,
and no text is in it twice.

    survey/00000.npz      of each document of a portion: hash, keys of near-duplicates
    survey/00000.json     where the portion ended, and the documents in it that may belong to the sample
"""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxies.data.format import read_json, write_json
from proxies.data.intake import OnProgress, Progress
from proxies.data.sources import Position, Source, SourceFile
from proxies.domains.chunks import NAMED, Chunk, chunks, several_processes
from proxies.domains.duplicates import BANDS, Duplicates, band_keys, find_duplicates, text_hashes
from proxies.domains.embedding.ngrams import excerpt
from proxies.storage import write_whole

EVERY_HASH = (1 << 64) - 1


@dataclass(frozen=True)
class Sampled:
    """A document of the sample.

    Attributes:
        number: among all documents with text.
        text: an excerpt.
    """

    hash: int
    number: int
    text: str
    place: str


@dataclass(frozen=True)
class Survey:
    """
    Attributes:
        documents: with text; `empty`: without.
        bad: records that could not be used, and rests of files; `first_bad`: what is wrong with the first NAMED.
        sample: by rising hash; no two of them the same, or nearly.
    """

    documents: int
    empty: int
    bad: int
    first_bad: tuple[str, ...]
    sample: tuple[Sampled, ...]
    duplicates: Duplicates


class LowestHashes:
    """The documents of the lowest hashes, at most so many, each hash once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[int, int]] = []
        self._kept: dict[int, Sampled] = {}

    @property
    def highest(self) -> int:
        """The hashes that may still be taken lie below it."""
        return -self._heap[0][0] if len(self._heap) == self._limit else EVERY_HASH + 1

    def offer(self, document: Sampled) -> bool:
        """Whether it is taken."""
        if document.hash >= self.highest or document.hash in self._kept:
            return False
        heapq.heappush(self._heap, (-document.hash, document.number))
        self._kept[document.hash] = document
        if len(self._heap) > self._limit:
            del self._kept[-heapq.heappop(self._heap)[0]]
        return True

    def __iter__(self) -> Iterator[Sampled]:
        return iter(sorted(self._kept.values(), key=lambda document: document.hash))


def survey(
    source: Source,
    files: tuple[SourceFile, ...],
    sample: int,
    skip_bad: bool,
    workers: int,
    folder: Path,
    on_progress: OnProgress,
) -> Survey:
    """Reads everything, or goes on where an earlier call was killed.

    Args:
        skip_bad: whether what cannot be used is left out.
        folder: of the survey; what is in it was made of the same files and sample.

    Raises:
        ProxyError: a file is broken or lacks the field.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lowest = LowestHashes(sample)
    portions = documents = empty = bad = 0
    first_bad: list[str] = []
    position, is_over = Position(), False
    while (saved := read_json(_about(folder, portions))) is not None:
        for entry in saved["candidates"]:
            lowest.offer(Sampled(**entry))
        documents, empty = documents + saved["documents"], empty + saved["empty"]
        bad, first_bad = bad + saved["bad"], first_bad + saved["first_bad"]
        position, is_over = Position(*saved["end"]), saved["is_last"]
        portions += 1
    if not is_over:
        with several_processes(workers, _begin) as mapped:
            found: list[_Found] = []
            candidates: list[Sampled] = []
            portion_empty = portion_bad = 0
            portion_first: list[str] = []
            given = ((chunk, (lowest.highest,)) for chunk in chunks(source, files, position, documents, skip_bad))
            for chunk, of_chunk in mapped(_look_at, given):
                found.append(of_chunk)
                candidates += [each for each in of_chunk.candidates if lowest.offer(each)]
                portion_empty, portion_bad = portion_empty + chunk.empty, portion_bad + chunk.bad
                portion_first += chunk.first_bad
                documents += len(chunk.records)
                on_progress(Progress("read the documents", documents, None, "documents"))
                if not chunk.ends_portion:
                    continue
                numbers = {
                    "hashes": np.concatenate([each.hashes_N for each in found]),
                } | {
                    # Each by itself, as it is read.
                    f"keys{band}": np.concatenate([each.keys_NK[:, band] for each in found])
                    for band in range(BANDS)
                }
                about = {
                    "documents": len(numbers["hashes"]),
                    "empty": portion_empty,
                    "bad": portion_bad,
                    "first_bad": portion_first[:NAMED],
                    "end": [chunk.end.file, chunk.end.document],
                    "is_last": chunk.is_last,
                    "candidates": [vars(each) for each in candidates],
                }
                _save(folder, portions, numbers, about)
                portions += 1
                empty, bad, first_bad = empty + portion_empty, bad + portion_bad, first_bad + portion_first
                found, candidates, portion_empty, portion_bad, portion_first = [], [], 0, 0, []
    duplicates = find_duplicates(partial(_column, folder, portions), documents)
    distinct = tuple(each for each in lowest if not duplicates.repeats_N[each.number])
    return Survey(documents, empty, bad, tuple(first_bad[:NAMED]), distinct, duplicates)


@dataclass(frozen=True)
class _Found:
    """What is remembered of a chunk."""

    hashes_N: NDArray[np.uint64]
    keys_NK: NDArray[np.uint64]
    candidates: list[Sampled]


def _begin() -> None:
    """Nothing has to be there."""


def _look_at(chunk: Chunk, highest: int) -> _Found:
    texts = [record.text for record in chunk.records]
    hashes_N = text_hashes(texts)
    candidates = [
        Sampled(hash, chunk.first + place, excerpt(texts[place]), chunk.records[place].place)
        for place, hash in enumerate(hashes_N.tolist())
        if hash < highest
    ]
    return _Found(hashes_N, band_keys(texts, hashes_N), candidates)


def _about(folder: Path, portion: int) -> Path:
    return folder / f"{portion:05d}.json"


def _save(folder: Path, portion: int, numbers: dict[str, NDArray[Any]], about: dict[str, Any]) -> None:
    """The numbers first: what is said about them is there only with them."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **numbers)
    write_whole(folder / f"{portion:05d}.npz", content.getvalue())
    write_json(_about(folder, portion), about)


def _numbers(folder: Path, portion: int, name: str) -> NDArray[Any]:
    with np.load(folder / f"{portion:05d}.npz", allow_pickle=False) as saved:
        found: NDArray[Any] = saved[name]
    return found


def _column(folder: Path, portions: int, number: int) -> NDArray[np.uint64]:
    name = "hashes" if number == 0 else f"keys{number - 1}"
    return np.concatenate([_numbers(folder, portion, name) for portion in range(portions)])
