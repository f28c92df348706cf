"""A pool cut into levels of quality: read twice or three times as a stream, written as a file for each level.

    sample   where a scorer compares or learns: a bounded sample of the pool, by hash; the good set
    score    every text: a number for each score, and its bytes, 8 bytes each in memory; ranks, levels
    write    every text again, into the file of its level, with its rank and its scores

A text is what a corpus is made of: a document, or a piece of a long one. Texts that are empty are left out. The files
are JSON lines and become what they are called when all are whole.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proxies.data.intake import OnProgress, Progress
from proxies.data.sources import Document, Source, SourceFile, documents, find_files, numbered_documents
from proxies.errors import ProxyError
from proxies.quality.base import Scorer, sample
from proxies.quality.ranks import levels, merged, ranks
from proxies.quality.scores import COMPARING, Score, scorer_of
from proxies.storage import open_whole

CHUNK = 256  # texts that are scored at once
# Beside the text of each record.
QUALITY_FIELD = "mixopt_quality"


@dataclass(frozen=True)
class Pool:
    """What is to be cut.

    Attributes:
        most_bytes: reading ends with the text that reaches so many; None reads everything.
    """

    source: Source
    scores: tuple[Score, ...]
    levels: int
    seed: int
    most_bytes: int | None = None


@dataclass(frozen=True, eq=False)
class Scored:
    """The texts of a pool, in the order in which they are read.

    Attributes:
        files: as they were found.
        size_N: bytes of each text.
        score_KN: of each score, as it is told.
        rank_N: 0 the best.
        level_N: 0 the best.
        levels: how many there are: as many as were asked for, or fewer where many texts have the same rank.
    """

    pool: Pool
    files: tuple[SourceFile, ...]
    size_N: NDArray[np.int64]
    score_KN: NDArray[np.float64]
    rank_N: NDArray[np.float64]
    level_N: NDArray[np.int64]

    @property
    def levels(self) -> int:
        return int(self.level_N.max()) + 1

    @property
    def largest_tie(self) -> float:
        """The share of the pool's bytes that has one and the same rank, where most have."""
        _, group_N = np.unique(self.rank_N, return_inverse=True)
        return float(np.bincount(group_N, weights=self.size_N).max() / self.size_N.sum())


@dataclass(frozen=True)
class WrittenLevel:
    """
    Attributes:
        name: q1 the best.
        documents: texts, pieces of long documents counted each.
        least, most: the range of each score in it.
    """

    name: str
    file: Path
    documents: int
    bytes: int
    least: tuple[float, ...]
    most: tuple[float, ...]


def score_pool(pool: Pool, on_progress: OnProgress) -> Scored:
    """
    Raises:
        ProxyError: a file is broken, a record has no score, a scorer has too little to learn from, or the scores do not
            tell the texts apart.
    """
    name, files = pool.source.name, find_files(pool.source)
    scorers = _scorers(pool, files, on_progress)
    fields, read = _fields(pool), 0
    size, scores = array("q"), [array("d") for _ in pool.scores]
    for chunk in _chunks(_texts(pool, files, fields)):
        texts = [_whole(document) for document, _ in chunk]
        sizes = [len(text.encode()) for text in texts]
        size.extend(sizes)
        for found, score, scorer in zip(scores, pool.scores, scorers, strict=True):
            if scorer is None:
                place = fields.index(score.name)
                found.extend(numbers[place] for _, numbers in chunk)
            else:
                found.extend(scorer.score(texts).tolist())
        read += sum(sizes)
        on_progress(Progress(f"score {name}", read, _total(pool, files), "bytes"))
    if not len(size):
        raise ProxyError(f"{name}: no text in {len(files)} files", hint=f"check {', '.join(pool.source.paths)}")
    return _levelled(pool, files, np.array(size, dtype=np.int64), np.array([np.array(each) for each in scores]))


def write_levels(scored: Scored, folder: Path, on_progress: OnProgress) -> tuple[WrittenLevel, ...]:
    """A file for each level in `folder`, best first; all of them or none.

    Raises:
        ProxyError: the pool is no longer what was scored.
    """
    pool, files = scored.pool, scored.files
    names = [f"q{level + 1}" for level in range(scored.levels)]
    places = [folder / f"{name}.jsonl" for name in names]
    changed = ProxyError(
        f"{pool.source.name}: its files changed while they were read", hint="leave them alone, and begin again"
    )
    folder.mkdir(parents=True, exist_ok=True)
    number = written = 0
    with ExitStack() as stack:
        opened = [stack.enter_context(open_whole(place)) for place in places]
        for number, (document, _) in enumerate(_texts(pool, files, ()), 1):
            if number > len(scored.rank_N) or scored.size_N[number - 1] != len(_whole(document).encode()):
                raise changed
            opened[scored.level_N[number - 1]].write(_line(scored, number - 1, document))
            written += int(scored.size_N[number - 1])
            if number % CHUNK == 0:
                on_progress(Progress(f"write {pool.source.name}", written, int(scored.size_N.sum()), "bytes"))
        if number != len(scored.rank_N):
            raise changed
    inside_LN = [scored.level_N == level for level in range(scored.levels)]
    return tuple(
        WrittenLevel(
            name,
            place,
            documents=int(inside_N.sum()),
            bytes=int(scored.size_N[inside_N].sum()),
            least=tuple(scored.score_KN[:, inside_N].min(axis=1).tolist()),
            most=tuple(scored.score_KN[:, inside_N].max(axis=1).tolist()),
        )
        for name, place, inside_N in zip(names, places, inside_LN, strict=True)
    )


