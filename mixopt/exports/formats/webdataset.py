"""WebDataset's RandomMix, which draws samples, here a document each.

It ends with the first part that ends, so the file repeats them all. It draws with Python's own random generator.
"""

from __future__ import annotations

from mixopt.exports.formats.base import Draws, Exportable, Exporter, Weights
from mixopt.exports.formats.python_text import assigned, assignment

IMPORTS = '''\
"""A mixture by mixopt, for WebDataset."""

import webdataset as wds

'''

MIX = """
# RandomMix ends with the first part that ends; repeated, none does.
mixed = wds.RandomMix(
    [wds.WebDataset(shards, shardshuffle=100).repeat() for shards in SHARDS.values()],
    probs=[WEIGHTS[domain] for domain in SHARDS],
)
"""


class WebDataset(Exporter):
    name = "webdataset"
    describes = "WebDataset: a Python file with a RandomMix; places are shards, as part-{000..099}.tar"
    draws = (Draws.DOCUMENTS, Draws.SEQUENCES)
    suffix = ".py"
    by_place = False
    at_random = True

    def render(self, exportable: Exportable) -> str:
        weights = exportable.weights
        # Several places in one string, because WebDataset does not expand braces in lists.
        shards = {domain: "::".join(exportable.locations.all(domain)) for domain in weights}
        return IMPORTS + assignment("WEIGHTS", weights) + assignment("SHARDS", shards) + MIX

    def read(self, text: str) -> Weights:
        weights: dict[str, float] = assigned(text, "WEIGHTS")
        return list(weights.items())
