"""litdata chooses the dataset of each block at random."""

from __future__ import annotations

from litdata.streaming import CombinedStreamingDataset, StreamingDataset, TokensLoader

from mixopt.exports.samplers.base import Counted, Drawing

BLOCK = 2048


def draw(drawing: Drawing) -> Counted:
    drawing.require("/index.json")
    loader = TokensLoader(block_size=drawing.sequence_length or BLOCK)
    blocks = CombinedStreamingDataset(
        [
            StreamingDataset(source.place, item_loader=loader, shuffle=True, drop_last=True)
            for source in drawing.sources
        ],
        seed=drawing.seed,
        weights=[source.weight for source in drawing.sources],
        iterate_over_all=False,
    )
    choices = iter(blocks)
    return Counted("sequences", drawing.counts(choices._get_dataset_index() for _ in range(drawing.samples)))
