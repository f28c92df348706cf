"""The losses of a member of a pack on evaluation sets, in nats per token and bits per byte.

A set is cut into rows of the model's length: every token is predicted once, from those before it in its row,
and counted where its loss mask is 1. The first token of the set has nothing before it and is not predicted. Where a
set's documents are divided into groups, what each group costs is told as well; the sums of all are the set's.

N tokens, X batches of B rows, S sets, T positions, G groups of documents, L expert layers, E experts.
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
from proxies.pack import Pack
from proxies.recipe import Recipe
from proxies.targets import IGNORED


class EvaluationTokens(Protocol):
    @property
    def tokens_N(self) -> NDArray[Any]: ...

    @property
    def loss_mask_N(self) -> NDArray[Any] | None:
        """1 where a token's loss counts; None where every token's does."""

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of the text whose tokens carry loss."""

    @property
    def group_N(self) -> NDArray[np.int64] | None:
        """The group of documents that each token is in, from 0 on; None where the set is not divided."""

    @property
    def bytes_G(self) -> Sequence[int]:
        """`bytes` of each group; empty where the set is not divided."""


@dataclass(frozen=True)
class EvaluationLoss:
    nats_per_token: float
    bits_per_byte: float


@dataclass(frozen=True)
class GroupLosses:
    """Of each group of a set's documents: summed nats, predicted tokens, UTF-8 bytes of their text."""

    nats_G: tuple[float, ...]
    tokens_G: tuple[int, ...]
    bytes_G: tuple[int, ...]


@dataclass(frozen=True)
class Evaluation:
    """What one member measured.

    Attributes:
        losses: by evaluation set.
        groups: of those sets whose documents are divided.
        routing: of each set and expert layer, by name, the share of its choices that each expert got, and the
            entropy of these shares.
    """

    losses: Mapping[str, EvaluationLoss]
    groups: Mapping[str, GroupLosses]
    routing: Mapping[str, float]


class EvaluationSet:
    """One set as batches on the recipe's device, made once for all evaluations of a run.

    Args:
        batch_rows: rows that pass through the model at once.

    Raises:
        ProxyError: the set has no token to predict.
    """

    def __init__(self, tokens: EvaluationTokens, recipe: Recipe, batch_rows: int) -> None:
        inputs_BT, targets_BT = _rows(tokens, recipe.model.sequence_length, batch_rows)
        self.predicted = int((targets_BT != IGNORED).sum())
        if not self.predicted or not tokens.bytes:
            raise ProxyError(
                f"an evaluation set of {len(tokens.tokens_N)} tokens leaves none to predict",
                hint="give it more text, or a loss mask that is not all 0",
            )
        self.bytes = tokens.bytes
        self.bytes_G = tuple(tokens.bytes_G)
        # All batches have one shape: a second one would be compiled for itself.
        shape = (-1, batch_rows, recipe.model.sequence_length)
        self.inputs_XBT = inputs_BT.to(recipe.device).view(shape)
        self.targets_XBT = targets_BT.to(recipe.device).view(shape)
        group_BT = _groups(tokens, targets_BT)
        self.tokens_G = tuple(np.bincount(group_BT[targets_BT != IGNORED], minlength=len(self.bytes_G)).tolist())
        self.group_XBT = group_BT.to(recipe.device).view(shape)

    def summed(self, nats_BT: Tensor, batch: int) -> Tensor:
        """The nats of a batch by group, [G]; the whole batch is one where the set is not divided."""
        nats_N = nats_BT.flatten().double()
        if not self.bytes_G:
            return nats_N.sum().unsqueeze(0)
        # A product, because a GPU that adds where an index says does so in any order.
        groups_G = torch.arange(len(self.bytes_G), device=nats_N.device)
        return nats_N @ (self.group_XBT[batch].flatten().unsqueeze(1) == groups_G).double()

    def groups(self, nats_G: Sequence[float]) -> GroupLosses | None:
        """Of the member whose nats these are; None where the set is not divided."""
        if not self.bytes_G:
            return None
        return GroupLosses(tuple(nats_G), self.tokens_G, self.bytes_G)


def evaluate(pack: Pack, slot: int, sets: Mapping[str, EvaluationSet]) -> Evaluation:
    """Measure the member in this slot on all sets; the device is waited for only at the end."""
    totals = []
    for evaluation_set in sets.values():
        batches = pack.evaluated(slot, evaluation_set.inputs_XBT, evaluation_set.targets_XBT)
        nats_XG = torch.stack([evaluation_set.summed(losses.nats_BT, at) for at, losses in enumerate(batches)])
        totals.append((nats_XG.sum(dim=0), torch.stack([losses.load_LE for losses in batches]).sum(dim=0)))
    nats_SG = [nats_G.tolist() for nats_G, _ in totals]
    load_SLE = torch.stack([load_LE for _, load_LE in totals]).cpu()

    losses: dict[str, EvaluationLoss] = {}
    groups: dict[str, GroupLosses] = {}
    routing: dict[str, float] = {}
    for (name, evaluation_set), nats_G, load_LE in zip(sets.items(), nats_SG, load_SLE, strict=True):
        nats = math.fsum(nats_G)
        if (of_groups := evaluation_set.groups(nats_G)) is not None:
            groups[name] = of_groups
        losses[name] = EvaluationLoss(nats / evaluation_set.predicted, nats / math.log(2) / evaluation_set.bytes)
        shares = _routing(load_LE, pack.recipe.model.expert_layers)
        routing |= {f"routing/{name}/{key}": value for key, value in shares.items()}
    return Evaluation(losses, groups, routing)


def _routing(load_LE: Tensor, layers: Sequence[int]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for layer, load_E in zip(layers, load_LE, strict=True):
        shares_E = load_E / load_E.sum()
        numbers |= {f"layer{layer}/expert{expert}": share for expert, share in enumerate(shares_E.tolist())}
        numbers[f"layer{layer}/entropy_nats"] = torch.special.entr(shares_E).sum().item()
    return numbers


def _rows(tokens: EvaluationTokens, length: int, batch_rows: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets, [rows, T] each, in whole batches; what fills the last one up has targets that are IGNORED."""
    tokens_N = torch.from_numpy(tokens.tokens_N[:].astype(np.int64))
    targets_N = tokens_N[1:]
    if tokens.loss_mask_N is not None:
        counted_N = torch.from_numpy(tokens.loss_mask_N[1:].astype(np.bool_))
        targets_N = targets_N.where(counted_N, IGNORED)
    fill = (0, -len(targets_N) % (length * batch_rows))
    inputs_N = torch.nn.functional.pad(tokens_N[:-1], fill)
    targets_N = torch.nn.functional.pad(targets_N, fill, value=IGNORED)
    return inputs_N.view(-1, length), targets_N.view(-1, length)


def _groups(tokens: EvaluationTokens, targets_BT: Tensor) -> Tensor:
    """The group of each target, as they lie in the rows; what fills the last batch up is in the first."""
    group_BT = torch.zeros_like(targets_BT)
    if tokens.group_N is not None:
        group_BT.view(-1)[: len(tokens.group_N) - 1] = torch.from_numpy(tokens.group_N[1:])
    return group_BT