def _scorers(pool: Pool, files: tuple[SourceFile, ...], on_progress: OnProgress) -> list[Scorer | None]:
    """Of each score; None of one that is read from a field."""
    compared: list[str] = []
    if any(score.scorer in COMPARING for score in pool.scores):
        on_progress(Progress(f"sample {pool.source.name}", 0, None, "bytes"))
        compared = sample(_whole(document) for document, _ in _texts(pool, files, ()))
    found: list[Scorer | None] = []
    for score in pool.scores:
        if score.scorer is None:
            found.append(None)
            continue
        good: list[str] = []
        if score.good is not None:
            good = sample(_whole(document) for document in documents(score.good, find_files(score.good)))
            on_progress(Progress(f"learn {score.name} for {pool.source.name}", 0, None, "bytes"))
        found.append(scorer_of(score, compared, good, pool.seed))
    return found


def _levelled(
    pool: Pool, files: tuple[SourceFile, ...], size_N: NDArray[np.int64], score_KN: NDArray[np.float64]
) -> Scored:
    name = pool.source.name
    if pool.levels > len(size_N):
        raise ProxyError(
            f"{name}: {pool.levels} levels of {len(size_N)} texts", hint="ask for fewer levels, or give it more text"
        )
    for score, score_N in zip(pool.scores, score_KN, strict=True):
        if score_N.min() == score_N.max():
            raise ProxyError(
                f"{name}: every text has the same {score.name}, {score_N[0]:g}",
                hint="choose another score: this one tells no text from another",
            )
    sign_K = [-1.0 if score.best == "low" else 1.0 for score in pool.scores]
    rank_KN = np.array([ranks(sign * score_N, size_N) for sign, score_N in zip(sign_K, score_KN, strict=True)])
    weights = [score.weight for score in pool.scores]
    rank_N = merged(rank_KN, weights, size_N) if len(rank_KN) > 1 else rank_KN[0]
    found = Scored(pool, files, size_N, score_KN, rank_N, levels(rank_N, size_N, pool.levels))
    if found.levels < 2:
        raise ProxyError(
            f"{name}: {found.largest_tie:.0%} of its text has one and the same score, which leaves a single level",
            hint="choose another score, or merge several",
        )
    return found


def _fields(pool: Pool) -> tuple[str, ...]:
    return tuple(score.field for score in pool.scores if score.field is not None)


def _texts(
    pool: Pool, files: tuple[SourceFile, ...], fields: tuple[str, ...]
) -> Iterator[tuple[Document, tuple[float, ...]]]:
    """Those that are not empty, as far as the pool is read, each with the numbers in these fields."""
    left = math.inf if pool.most_bytes is None else pool.most_bytes
    for document, numbers in numbered_documents(pool.source, files, fields):
        if left <= 0:
            return
        if not document.empty:
            left -= len(_whole(document).encode())
            yield document, numbers


def _chunks(texts: Iterator[tuple[Document, tuple[float, ...]]]) -> Iterator[list[tuple[Document, tuple[float, ...]]]]:
    while chunk := list(islice(texts, CHUNK)):
        yield chunk


def _whole(document: Document) -> str:
    """What is scored: the text, after its prompt where it has one."""
    return document.text if document.prompt is None else f"{document.prompt}\n{document.text}"


def _line(scored: Scored, place: int, document: Document) -> bytes:
    source = scored.pool.source
    texts = (document.text,) if document.prompt is None else (document.prompt, document.text)
    record: dict[str, object] = dict(zip(source.fields, texts, strict=True))
    scores = zip(scored.pool.scores, scored.score_KN[:, place], strict=True)
    record[QUALITY_FIELD] = {
        "rank": round(float(scored.rank_N[place]), 6),
        **{score.name: float(f"{value:.6g}") for score, value in scores},
    }
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def _total(pool: Pool, files: tuple[SourceFile, ...]) -> int | None:
    """An upper bound of what is read; None where compression or a hub hides it."""
    if pool.most_bytes is not None:
        return pool.most_bytes
    if any(file.compressed or file.kind not in ("json", "text") for file in files):
        return None
    return sum(file.size or 0 for file in files)
