"""How many rows of a batch pass through a model at once: a batch larger than memory is learned from in micro-batches.

What a micro-batch keeps for its backward pass grows with its rows; gradients are accumulated, and are the batch's. On a
CPU a micro-batch is as large on one machine as on another, so that the numbers are the same too; on a GPU it fills half
of the memory that is free.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from proxies.models.transformer import Transformer
from proxies.recipe import Recipe

# A machine trains as many proxies as it has cores.
CPU_BYTES = 2**30
# Of a GPU's free memory; the rest is for what lives only while a layer is computed.
GPU_SHARE = 0.5
PROBED_ROWS = 2


@dataclass(frozen=True)
class MicroBatches:
    """
    Attributes:
        rows: of each member, that pass through the model at once.
        recomputed: layers are computed again for the backward pass (activation checkpointing): a row keeps too much.
    """

    rows: int
    recomputed: bool


def micro_batches(model: Transformer, recipe: Recipe) -> MicroBatches:
    """The largest power of two of rows that fits, or the whole batch."""
    limit = _limit(model, recipe)
    for recomputed in (False, True):
        model.recomputed = recomputed
        fitting = int(limit // _row_bytes(model, recipe.model.sequence_length))
        if fitting >= 1:
            break
    if fitting >= recipe.batch_rows:
        return MicroBatches(recipe.batch_rows, recomputed)
    return MicroBatches(2 ** (max(fitting, 1).bit_length() - 1), recomputed)


def _limit(model: Transformer, recipe: Recipe) -> float:
    """Bytes that a micro-batch may keep."""
    if recipe.device == "cpu":
        return CPU_BYTES
    free, _ = torch.cuda.mem_get_info()
    # Gradients and the optimizer's two moments are as large as the weights, and not there yet.
    coming = 3 * sum(weight.nbytes for weight in model.parameters())
    return GPU_SHARE * max(free - coming, 0)


def _row_bytes(model: Transformer, length: int) -> int:
    """What one more row of each member keeps until the backward pass."""
    return max(
        1, (_kept_bytes(model, 2 * PROBED_ROWS, length) - _kept_bytes(model, PROBED_ROWS, length)) // PROBED_ROWS
    )


def _kept_bytes(model: Transformer, rows: int, length: int) -> int:
    tokens_MBT = torch.zeros(model.members, rows, length, dtype=torch.int64, device=model.embedding_MVD.device)
    kept: dict[int, Tensor] = {}  # by address: a tensor is kept once, however often it is asked for

    def keep(tensor: Tensor) -> None:
        # Cut off from the graph: with what it would be kept for, it would hold itself for ever.
        kept[tensor.untyped_storage().data_ptr()] = tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(keep, _nothing):
        model(tokens_MBT, tokens_MBT)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _nothing(_: None) -> Tensor:
    raise AssertionError("no backward pass follows")
