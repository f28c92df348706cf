"""Writes data in a trainer's own form and an export that draws from them, and checks it: `mixopt check` in its process.

python -m tests.clients.checked CLIENT FOLDER        (in the environment of the client, see tests/clients/install.py)
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np

from mixopt.exports.checking import check
from mixopt.exports.formats import Exportable, exporter
from mixopt.exports.locations import locations_by_pattern
from mixopt.exports.receipt import Source, exported
from search.mixture import Mixture
from tests.clients.blends import Blend

FORMATS = {"litdata": "litgpt", "megatron": "megatron", "olmo_core": "olmo-core", "streaming": "streaming"}
LENGTHS = {"a": 100, "b": 50, "c": 10}
TOKENS, SEQUENCE_LENGTH, SAMPLES = 4_000_000, 32, 4_000


def write_data(client: str, blend: Blend) -> None:
    for place in blend.lengths:
        if client == "olmo_core":
            np.ones(2 * SAMPLES * SEQUENCE_LENGTH, np.uint16).tofile(place)
        elif client == "streaming":
            writer = importlib.import_module("tests.clients.draw_streaming").MDSWriter
            with writer(out=place, columns={"tokens": "ndarray:uint16"}) as out:
                for _ in range(100):
                    out.write({"tokens": blend.document(place)})
        else:
            importlib.import_module(f"tests.clients.draw_{client}").write(place, blend)


if __name__ == "__main__":
    client, folder = sys.argv[1], Path(sys.argv[2])
    format = exporter(FORMATS[client])
    where = locations_by_pattern(f"{folder}/{{domain}}", LENGTHS)
    write_data(client, Blend(format.name, "", {f"{folder}/{name}": length for name, length in LENGTHS.items()}))
    mixture = Mixture.of({"a": 0.5, "b": 0.2, "c": 0.3})
    exportable = Exportable(
        *(mixture, format.draws[0], LENGTHS, where, TOKENS, 4.0, 7),
        supply=dict.fromkeys(LENGTHS, float(TOKENS)),
        sequence_length=SEQUENCE_LENGTH,
    )
    path = folder / f"export{format.suffix}"
    exported(format, exportable, Source()).write(path)
    (folder / "found.json").write_text(check(path, samples=SAMPLES).json_text(), encoding="utf-8")
