"""MosaicML Streaming chooses the samples of an epoch; their numbers say which stream each is of."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import numpy as np

from mixopt.exports.samplers.base import Counted, Drawing

if importlib.util.find_spec("torchvision") is None:
    # Only pictures need it.
    sys.modules.setdefault("streaming.vision", ModuleType("streaming.vision"))

from streaming import Stream, StreamingDataset
from streaming.base.util import clean_stale_shared_memory


def draw(drawing: Drawing) -> Counted:
    drawing.require("/index.json")
    clean_stale_shared_memory()
    streams = [
        Stream(**{"remote" if "://" in source.place else "local": source.place, "proportion": source.weight})
        for source in drawing.sources
    ]
    dataset = StreamingDataset(
        streams=streams, epoch_size=drawing.samples, shuffle=True, shuffle_seed=drawing.seed, batch_size=1
    )
    # The first sample sets the order of the epoch; reading on would be slow.
    next(iter(dataset))
    samples = dataset._iterator.sample_ids
    dataset._iterator.exit()
    first = np.asarray(dataset.sample_offset_per_stream)
    numbers = np.searchsorted(first, samples[samples >= 0], side="right") - 1
    return Counted("documents", drawing.counts(numbers.tolist()))
