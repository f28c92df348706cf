"""One source into token shards and two held-out sets, in one pass that survives a kill.

Held out are the documents with the lowest content hashes, as many as fit a number of tokens, for the search, and of
the others those with the next-lowest, as many again, for the confirmation: the choice depends on the set of documents
only, not on their order, and no document moves from training to a held-out set while reading on. Each piece of a long
document is chosen by itself, so that training and held-out sets may each have a part of a book.

    documents --chunks--> tokenised (other processes) --+--> lowest hashes: held out, in memory
                                                        +--> next-lowest: held out for the confirmation, in memory
                                                        +--> the rest: training shards of about 16M tokens

After each shard the state is written: the position in the source, the shards so far and the held-out documents.
A start finds the state and goes on from there, unless it was made from other files or with other settings.
"""

from __future__ import annotations

import heapq
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from proxies.data.format import read_json, write_json
from proxies.data.shards import Shard, ShardWriter, TokenType
from proxies.data.sources import Document, Position, Source, SourceFile, documents
from proxies.data.tokenizer import CorpusTokenizer, TokenisedDocument
from proxies.errors import ProxyError
from proxies.processes import in_order, process_pool

SHARD_TOKENS = 1 << 24
CHUNK_DOCUMENTS = 256
CHUNK_CHARACTERS = 1 << 20  # a chunk of long documents is cut here
BEYOND_EVERY_RANK = (2, 0)
STATE_FILE = "state.json"


@dataclass(frozen=True)
class Progress:
    """How far one stage of preparing a corpus is; `total` is None where it is not known."""

    stage: str
    done: int
    total: int | None
    unit: str


OnProgress = Callable[[Progress], None]

# What reading JSON raises that is not what was written.
WRONG_SHAPE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


@dataclass(frozen=True)
class Intake:
    """What one source becomes.

    Attributes:
        folder: where its shards go, relative to the corpus.
        held_out_tokens, held_out_share: a held-out set has at most so many tokens, and at most this share of
            the source's tokens, but at least one document.
        evaluation_only: nothing but the held-out sets is wanted.
        confirmation: whether a second set is held out; versions before 0.2 had one.
        inputs: a fingerprint of all that decides the outcome.
    """

    source: Source
    files: tuple[SourceFile, ...]
    folder: str
    held_out_tokens: int
    held_out_share: float
    evaluation_only: bool
    confirmation: bool
    inputs: str

    @property
    def masked(self) -> bool:
        return self.source.prompt_field is not None


@dataclass
class IntakeState:
    """How far an intake came, and what it found.

    Attributes:
        documents: with text, as they stand in the source.
        pieces: of these documents; a document of usual length is one piece.
        within_document: whether the last piece read has text before it or in it, and more pieces after it.
        tokens: of all documents read, end-of-text tokens (one a piece) included.
        text_bytes: UTF-8 bytes of all documents read.
        dropped_empty: documents without text.
        finished_with: the documents held out for the search, once all documents are read.
        loss_bytes: UTF-8 bytes of their text whose tokens carry loss; `held_out_bytes`: of each.
        confirmation: the documents held out for the confirmation; None where that would leave nothing to train on,
            or to hold out.
        confirmation_bytes: as `held_out_bytes`.
    """

    inputs: str
    position: Position = field(default_factory=Position)
    documents: int = 0
    pieces: int = 0
    within_document: bool = False
    tokens: int = 0
    text_bytes: int = 0
    dropped_empty: int = 0
    shards: list[Shard] = field(default_factory=list)
    finished_with: Shard | None = None
    loss_bytes: int = 0
    held_out_bytes: list[int] = field(default_factory=list)
    confirmation: Shard | None = None
    confirmation_bytes: list[int] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        return self.finished_with is not None

    @property
    def held_out(self) -> Shard:
        assert self.finished_with is not None, "documents are held out when all have been read"
        return self.finished_with

    @property
    def all_shards(self) -> list[Shard]:
        return [*self.shards, *(shard for shard in (self.finished_with, self.confirmation) if shard is not None)]

    def count(self, piece: Document, tokenised: TokenisedDocument | None) -> None:
        """Counts a piece, and its document with the first piece that has text; one without text has no tokens."""
        if tokenised is not None:
            self.documents += not self.within_document
            self.pieces += 1
            self.within_document = True
            self.tokens += len(tokenised.tokens_N)
            self.text_bytes += tokenised.text_bytes
        if piece.last:
            self.dropped_empty += not self.within_document
            self.within_document = False

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> IntakeState:
        shards = [Shard(**shard) for shard in saved["shards"]]
        held_out = {
            name: Shard(**saved[name]) if saved.get(name) else None for name in ("finished_with", "confirmation")
        }
        return cls(**saved | {"position": Position(**saved["position"]), "shards": shards} | held_out)


