"""`datasets.interleave_datasets` draws documents from streams of what lies there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import datasets

from mixopt.base.errors import ConfigError
from mixopt.exports.samplers.base import Counted, Drawing

BUILDERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv", ".txt": "text", ".arrow": "arrow"}
PACKED = (".gz", ".zst", ".bz2", ".xz")


def draw(drawing: Drawing) -> Counted:
    drawing.require("")
    mixed = datasets.interleave_datasets(
        [_numbered(source.place, number) for number, source in enumerate(drawing.sources)],
        probabilities=[source.weight for source in drawing.sources],
        stopping_strategy="all_exhausted",
        seed=drawing.seed,
    )
    return Counted("documents", drawing.counts(row["source"] for row in _read(mixed, drawing.samples)))


def _read(mixed: Any, samples: int) -> Iterator[Any]:
    """So many, from the beginning again where all are read through."""
    left = samples
    while left > 0:
        before = left
        for row in islice(mixed, left):
            left -= 1
            yield row
        if left == before:
            raise ConfigError("there are no documents in these places", hint="--data says where the data are")


def _numbered(place: str, number: int) -> Any:
    """Its documents, of which nothing is kept but whose they are."""
    try:
        stream = _stream(Path(place), place)
        names = list(next(iter(stream.take(1)), {}))
    except Exception as error:  # whatever datasets makes of files of another kind
        raise ConfigError(f"{place} cannot be read by datasets: {error}", hint="--data names others") from error
    return stream.map(lambda _: {"source": number}, remove_columns=names)


def _stream(path: Path, place: str) -> Any:
    suffix = path.with_suffix("").suffix if path.suffix in PACKED else path.suffix
    if path.is_file() and suffix in BUILDERS:
        return datasets.load_dataset(BUILDERS[suffix], data_files=place, split="train", streaming=True)
    if (path / "state.json").is_file():
        return datasets.load_from_disk(place).to_iterable_dataset()
    return datasets.load_dataset(place, split="train", streaming=True)
