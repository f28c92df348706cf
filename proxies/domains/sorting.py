"""Every document into the pool of its domain, in one pass that survives a kill.

<domain>/00000.jsonl.zst     what a portion has of a domain: the records as they were, and where each came from
sorted/00000.npy             the domain of each document of a portion
sorted/00000.json            where the portion ended, and what each domain got; written after all files of the portion
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard
from numpy.typing import NDArray

from proxies.data.format import read_json, write_json
from proxies.data.intake import OnProgress, Progress
from proxies.data.sources import Position, Record, Source, SourceFile
from proxies.domains.chunks import Chunk, chunks, several_processes
from proxies.domains.clusters import Clusters
from proxies.domains.duplicates import Duplicates
from proxies.domains.embedding import Embedding
from proxies.domains.embedding.opening import open_embedding
from proxies.errors import ProxyError
from proxies.storage import open_whole, write_whole

ORIGIN = "mixopt_origin"
COMPRESSION = 3


@dataclass(frozen=True)
class Sorted:
    """What the pools got.

    Attributes:
        domain_N: the number of each document's domain.
        bytes_D: of UTF-8 text that was written, by domain.
        documents_D: that were written.
    """

    domain_N: NDArray[np.uint16]
    bytes_D: NDArray[np.int64]
    documents_D: NDArray[np.int64]


@dataclass(frozen=True)
class Pools:
    """Where the pools go, and how documents come into them.

    Attributes:
        names: of the domains.
        embedding: the folder that it is opened from.
        clusters: file.
        dropped: documents that are left out; None: none is.
    """

    folder: Path
    names: Sequence[str]
    embedding: Path
    clusters: Path
    dropped: Duplicates | None


def sort_into_pools(
    source: Source,
    files: tuple[SourceFile, ...],
    pools: Pools,
    documents: int,
    skip_bad: bool,
    workers: int,
    folder: Path,
    on_progress: OnProgress,
) -> Sorted:
    """Sorts everything, or goes on where an earlier call was killed.

    Args:
        documents: how many there are.
        skip_bad: as they were counted, see `survey`.
        folder: of what is remembered; what is in it was made of the same files and clusters.

    Raises:
        ProxyError: a file is broken, or has changed.
        OSError: a pool cannot be written.
    """
    for place in (folder, *(pools.folder / name for name in pools.names)):
        place.mkdir(parents=True, exist_ok=True)
    count, portions, done = len(pools.names), 0, 0
    position, is_over = Position(), False
    sums_2D = np.zeros((2, count), dtype=np.int64)
    while (saved := read_json(folder / f"{portions:05d}.json")) is not None:
        sums_2D += np.array(saved["written"], dtype=np.int64)
        done, position, is_over = done + saved["documents"], Position(*saved["end"]), saved["is_last"]
        portions += 1
    if not is_over:
        with several_processes(workers, _begin, pools.embedding, pools.clusters) as mapped:
            portion = _Portion(count)
            given = (
                (chunk, (_kept(pools.dropped, chunk),)) for chunk in chunks(source, files, position, done, skip_bad)
            )
            for chunk, lines in mapped(_sort, given):
                portion.add(lines)
                done += len(chunk.records)
                on_progress(Progress("sort into pools", done, documents, "documents"))
                if chunk.ends_portion:
                    portion.write(pools, portions)
                    labels = io.BytesIO()
                    np.save(labels, np.concatenate(portion.domains), allow_pickle=False)
                    write_whole(folder / f"{portions:05d}.npy", labels.getvalue())
                    about = {
                        "documents": sum(map(len, portion.domains)),
                        "end": [chunk.end.file, chunk.end.document],
                        "is_last": chunk.is_last,
                        "written": portion.sums_2D.tolist(),
                    }
                    write_json(folder / f"{portions:05d}.json", about)
                    sums_2D += portion.sums_2D
                    portions += 1
                    portion = _Portion(count)
    if done != documents:
        raise ProxyError(
            f"{source.name}: there are {done:,} documents, and were {documents:,} a while ago",
            hint="leave the files alone while they are read, and start again in a new folder",
        )
    domain_N = np.concatenate([np.load(folder / f"{number:05d}.npy") for number in range(portions)])
    return Sorted(domain_N, sums_2D[1], sums_2D[0])


@dataclass(frozen=True)
class _Lines:
    """What becomes of a chunk: the domain of each document, and lines for pools; how many of each, and their bytes."""

    domain_N: NDArray[np.uint16]
    of_domain: Mapping[int, bytes]
    sums_2D: NDArray[np.int64]


class _Portion:
    """The lines of a portion, compressed as they come."""

    def __init__(self, count: int) -> None:
        self.domains: list[NDArray[np.uint16]] = []
        self.sums_2D = np.zeros((2, count), dtype=np.int64)
        self._open: dict[int, tuple[zstandard.ZstdCompressionObj, list[bytes]]] = {}

    def add(self, lines: _Lines) -> None:
        self.domains.append(lines.domain_N)
        self.sums_2D += lines.sums_2D
        for domain, content in lines.of_domain.items():
            if domain not in self._open:
                self._open[domain] = (zstandard.ZstdCompressor(level=COMPRESSION).compressobj(), [])
            packer, packed = self._open[domain]
            packed.append(packer.compress(content))

    def write(self, pools: Pools, number: int) -> None:
        """A file for each domain that has a document in it."""
        for domain, (packer, packed) in sorted(self._open.items()):
            with open_whole(pools.folder / pools.names[domain] / f"{number:05d}.jsonl.zst") as file:
                for block in packed:
                    file.write(block)
                file.write(packer.flush())


def _kept(dropped: Duplicates | None, chunk: Chunk) -> NDArray[np.bool_] | None:
    """Which documents of a chunk are written; None: all."""
    if dropped is None:
        return None
    return ~dropped.repeats_N[chunk.first : chunk.first + len(chunk.records)]


# A worker process keeps these here: sent with every chunk, they would cost more than the chunk.
_embedding: Embedding
_clusters: Clusters


def _begin(embedding: Path, clusters: Path) -> None:
    global _embedding, _clusters
    _embedding, _clusters = open_embedding(embedding), Clusters.open(clusters)


def _sort(chunk: Chunk, kept_N: NDArray[np.bool_] | None) -> _Lines:
    domain_N = _clusters.domains_of(_embedding.embed([record.text for record in chunk.records])).astype(np.uint16)
    lines: dict[int, list[bytes]] = {}
    sums_2D = np.zeros((2, _clusters.count), dtype=np.int64)
    for place, (record, domain) in enumerate(zip(chunk.records, domain_N.tolist(), strict=True)):
        if kept_N is None or kept_N[place]:
            lines.setdefault(domain, []).append(_line(record))
            sums_2D[:, domain] += 1, len(record.text.encode())
    return _Lines(domain_N, {domain: b"".join(mine) for domain, mine in lines.items()}, sums_2D)


def _line(record: Record) -> bytes:
    # Of what was sorted before, the first origin stays.
    return record.line(**{ORIGIN: record.fields.get(ORIGIN, record.place)})
