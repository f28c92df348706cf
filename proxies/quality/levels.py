"""A pool cut into levels of quality: read twice or three times as a stream, written as a file for each level.

    sample   where a scorer compares or learns: a bounded sample of the pool, by hash; the good set
    score    every document: a number for each score, and its bytes, 8 bytes each in memory; ranks, levels
    write    every document again, into the file of its level, with its rank and its scores

Records are written with all of their fields. Documents without text are left out. The files are JSON lines and become
what they are called when all are whole.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proxies.data.intake import OnProgress, Progress
from proxies.data.sources import LONGEST_PIECE, Record, Source, SourceFile, find_files, records
from proxies.errors import ProxyError
from proxies.quality.base import Scorer, sample
from proxies.quality.ranks import LEAST_PIECES, levels, merged, ranks
from proxies.quality.scores import COMPARING, Score, scorer_of
from proxies.storage import open_whole

CHUNK = 256  # documents that are scored at once
# Beside the fields of each record.
QUALITY_FIELD = "mixopt_quality"
LARGEST = sys.float_info.max  # of a score
LONGEST_SHOWN = 40  # characters of a text that should be a number
# Fields in a message.
MOST_NAMED = 12


@dataclass(frozen=True)
class Pool:
    """What is to be cut.

    Attributes:
        most_bytes: reading ends with the document that reaches so many; None reads everything.
    """

    source: Source
    scores: tuple[Score, ...]
    levels: int
    seed: int
    most_bytes: int | None = None


@dataclass(frozen=True, eq=False)
class Scored:
    """The documents of a pool, in the order in which they are read.

    Attributes:
        files: as they were found.
        size_N: UTF-8 bytes of each.
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
    def shares(self) -> list[float]:
        """Of the pool's bytes, in each level."""
        size_L = np.bincount(self.level_N, weights=self.size_N)
        return [float(size / size_L.sum()) for size in size_L]

    @property
    def joined(self) -> bool:
        """Whether there are fewer levels as some would have had a single text."""
        return int(levels(self.rank_N, self.size_N, self.pool.levels).max()) + 1 > self.levels

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
        least, most: the range of each score in it.
    """

    name: str
    file: Path
    documents: int
    bytes: int
    least: tuple[float, ...]
    most: tuple[float, ...]


def level_name(place: int | str) -> str:
    """What a level is called; 1 the best."""
    return f"q{place}"


def level_file(place: int | str) -> str:
    return f"{level_name(place)}.jsonl"


def score_pool(pool: Pool, on_progress: OnProgress) -> Scored:
    """
    Raises:
        ProxyError: a file is broken, a record has no score, a scorer has too little to learn from, or the scores do not
            tell the texts apart.
    """
    name, files = pool.source.name, find_files(pool.source)
    scorers, read = _scorers(pool, files, on_progress), 0
    size, scores = array("q"), [array("d") for _ in pool.scores]
    for chunk in _chunks(_records(pool, files)):
        texts = [text for _, text in chunk]
        sizes = [len(text.encode()) for text in texts]
        size.extend(sizes)
        for found, score, scorer in zip(scores, pool.scores, scorers, strict=True):
            if scorer is None:
                found.extend(_number(pool.source, record, score.name) for record, _ in chunk)
            else:
                found.extend(scorer.score(texts).tolist())
        read += sum(sizes)
        on_progress(Progress(f"score {name}", read, _total(pool, files), "bytes"))
    if not len(size):
        raise ProxyError(f"{name}: no text in {len(files)} files", hint=f"check {', '.join(pool.source.paths)}")
    return _levelled(
        pool, files, np.array(size, dtype=np.int64), np.array([np.array(each) for each in scores]) + 0.0
    )  # no -0


def check_fields(pool: Pool) -> None:
    """Looks for the scores in the first record of each file.

    Raises:
        ProxyError: as `score_pool`.
    """
    fields = [score.field for score in pool.scores if score.field is not None]
    for file in find_files(pool.source) if fields else ():
        for record, _ in islice(_records(pool, (file,)), 1):
            for field in fields:
                _number(pool.source, record, field)


def write_levels(scored: Scored, folder: Path, on_progress: OnProgress) -> tuple[WrittenLevel, ...]:
    """A file for each level in `folder`, best first; all of them or none.

    Raises:
        ProxyError: the pool is no longer what was scored.
    """
    pool, files = scored.pool, scored.files
    names = [level_name(level + 1) for level in range(scored.levels)]
    places = [folder / level_file(level + 1) for level in range(scored.levels)]
    changed = ProxyError(
        f"{pool.source.name}: its files changed while they were read", hint="leave them alone, and begin again"
    )
    folder.mkdir(parents=True, exist_ok=True)
    number = written = 0
    with ExitStack() as stack:
        opened = [stack.enter_context(open_whole(place)) for place in places]
        for number, (record, text) in enumerate(_records(pool, files), 1):
            if number > len(scored.rank_N) or scored.size_N[number - 1] != len(text.encode()):
                raise changed
            opened[scored.level_N[number - 1]].write(_line(scored, number - 1, record))
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
        compared = sample(text for _, text in _records(pool, files))
    found: list[Scorer | None] = []
    for score in pool.scores:
        if score.scorer is None:
            found.append(None)
            continue
        good: list[str] = []
        if score.good is not None:
            good = sample(text for _, text in _texts(score.good, find_files(score.good)))
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
    level_N = levels(rank_N, size_N, pool.levels, -(-size_N // LONGEST_PIECE))
    found = Scored(pool, files, size_N, score_KN, rank_N, level_N)
    if found.levels < 2 and found.joined:
        raise ProxyError(
            f"{name}: {len(size_N)} texts make no two levels, of {LEAST_PIECES} texts each at least: one to train on, "
            "one to measure on",
            hint="give it more text",
        )
    if found.levels < 2:
        raise ProxyError(
            f"{name}: {found.largest_tie:.0%} of its text has one and the same score, which leaves a single level",
            hint="choose another score, or merge several",
        )
    return found


def _records(pool: Pool, files: tuple[SourceFile, ...]) -> Iterator[tuple[Record, str]]:
    """As far as the pool is read."""
    left = math.inf if pool.most_bytes is None else pool.most_bytes
    for record, text in _texts(pool.source, files):
        if left <= 0:
            return
        left -= len(text.encode())
        yield record, text


def _texts(source: Source, files: tuple[SourceFile, ...]) -> Iterator[tuple[Record, str]]:
    """Records with text, and what is scored of them: the text, after its prompt where it has one.

    Raises:
        ProxyError: a prompt is no text.
    """
    if source.prompt_field is None:
        yield from ((record, record.text) for record in records(source, files) if not record.empty)
        return
    prompt, completion = source.fields
    # The same records once more beside them, as a field's text is checked where it is read.
    prompts, completions = (
        records(replace(source, text_field=field, prompt_field=None, completion_field=None), files)
        for field in (prompt, completion)
    )
    for asked, record in zip(prompts, completions, strict=True):
        if not record.empty:
            yield record, f"{asked.text}\n{record.text}"


def _chunks(texts: Iterator[tuple[Record, str]]) -> Iterator[list[tuple[Record, str]]]:
    while chunk := list(islice(texts, CHUNK)):
        yield chunk


def _number(source: Source, record: Record, field: str) -> float:
    where = f"{source.name}: {record.place}"
    if field not in record.fields:
        some = ", ".join(islice(record.fields, MOST_NAMED)) + ", ..." * (len(record.fields) > MOST_NAMED)
        raise ProxyError(f"{where} has no field {field}", f"every record needs a number there; this one has {some}")
    value = record.fields[field]
    if not isinstance(value, int | float) or isinstance(value, bool) or not -LARGEST <= value <= LARGEST:
        quoted = isinstance(value, str) and _is_number(value)
        hint = "write it without quotes" if quoted else "give every record one, or leave it out"
        raise ProxyError(f"{where}: field {field} holds {_shown(value)}, not a finite number", hint)
    return float(value)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _shown(value: object) -> str:
    """What stands in the place of a number, for messages."""
    match value:
        case None:
            return "nothing"
        case str():
            kind = "the quoted number" if _is_number(value) else "the text"
            return f'{kind} "{value[:LONGEST_SHOWN]}{"..." * (len(value) > LONGEST_SHOWN)}"'
        case bool():
            return str(value).lower()
        case float():
            return f"{value}"
        case int():
            return "a number of hundreds of digits"
        case Mapping():
            return "an object"
        case Sequence():
            return "a list"
    return f"a {type(value).__name__}"


def _line(scored: Scored, place: int, record: Record) -> bytes:
    scores = zip(scored.pool.scores, scored.score_KN[:, place], strict=True)
    quality = {
        "rank": round(float(scored.rank_N[place]), 6),
        "scores": {score.name: float(f"{value:.6g}") for score, value in scores},
    }
    return record.line(**{QUALITY_FIELD: quality})


def _total(pool: Pool, files: tuple[SourceFile, ...]) -> int | None:
    """An upper bound of what is read; None where compression or a hub hides it."""
    if pool.most_bytes is not None:
        return pool.most_bytes
    if any(file.compressed or file.kind not in ("json", "text") for file in files):
        return None
    return sum(file.size or 0 for file in files)
