"""A pack: weights and optimizer of proxies that train side by side, one step at a time; one alone is a pack of one.

Every member has its own first weights, rows and learning rate, and learns what it would learn alone: no sum runs over
members. On a GPU their products are batched; on a CPU a pack gains nothing, and each proxy trains alone on its core.

M members, B rows of each, T positions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from proxies import compilation, device
from proxies.models.cross_entropy import IGNORED
from proxies.models.transformer import Losses, Transformer
from proxies.optimizer import adamw
from proxies.recipe import Recipe


def _training_losses(
    model: Transformer, inputs_MBT: Tensor, targets_MBT: Tensor, balance_loss: float, router_z_loss: float
) -> tuple[Tensor, Tensor, Losses]:
    """What is minimised, a sum over members; each member's nats per token; and the parts of both."""
    losses = model(inputs_MBT, targets_MBT)
    mean_M = losses.nats_M / (targets_MBT != IGNORED).sum(dim=(1, 2)).clamp(min=1)
    routing_M = (balance_loss * losses.balance_loss_ML + router_z_loss * losses.z_loss_ML).sum(dim=1)
    return (mean_M + routing_M).sum(), mean_M, losses


def _evaluation_losses(model: Transformer, inputs_MBT: Tensor, targets_MBT: Tensor) -> Losses:
    losses: Losses = model(inputs_MBT, targets_MBT)
    return losses


class Pack:
    """
    Args:
        seeds: of each member's first weights.

    Attributes:
        compiled: whether its steps are; asked for by the recipe, and possible here.
        losses: those of the last step's batch.
        gradient_norm_M: before clipping, at the last step.
    """

    def __init__(self, recipe: Recipe, seeds: Sequence[int]) -> None:
        self.recipe = recipe
        self.compiled = recipe.compiled and compilation.missing(recipe) is None
        self._training_losses, self._evaluation_losses = _training_losses, _evaluation_losses
        if self.compiled:
            self._training_losses = compilation.compiled(_training_losses, recipe.device)
            self._evaluation_losses = compilation.compiled(_evaluation_losses, recipe.device)
        generators = [_generator(seed) for seed in seeds]
        dtype = device.DTYPES[recipe.precision]
        self._model = Transformer(recipe.model, generators, dtype).to(recipe.device)
        # Each member's weights are a view of the pack's: the optimizer, and checkpoints, know only single models.
        self._members = [
            {name: weight.detach()[member] for name, weight in self._model.named_parameters()}
            for member in range(len(seeds))
        ]
        self._optimizer = adamw(self._members, recipe)

    def __len__(self) -> int:
        return len(self._members)

    def compile(self) -> None:
        """Compile its step and its evaluation now, or find what an earlier process compiled."""
        if not self.compiled:
            return
        shape = (len(self), self.recipe.batch_rows, self.recipe.model.sequence_length)
        inputs_MBT = torch.zeros(shape, dtype=torch.int64, device=self.recipe.device)
        targets_MBT = inputs_MBT.clone()  # the same tensor twice would be compiled as such
        with compilation.compiling(f"{torch.__version__} {self.recipe.model} {self.recipe.precision} {shape}"):
            self._backward(inputs_MBT, targets_MBT)
            self.evaluated(inputs_MBT, targets_MBT)
        self._model.zero_grad()

    def step(self, inputs_MBT: Tensor, targets_MBT: Tensor, learning_rates: Sequence[float]) -> Tensor:
        """Take one step; returns each member's mean nats per token before it, [M], on the device."""
        mean_M = self._backward(inputs_MBT, targets_MBT)
        norms = []
        for member, weights in enumerate(self._members):
            for name, whole in self._model.named_parameters():
                assert whole.grad is not None, name
                weights[name].grad = whole.grad[member]
            norms.append(torch.nn.utils.clip_grad_norm_(weights.values(), self.recipe.clip))
        self.gradient_norm_M = torch.stack(norms)
        for member, learning_rate in enumerate(learning_rates):
            for group in self._optimizer.param_groups[2 * member : 2 * member + 2]:
                group["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._model.zero_grad()
        return mean_M

    def _backward(self, inputs_MBT: Tensor, targets_MBT: Tensor) -> Tensor:
        loss, mean_M, losses = self._training_losses(
            self._model, inputs_MBT, targets_MBT, self.recipe.balance_loss, self.recipe.router_z_loss
        )
        torch.autograd.backward(loss)
        # A CUDA graph writes its next results where these lie.
        self.losses = Losses(*(part.detach().clone() for part in losses))
        return mean_M.detach().clone()

    @torch.no_grad()
    def evaluated(self, inputs_MBT: Tensor, targets_MBT: Tensor) -> Losses:
        """Each member's losses on a batch, which teach it nothing."""
        return Losses(*(part.clone() for part in self._evaluation_losses(self._model, inputs_MBT, targets_MBT)))

    def state(self, member: int) -> dict[str, Any]:
        """One member's weights and moments, as it would have them alone."""
        weights = self._members[member]
        return {
            "weights": {name: weight.clone() for name, weight in weights.items()},
            "moments": {name: dict(self._optimizer.state[weight]) for name, weight in weights.items()},
        }

    def restore(self, member: int, state: dict[str, Any]) -> None:
        for name, weight in self._members[member].items():
            weight.copy_(state["weights"][name])
            self._optimizer.state[weight] = {key: value.to(weight) for key, value in state["moments"][name].items()}


def _generator(seed: int) -> torch.Generator:
    digest = hashlib.sha256(f"first weights {seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8]))
