"""litdata draws blocks from chunks of tokens, through the function of an export."""

from __future__ import annotations

import runpy
from itertools import islice

import numpy as np
import torch
from litdata.streaming import TokensLoader
from litdata.streaming.cache import Cache

from tests.clients.blends import Blend, answer

BLOCK = 32
# That are read.
BLOCKS = 200


def draw(blend: Blend) -> list[int]:
    for place in blend.lengths:
        write(place, blend)
    export = runpy.run_path(blend.export)
    domain_of = np.array([blend.number(place) for place in export["WEIGHTS"]])
    blocks = export["train_data"](block_size=BLOCK)
    choices, share = iter(blocks), np.array(blocks._weights)
    # So many that four standard errors of a share, sqrt(share (1 - share) / draws), are .2%.
    draws = BLOCKS + int((share * (1 - share)).max() * (4 / 0.002) ** 2)
    domains = domain_of[[choices._get_dataset_index() for _ in range(draws)]]
    read = np.stack([block.numpy() for block in islice(blocks, BLOCKS)])
    assert (read == domains[:BLOCKS, None]).all(), "a block that is read is not of the domain that was chosen"
    return blend.counted(np.repeat(domains, BLOCK))


def write(place: str, blend: Blend) -> None:
    cache = Cache(place, chunk_bytes="1MB", item_loader=TokensLoader(BLOCK))
    for index in range(2 * BLOCKS * BLOCK // blend.lengths[place]):
        cache[index] = torch.from_numpy(blend.document(place).astype(np.int32))
    cache.done()
    cache.merge()


if __name__ == "__main__":
    answer(draw)
