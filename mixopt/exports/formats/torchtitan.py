"""torchtitan, whose data are put together in Python.

It draws documents and packs them into sequences afterwards, or packs each domain first and then draws sequences: what
weights count follows from where the mix stands. It refuses a weight of 0. Grain, which draws, cuts weights to whole
numbers with 100 for the least, so that it would take .5024 and .4976 for halves; the file therefore rounds them first.

Written after the source and docs/datasets.md of August 2026; release 0.3.0 had no mixes yet.
"""

from __future__ import annotations

from mixopt.exports.formats.base import Draws, Exportable, Exporter, Grid, Weights
from mixopt.exports.formats.python_text import assigned, assignment

IMPORTS = '''\
"""A mixture by mixopt, for torchtitan: config.dataloader = GrainDataLoader.Config(dataset=dataset)"""

from torchtitan.components.data import (
    ConcatThenSplitPackingConfig,
    DatasetMixConfig,
    IndexedJsonlSource,
    SingleDatasetConfig,
    WeightedDataset,
)
from torchtitan.hf_datasets.text_datasets import TextProcessor

'''

FUNCTIONS = """

def documents(domain):
    return SingleDatasetConfig(
        source=IndexedJsonlSource.Config(patterns=tuple(PATTERNS[domain])),
        processor=TextProcessor.Config(),
    )


def packed(dataset):
    return ConcatThenSplitPackingConfig(dataset=dataset)


def mixed(datasets):
    # Grain cuts weights to whole numbers with 100 for the least; rounding them first loses less.
    unit = min(WEIGHTS.values()) / 100
    return DatasetMixConfig(
        datasets=tuple(
            WeightedDataset(dataset=datasets[domain], weight=float(round(weight / unit)))
            for domain, weight in WEIGHTS.items()
        )
    )


"""

MIXES = {
    Draws.DOCUMENTS: "dataset = packed(mixed({domain: documents(domain) for domain in WEIGHTS}))\n",
    Draws.SEQUENCES: "dataset = mixed({domain: packed(documents(domain)) for domain in WEIGHTS})\n",
}


class Torchtitan(Exporter):
    name = "torchtitan"
    describes = "torchtitan: a Python file with its dataset; places are patterns of JSONL files"
    draws = (Draws.DOCUMENTS, Draws.SEQUENCES)
    suffix = ".py"
    by_place = False

    def render(self, exportable: Exportable) -> str:
        weights = exportable.weights
        patterns = {domain: exportable.locations.all(domain) for domain in weights}
        literals = assignment("WEIGHTS", weights) + assignment("PATTERNS", patterns)
        return IMPORTS + literals + FUNCTIONS + MIXES[exportable.draws]

    def read(self, text: str) -> Weights:
        weights: dict[str, float] = assigned(text, "WEIGHTS")
        return list(weights.items())

    def grid(self, exportable: Exportable) -> Grid | None:
        """Grain's whole numbers, with 100 for the least."""
        weights = exportable.weights
        unit = min(weights.values()) / 100
        whole = {domain: round(weight / unit) for domain, weight in weights.items()}
        lengths = exportable.mean_document_tokens if exportable.draws is Draws.DOCUMENTS else dict.fromkeys(whole, 1.0)
        return Grid("steps", whole, {domain: count * lengths[domain] for domain, count in whole.items()})