class LowestHashes:
    """Of all documents offered so far, those with the lowest hashes, as many as fit `limit` tokens; at least one.

    A document longer than the limit is held only where every other is too: one book would else be the whole set.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.tokens = 0
        self._longest = limit
        self._heap: list[tuple[tuple[int, int], TokenisedDocument]] = []  # by falling rank
        self._hashes: set[int] = set()
        self._lowest_rejected: tuple[int, int] = BEYOND_EVERY_RANK

    def __contains__(self, document: TokenisedDocument) -> bool:
        return document.hash in self._hashes

    def offer(self, document: TokenisedDocument) -> list[TokenisedDocument]:
        """Takes a document; returns those that are not among the lowest (any more). A hash is held only once."""
        rank = (len(document.tokens_N) > self._longest, document.hash)
        if rank >= self._lowest_rejected or document.hash in self._hashes:
            return [document]
        heapq.heappush(self._heap, ((-rank[0], -rank[1]), document))
        self._hashes.add(document.hash)
        self.tokens += len(document.tokens_N)
        return self.shrink(self.limit)

    def shrink(self, limit: int) -> list[TokenisedDocument]:
        """Lowers the limit; returns the documents that no longer fit."""
        self.limit = limit
        rejected = []
        while self.tokens > self.limit and len(self._heap) > 1:
            (long, code), document = heapq.heappop(self._heap)
            self._lowest_rejected = (-long, -code)
            self._hashes.remove(document.hash)
            self.tokens -= len(document.tokens_N)
            rejected.append(document)
        return rejected

    @property
    def documents(self) -> list[TokenisedDocument]:
        """By rising hash."""
        return sorted((document for _, document in self._heap), key=lambda document: document.hash)

    def to_json(self) -> dict[str, Any]:
        held = [asdict(document) | {"tokens_N": document.tokens_N.tolist()} for document in self.documents]
        return {"lowest_rejected": self._lowest_rejected, "documents": held}

    @classmethod
    def from_json(cls, limit: int, saved: dict[str, Any]) -> LowestHashes:
        lowest = cls(limit)
        for entry in saved["documents"]:
            lowest.offer(TokenisedDocument(**entry | {"tokens_N": np.array(entry["tokens_N"], dtype=np.uint32)}))
        lowest._lowest_rejected = tuple(saved["lowest_rejected"])
        return lowest


class HeldOut:
    """The sets that are held out of one source: the documents of the lowest hashes, and of others the next-lowest.

    Args:
        limit: tokens of each.
        sets: how many.
    """

    def __init__(self, limit: int, sets: int) -> None:
        self.sets = [LowestHashes(limit) for _ in range(sets)]

    def offer(self, document: TokenisedDocument) -> list[TokenisedDocument]:
        """Takes a document; returns those that no set holds (any more)."""
        if any(document in lowest for lowest in self.sets):
            return [document]
        passed = [document]
        for lowest in self.sets:
            passed = [out for each in passed for out in lowest.offer(each)]
        return passed

    def shrink(self, limit: int) -> list[TokenisedDocument]:
        """Lowers the limit of each set; returns the documents that no set holds any more."""
        passed: list[TokenisedDocument] = []
        for lowest in self.sets:
            passed = [*(out for each in passed for out in lowest.offer(each)), *lowest.shrink(limit)]
        return passed

    def to_json(self) -> list[dict[str, Any]]:
        return [lowest.to_json() for lowest in self.sets]

    @classmethod
    def from_json(cls, limit: int, saved: Sequence[dict[str, Any]]) -> HeldOut:
        held_out = cls(limit, 0)
        held_out.sets = [LowestHashes.from_json(limit, each) for each in saved]
        return held_out


class Tokenisers:
    """Tokenises chunks of documents, in order: in this process, or in `workers` others that start when needed."""

    def __init__(self, tokenizer: CorpusTokenizer, workers: int) -> None:
        self.tokenizer = tokenizer
        self._pool: ProcessPoolExecutor | None = None
        self._workers = workers
        self._open = ExitStack()

    def __enter__(self) -> Tokenisers:
        if self._workers > 1:
            pool = process_pool(self._workers, _start_worker, self.tokenizer.definition)
            self._pool = self._open.enter_context(pool)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def tokenised(self, chunks: Iterable[list[Document]]) -> Iterator[tuple[list[Document], list[TokenisedDocument]]]:
        """Each chunk with the tokens of its documents that are not empty; a few chunks ahead of the reader.

        Raises:
            ProxyError: one of the processes was killed.
        """
        if self._pool is None:
            for chunk in chunks:
                yield chunk, self.tokenizer.encode(_texts(chunk))
            return
        pool = self._pool
        submitted = ((chunk, pool.submit(_encode, _texts(chunk))) for chunk in chunks)
        try:
            yield from in_order(submitted, ahead=2 * self._workers)
        except BrokenProcessPool as error:
            raise ProxyError(
                f"one of {self._workers} tokenising processes was killed",
                hint="most likely memory ran out: lower workers and start again; it goes on after the last shard",
            ) from error


class TrainingShards:
    """The shards of one source, one after the other; `shards` lists those that are safely on the disk.

    As a context manager, it leaves no unfinished shard behind after an error.
    """

    def __init__(self, directory: Path, folder: str, dtype: TokenType, masked: bool, shards: list[Shard]) -> None:
        self.shards = shards
        self._directory, self._folder, self._dtype, self._masked = directory, folder, dtype, masked
        self._writer: ShardWriter | None = None

    def __enter__(self) -> TrainingShards:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind, error, trace)

    def add(self, documents: Iterable[TokenisedDocument]) -> None:
        for document in documents:
            if self._writer is None:
                name = f"{self._folder}/train-{len(self.shards):05d}"
                self._writer = ShardWriter(self._directory, name, self._dtype, self._masked)
            self._writer.add(document)

    @property
    def full(self) -> bool:
        return self._writer is not None and self._writer.tokens >= SHARD_TOKENS

    def close(self) -> None:
        if self._writer is not None:
            self.shards.append(self._writer.close())
            self._writer = None


def take_in(intake: Intake, directory: Path, tokenisers: Tokenisers, on_progress: OnProgress) -> IntakeState:
    """Reads one source into shards below `directory`, or goes on where an earlier call was killed.

    Raises:
        ProxyError: a file is broken, or holds no text.
    """
    source, dtype = intake.source, tokenisers.tokenizer.dtype
    saved = _saved(intake, directory, dtype)
    if saved is None:
        _forget(intake, directory)
    state, held_out = saved or (
        IntakeState(intake.inputs),
        HeldOut(intake.held_out_tokens, 2 if intake.confirmation else 1),
    )
    if state.finished:
        return state
    wanted = source.max_tokens or math.inf
    total = _text_bytes(intake.files)
    with TrainingShards(directory, intake.folder, dtype, intake.masked, state.shards) as training:
        for chunk, tokenised in tokenisers.tokenised(_chunks(documents(source, intake.files, state.position))):
            with_text = iter(tokenised)
            for piece in chunk:
                if state.tokens >= wanted:
                    break
                document = None if piece.empty else next(with_text)
                state.count(piece, document)
                if document is not None:
                    rejected = held_out.offer(document)
                    if not intake.evaluation_only:
                        training.add(rejected)
            state.position = chunk[-1].end
            on_progress(Progress(f"tokenise {source.name}", state.text_bytes, total, "bytes"))
            if state.tokens >= wanted:
                break
            if training.full:
                training.close()
                _save(state, held_out, directory / intake.folder)
        rejected = held_out.shrink(int(intake.held_out_share * state.tokens))
        first, *more = (lowest.documents for lowest in held_out.sets)
        second = more[0] if more else []
        if not intake.evaluation_only:
            training.add(rejected)
            training.close()
            if not _has_others(training.shards, [*first, *second], directory):
                training.add(second)
                second = []
        training.close()
    if not state.documents:
        raise ProxyError(
            f"{source.name}: no text in {len(intake.files)} files ({state.dropped_empty} empty documents)",
            hint=f"check {', '.join(source.paths)}",
        )
    state.finished_with = _write(first, directory, f"{intake.folder}/held-out", dtype, intake.masked)
    state.held_out_bytes = [document.loss_bytes for document in first]
    state.loss_bytes = sum(state.held_out_bytes)
    if second:
        state.confirmation = _write(second, directory, f"{intake.folder}/confirmation", dtype, intake.masked)
        state.confirmation_bytes = [document.loss_bytes for document in second]
    _save(state, held_out, directory / intake.folder)
    return state


def is_finished(intake: Intake, directory: Path, dtype: TokenType) -> bool:
    """Whether `take_in` has nothing left to do."""
    saved = _saved(intake, directory, dtype)
    return saved is not None and saved[0].finished


def _has_others(shards: Sequence[Shard], held_out: Sequence[TokenisedDocument], directory: Path) -> bool:
    """Whether any training shard has a document that is not held out."""
    hashes = np.array([document.hash for document in held_out], dtype=np.uint64)
    return any(not np.isin(shard.documents_N2(directory)[:, 0], hashes).all() for shard in shards)


def _write(documents: Iterable[TokenisedDocument], directory: Path, name: str, dtype: TokenType, masked: bool) -> Shard:
    with ShardWriter(directory, name, dtype, masked) as writer:
        for document in documents:
            writer.add(document)
        return writer.close()


def made_by_earlier_version(folder: Path) -> bool:
    """Whether what is in `folder` was begun by a version that held out one set, or goes on so."""
    saved = read_json(folder / STATE_FILE)
    try:
        return saved is not None and len(_sets(saved)) == 1
    except WRONG_SHAPE:
        return False


def _sets(saved: dict[str, Any]) -> list[dict[str, Any]]:
    """The held-out sets in a saved state; versions before 0.2 saved their only one alone."""
    lowest = saved["lowest"]
    return [lowest] if isinstance(lowest, dict) else lowest


def _saved(intake: Intake, directory: Path, dtype: TokenType) -> tuple[IntakeState, HeldOut] | None:
    """What an earlier call left, if it worked on the same inputs and its shards are there in full length."""
    saved = read_json(directory / intake.folder / STATE_FILE)
    try:
        if saved is None or saved["state"]["inputs"] != intake.inputs:
            return None
        state = IntakeState.from_json(saved["state"])
        if not all(shard.in_full_length(directory, dtype) for shard in state.all_shards):
            return None
        return state, HeldOut.from_json(intake.held_out_tokens, _sets(saved))
    except WRONG_SHAPE:
        return None  # damaged, or of somebody else


def _forget(intake: Intake, directory: Path) -> None:
    """Removes what an earlier call made of other inputs: the state first, so that it is never taken for whole."""
    folder = directory / intake.folder
    if folder.exists():
        (folder / STATE_FILE).unlink(missing_ok=True)
        shutil.rmtree(folder)


def _save(state: IntakeState, held_out: HeldOut, folder: Path) -> None:
    write_json(folder / STATE_FILE, {"state": asdict(state), "lowest": held_out.to_json()})


def _chunks(stream: Iterable[Document]) -> Iterator[list[Document]]:
    chunk: list[Document] = []
    characters = 0
    for document in stream:
        chunk.append(document)
        characters += len(document.text)
        if len(chunk) == CHUNK_DOCUMENTS or characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _text_bytes(files: Sequence[SourceFile]) -> int | None:
    """An upper bound of the text in `files`; None where compression or a hub hides it."""
    if any(file.compressed or file.kind not in ("json", "text") for file in files):
        return None
    return sum(file.size or 0 for file in files)


def _texts(chunk: Sequence[Document]) -> list[tuple[str | None, str]]:
    return [(document.prompt, document.text) for document in chunk if not document.empty]


# A worker process keeps its tokenizer here: sent with every chunk, it would cost more than the chunk.
_worker_tokenizer: CorpusTokenizer


def _start_worker(definition: str) -> None:
    global _worker_tokenizer
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one process per core, one thread per process
    _worker_tokenizer = CorpusTokenizer(definition)


def _encode(texts: list[tuple[str | None, str]]) -> list[TokenisedDocument]:
    return _worker_tokenizer.encode(texts)
