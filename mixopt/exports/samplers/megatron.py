"""Megatron-core blends sequences of one length; its index of the blend says which dataset each is of."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
from torch import distributed
from torch._C._distributed_c10d import HashStore

from mixopt.exports.samplers.base import Counted, Drawing

SEQUENCE_LENGTH = 1024


def draw(drawing: Drawing) -> Counted:
    drawing.require(".bin", ".idx")
    with tempfile.TemporaryDirectory() as cache, _one_rank():
        config = GPTDatasetConfig(
            random_seed=drawing.seed,
            sequence_length=drawing.sequence_length or SEQUENCE_LENGTH,
            blend=([source.place for source in drawing.sources], [source.weight for source in drawing.sources]),
            split="1,0,0",
            path_to_cache=cache,
            # Nothing is tokenised any more.
            tokenizer=SimpleNamespace(vocab_size=2**16, eod=0, unique_identifiers={}),
            reset_position_ids=False,
            reset_attention_mask=False,
            eod_mask_loss=False,
            create_attention_mask=False,
        )
        train = BlendedMegatronDatasetBuilder(GPTDataset, [drawing.samples, 0, 0], lambda: True, config).build()[0]
        # One dataset alone is not blended.
        index = np.asarray(getattr(train, "dataset_index", np.zeros(drawing.samples, np.int64)))[: drawing.samples]
        return Counted("sequences", drawing.counts(index.tolist()))


@contextmanager
def _one_rank() -> Iterator[None]:
    """Who keeps the indices of a blend is asked of the ranks; there is one."""
    if distributed.is_initialized():
        yield
        return
    distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        distributed.destroy_process_group()
