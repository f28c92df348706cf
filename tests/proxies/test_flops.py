from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from proxies.flops import training_flops, training_flops_per_token
from proxies.models.experts import SLICE_ROWS
from proxies.models.size import model_size
from proxies.models.transformer import Transformer
from tests.proxies.models.kinds import kinds, small


def grouped_flops(a_shape: torch.Size, b_shape: torch.Size, *_: Any, out_shape: torch.Size, **__: Any) -> int:
    """Each row of `a` meets one expert's matrix, and in [I, R] x [R, O], the weights' gradient, one row of `b`."""
    return 2 * a_shape[0] * a_shape[1] * b_shape[-1]


@kinds
@pytest.mark.parametrize("depth", [2, 3])
def test_flops_by_formula_are_those_of_the_operations(kind: str, depth: int) -> None:
    size = small(kind, 99, 32, depth=depth)
    # In bfloat16, since the counter does not know the fused attention of a CPU.
    model = Transformer(size, [torch.Generator().manual_seed(0)], torch.bfloat16)
    tokens = torch.randint(99, (1, 6, 33), generator=torch.Generator().manual_seed(0))

    grouped: Any = {torch.ops.aten._grouped_mm: grouped_flops}
    with FlopCounterMode(display=False, custom_mapping=grouped) as counter:
        losses = model(tokens[:, :, :-1], tokens[:, :, 1:])
        (losses.nats_M.sum() + losses.z_loss_ML.sum()).backward()

    padding = 0
    if size.experts is not None:  # rows that fill the experts' slices up
        padding = (depth - 1) * SLICE_ROWS * size.expert_count * 3 * 2 * 3 * size.width * size.experts.feed_forward
    assert training_flops(size, 6 * 32) + padding == counter.get_total_flops()


def test_a_run_costs_its_tokens() -> None:
    size = model_size("dense", 2, 2048, 256)
    assert training_flops(size, 1000) == 1000 * training_flops_per_token(size)
    # 6 N for the matrices, as usual, and the attention on top.
    matrices = size.total_parameters - size.embedding_parameters // 2
    assert training_flops_per_token(size) == 6 * matrices + 12 * 2 * 256 * 128
