"""All documents of a source in chunks, each worked on in one of several processes; and in portions of many chunks.

A portion is what is finished at once: a call that is killed goes on after the last portion. Where chunks and portions
end follows from the documents alone, so that what is computed of them is the same however often it was killed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from proxies.data.sources import Bad, Position, Record, Source, SourceFile, good_and_bad_records, records
from proxies.errors import ProxyError
from proxies.processes import in_order, process_pool

CHUNK_DOCUMENTS, CHUNK_CHARACTERS = 1024, 1 << 20
PORTION_DOCUMENTS, PORTION_CHARACTERS = 1 << 18, 1 << 28
NAMED = 3  # bad records, of all that are left out

Result = TypeVar("Result")


@dataclass(frozen=True)
class Chunk:
    """Some documents with text.

    Attributes:
        first: number of the first of them, among all documents with text.
        empty: documents without text that stood between them.
        bad: records that stood between them and could not be used, and rests of files.
        first_bad: what is wrong with the first NAMED of them.
        end: the position after them.
        ends_portion: whether a portion ends here.
        is_last: of all.
    """

    first: int
    records: list[Record]
    empty: int
    bad: int
    first_bad: list[str]
    end: Position
    ends_portion: bool
    is_last: bool = False


def chunks(
    source: Source, files: tuple[SourceFile, ...], start: Position, first: int, skip_bad: bool
) -> Iterator[Chunk]:
    """
    Args:
        start: the end of a portion, or the beginning.
        first: number of the first document with text there.
        skip_bad: whether what cannot be used is left out.

    Raises:
        Unreadable: see `proxies.data.sources.records`.
    """
    found: list[Record] = []
    first_bad: list[str] = []
    empty = bad = characters = portion_documents = portion_characters = 0
    end = start
    for record in (good_and_bad_records if skip_bad else records)(source, files, start):
        end = record.end
        if isinstance(record, Bad):
            bad += 1
            if len(first_bad) < NAMED:
                first_bad.append(record.reason)
            continue
        if record.empty:
            empty += 1
            continue
        found.append(record)
        characters += len(record.text)
        if len(found) == CHUNK_DOCUMENTS or characters >= CHUNK_CHARACTERS:
            portion_documents += len(found)
            portion_characters += characters
            full = portion_documents >= PORTION_DOCUMENTS or portion_characters >= PORTION_CHARACTERS
            yield Chunk(first, found, empty, bad, first_bad, end, full)
            first += len(found)
            found, empty, bad, first_bad, characters = [], 0, 0, [], 0
            if full:
                portion_documents = portion_characters = 0
    yield Chunk(first, found, empty, bad, first_bad, end, ends_portion=True, is_last=True)


class Mapping(Protocol):
    """Applies a function to chunks, with what goes with each, in order."""

    def __call__(
        self, function: Callable[..., Result], given: Iterable[tuple[Chunk, tuple[Any, ...]]]
    ) -> Iterator[tuple[Chunk, Result]]: ...


@contextmanager
def several_processes(workers: int, begin: Callable[..., None], *arguments: Any) -> Iterator[Mapping]:
    """What maps chunks in `workers` processes, a few chunks ahead of the reader; in this one where it is one.

    Args:
        begin: is called with the arguments first, where the work is done.
    """
    if workers == 1:
        begin(*arguments)
        yield _here
        return
    with process_pool(workers, begin, *arguments, threads=1) as pool:

        def elsewhere(
            function: Callable[..., Result], given: Iterable[tuple[Chunk, tuple[Any, ...]]]
        ) -> Iterator[tuple[Chunk, Result]]:
            submitted = ((chunk, pool.submit(function, chunk, *more)) for chunk, more in given)
            try:
                yield from in_order(submitted, ahead=2 * workers)
            except BrokenProcessPool as error:
                raise ProxyError(
                    f"one of {workers} processes was killed",
                    hint="most likely memory ran out: lower the workers and start again: what is finished is kept",
                ) from error

        yield elsewhere


def _here(
    function: Callable[..., Result], given: Iterable[tuple[Chunk, tuple[Any, ...]]]
) -> Iterator[tuple[Chunk, Result]]:
    for chunk, more in given:
        yield chunk, function(chunk, *more)
