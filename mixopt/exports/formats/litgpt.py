"""LitGPT, which pretrains on litdata's CombinedStreamingDataset: blocks of one length, drawn at random.

It reads no mixture from a file; its data modules have the weights in their code. The export is for one to import:

train_data = mixture.train_data(block_size=self.seq_length)        # in train_dataloader()
"""

from __future__ import annotations

from mixopt.exports.formats.base import Draws, Exportable, Exporter, Weights
from mixopt.exports.formats.python_text import assigned, assignment

IMPORTS = '''\
"""A mixture by mixopt, for LitGPT."""

from litdata.streaming import CombinedStreamingDataset, StreamingDataset, TokensLoader

'''

FUNCTION = """

def train_data(block_size):
    datasets = [
        StreamingDataset(place, item_loader=TokensLoader(block_size=block_size), shuffle=True, drop_last=True)
        for place in WEIGHTS
    ]
    # An epoch ends with the dataset that ends first: going on without it would change the shares.
    return CombinedStreamingDataset(datasets, seed=SEED, weights=list(WEIGHTS.values()), iterate_over_all=False)
"""


class LitGpt(Exporter):
    name = "litgpt"
    describes = "LitGPT (litdata): a Python file with its CombinedStreamingDataset"
    draws = (Draws.SEQUENCES,)
    suffix = ".py"
    at_random = True

    def render(self, exportable: Exportable) -> str:
        literals = f"SEED = {exportable.seed}\n" + assignment("WEIGHTS", exportable.weighted_places)
        return IMPORTS + literals + FUNCTION

    def read(self, text: str) -> Weights:
        weights: dict[str, float] = assigned(text, "WEIGHTS")
        return list(weights.items())
