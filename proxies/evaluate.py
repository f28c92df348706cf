"""The loss of a model on one evaluation set, in nats per token and bits per byte.

A set is cut into rows of the model's length: every token is predicted once, from those before it in its row,
and counted where its loss mask is 1. The first token of the set has nothing before it and is not predicted.

N tokens, B rows, T positions, L expert layers, E experts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proxies.errors import ProxyError
from proxies.models.cross_entropy import IGNORED
from proxies.models.router import assignments
from proxies.models.transformer import Transformer


class EvaluationTokens(Protocol):
    @property
    def tokens_N(self) -> NDArray[Any]: ...

    @property
    def loss_mask_N(self) -> NDArray[Any] | None:
        """1 where a token's loss counts; None where every token's does."""

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of the text whose tokens carry loss."""


@dataclass(frozen=True)
class EvaluationLoss:
    nats_per_token: float
    bits_per_byte: float


@dataclass(frozen=True)
class Evaluation:
    """A set's loss, and by name the share of its assignments that each expert got, and the entropy of these shares."""

    loss: EvaluationLoss
    routing: Mapping[str, float]


def evaluate(model: Transformer, tokens: EvaluationTokens, *, batch_rows: int) -> Evaluation:
    """Measure `model` on all of `tokens`.

    Raises:
        ProxyError: the set has no token to predict.
    """
    inputs_BT, targets_BT = _rows(tokens, model.size.sequence_length)
    predicted = int((targets_BT != IGNORED).sum())
    if not predicted or not tokens.bytes:
        raise ProxyError(
            f"an evaluation set of {len(tokens.tokens_N)} tokens leaves none to predict",
            hint="give it more text, or a loss mask that is not all 0",
        )
    device = model.embedding.device
    nats, counts_LE = 0.0, torch.zeros(len(model.size.expert_layers), model.size.expert_count, dtype=torch.int64)
    for inputs, targets in zip(torch.split(inputs_BT, batch_rows), torch.split(targets_BT, batch_rows), strict=True):
        with torch.no_grad():
            losses = model(inputs.to(device), targets.to(device))
        nats += losses.nats.item()
        counted_N = (targets != IGNORED).flatten().to(device)
        for counts_E, routing in zip(counts_LE, losses.routings, strict=True):
            counts_E += assignments(routing.experts_NK[counted_N], model.size.expert_count).cpu()
    loss = EvaluationLoss(nats / predicted, nats / math.log(2) / tokens.bytes)
    return Evaluation(loss, _routing(counts_LE, model.size.expert_layers))


def _routing(counts_LE: Tensor, layers: Sequence[int]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for layer, counts_E in zip(layers, counts_LE, strict=True):
        shares_E = counts_E / counts_E.sum()
        numbers |= {f"layer{layer}/expert{expert}": share for expert, share in enumerate(shares_E.tolist())}
        numbers[f"layer{layer}/entropy_nats"] = torch.special.entr(shares_E).sum().item()
    return numbers


def _rows(tokens: EvaluationTokens, length: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets, [B, T] each; the last row is filled up with targets that are IGNORED."""
    tokens_N = torch.from_numpy(tokens.tokens_N[:].astype(np.int64))
    targets_N = tokens_N[1:]
    if tokens.loss_mask_N is not None:
        counted_N = torch.from_numpy(tokens.loss_mask_N[1:].astype(np.bool_))
        targets_N = targets_N.where(counted_N, IGNORED)
    fill = (0, -len(targets_N) % length)
    inputs_N = torch.nn.functional.pad(tokens_N[:-1], fill)
    targets_N = torch.nn.functional.pad(targets_N, fill, value=IGNORED)
    return inputs_N.view(-1, length), targets_N.view(-1, length)
