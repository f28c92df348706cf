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
from dataclasses import asdict, dataclass, field
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
        bytes: of UTF-8, of all of its text.
    """

    hash: int
    number: int
    text: str
    place: str
    bytes: int


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
    lowest, counts = LowestHashes(sample), _Counts()
    portions, position, is_over = 0, Position(), False
    while (saved := read_json(_about(folder, portions))) is not None:
        for entry in saved["candidates"]:
            lowest.offer(Sampled(**entry))
        counts.add(saved["documents"], saved["empty"], saved["bad"], saved["first_bad"])
        position, is_over = Position(*saved["end"]), saved["is_last"]
        portions += 1
    if not is_over:
        with several_processes(workers, _begin) as mapped:
            portion = _Portion()
            read = chunks(source, files, position, counts.documents, skip_bad)
            for chunk, found in mapped(_look_at, ((chunk, (lowest.highest,)) for chunk in read)):
                portion.add(chunk, found, lowest)
                counts.add(len(chunk.records), chunk.empty, chunk.bad, chunk.first_bad)
                on_progress(Progress("read the documents", counts.documents, None, "documents"))
                if chunk.ends_portion:
                    portion.write(folder, portions, chunk)
                    portions, portion = portions + 1, _Portion()
    duplicates = find_duplicates(partial(_column, folder, portions), counts.documents)
    distinct = tuple(each for each in lowest if not duplicates.repeats_N[each.number])
    return Survey(counts.documents, counts.empty, counts.bad, tuple(counts.first_bad), distinct, duplicates)


@dataclass(frozen=True)
class _Found:
    """What is remembered of a chunk."""

    hashes_N: NDArray[np.uint64]
    keys_NK: NDArray[np.uint64]
    candidates: list[Sampled]


@dataclass
class _Counts:
    """What was read: documents with text and without, bad records, and what is wrong with the first of these."""

    documents: int = 0
    empty: int = 0
    bad: int = 0
    first_bad: list[str] = field(default_factory=list)

    def add(self, documents: int, empty: int, bad: int, first_bad: list[str]) -> None:
        self.documents += documents
        self.empty += empty
        self.bad += bad
        self.first_bad = (self.first_bad + first_bad)[:NAMED]


class _Portion:
    """What is remembered of some chunks, all at once."""

    def __init__(self) -> None:
        self._found: list[_Found] = []
        self._candidates: list[Sampled] = []
        self._counts = _Counts()

    def add(self, chunk: Chunk, found: _Found, lowest: LowestHashes) -> None:
        self._found.append(found)
        self._candidates += [each for each in found.candidates if lowest.offer(each)]
        self._counts.add(len(chunk.records), chunk.empty, chunk.bad, chunk.first_bad)

    def write(self, folder: Path, number: int, last: Chunk) -> None:
        """The numbers first: what is said about them is there only with them."""
        content = io.BytesIO()
        # The keys of each band by themselves, as they are read.
        keys = {f"keys{band}": np.concatenate([each.keys_NK[:, band] for each in self._found]) for band in range(BANDS)}
        hashes = {"hashes": np.concatenate([each.hashes_N for each in self._found])}
        np.savez(content, allow_pickle=False, **hashes, **keys)
        write_whole(folder / f"{number:05d}.npz", content.getvalue())
        about = asdict(self._counts) | {
            "end": [last.end.file, last.end.document],
            "is_last": last.is_last,
            "candidates": [vars(each) for each in self._candidates],
        }
        write_json(_about(folder, number), about)


def _begin() -> None:
    """Nothing has to be there."""


def _look_at(chunk: Chunk, highest: int) -> _Found:
    texts = [record.text for record in chunk.records]
    hashes_N = text_hashes(texts)
    candidates = [
        Sampled(
            hash, chunk.first + place, excerpt(texts[place]), chunk.records[place].place, len(texts[place].encode())
        )
        for place, hash in enumerate(hashes_N.tolist())
        if hash < highest
    ]
    return _Found(hashes_N, band_keys(texts, hashes_N), candidates)


def _about(folder: Path, portion: int) -> Path:
    return folder / f"{portion:05d}.json"


def _numbers(folder: Path, portion: int, name: str) -> NDArray[Any]:
    with np.load(folder / f"{portion:05d}.npz", allow_pickle=False) as saved:
        found: NDArray[Any] = saved[name]
    return found


def _column(folder: Path, portions: int, number: int) -> NDArray[np.uint64]:
    name = "hashes" if number == 0 else f"keys{number - 1}"
    return np.concatenate([_numbers(folder, portion, name) for portion in range(portions)])
