"""Heaps of documents of known kinds, small and the same on every machine."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import zstandard

from proxies.data.sources import Source, find_files
from proxies.domains.finding import Found, Search, find_domains
from tests.text import documents

KINDS = ("prose", "code", "sums")


def write_heap(folder: Path, each: int = 40, field: str = "text") -> list[dict[str, Any]]:
    """Records of three kinds in turns, in two files; returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = [documents(kind, each) for kind in KINDS]
    records = [
        {field: text, "kind": kind, "n": number}
        for number, row in enumerate(zip(*texts, strict=True))
        for kind, text in zip(KINDS, row, strict=True)
    ]
    half = len(records) // 2
    for name, part in (("a", records[:half]), ("b", records[half:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in part))
    return records


def found_in(heap: Path, pools: Path, work: Path, search: Search) -> Found:
    source = Source("data", (str(heap),))
    return find_domains(source, find_files(source), search, pools, work, lambda progress: None)


def pool_records(pools: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of each pool."""
    return {folder.name: list(_records(folder)) for folder in sorted(pools.iterdir()) if folder.name[0] != "."}


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.jsonl.zst")):
        unpacked = zstandard.ZstdDecompressor().stream_reader(path.read_bytes(), read_across_frames=True)
        yield from map(json.loads, io.TextIOWrapper(unpacked, encoding="utf-8"))


def files_in(folder: Path) -> Mapping[str, bytes]:
    """The content of each file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def without_origin(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if name != "mixopt_origin"} for record in records]
