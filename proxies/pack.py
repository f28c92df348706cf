"""A pack: weights and optimizer of proxies that train side by side, one step at a time; one alone is a pack of one.

Every member has its own first weights, rows and learning rate, and learns what it would learn alone: no sum runs over
members. On a GPU their products are batched; on a CPU a pack gains nothing, and each proxy trains alone on its core.

M members, B rows of each, T positions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from proxies import compilation, device
from proxies.errors import ProxyError
from proxies.models.transformer import Losses, TokenLosses, Transformer
from proxies.optimizer import MembersAdamW
from proxies.recipe import Recipe
from proxies.targets import IGNORED

# PyTorch's grouped product on Hopper takes fewer than 1024 groups.
MOST_GROUPS = 1023


def _training_losses(
    model: Transformer, inputs_MBT: Tensor, targets_MBT: Tensor, balance_loss: float, router_z_loss: float
) -> tuple[Tensor, Tensor, Losses]:
    """What is minimised, a sum over members; each member's nats per token; and the parts of both."""
    losses = model(inputs_MBT, targets_MBT)
    mean_M = losses.nats_M / (targets_MBT != IGNORED).sum(dim=(1, 2)).clamp(min=1)
    routing_M = (balance_loss * losses.balance_loss_ML + router_z_loss * losses.z_loss_ML).sum(dim=1)
    return (mean_M + routing_M).sum(), mean_M, losses


def _evaluation_losses(model: Transformer, inputs_MBT: Tensor, targets_MBT: Tensor) -> TokenLosses:
    return model.token_losses(inputs_MBT, targets_MBT)


class Pack:
    """
    Args:
        seeds: of each member's first weights.

    Attributes:
        not_compiled: why its steps are not compiled; None once they are.
        losses: those of the last step's batch.
        gradient_norm_M: before clipping, at the last step.

    Raises:
        ProxyError: a GPU cannot multiply so many experts at once.
    """

    def __init__(self, recipe: Recipe, seeds: Sequence[int]) -> None:
        groups = len(seeds) * recipe.model.expert_count
        if recipe.device == "cuda" and groups > MOST_GROUPS:
            raise ProxyError(
                f"a pack of {len(seeds)} proxies of {recipe.model.expert_count} experts has {groups} experts",
                hint=f"a GPU multiplies {MOST_GROUPS} at once: let executor.pack be smaller",
            )
        self.recipe = recipe
        self.not_compiled: str | None = "not asked for"
        self._training_losses, self._evaluation_losses = _training_losses, _evaluation_losses
        generators = [_generator(seed) for seed in seeds]
        dtype = device.dtype_of(recipe.precision)
        self._model = Transformer(recipe.model, generators, dtype).to(recipe.device)
        self._weights = dict(self._model.named_parameters())
        # Each member's weights are a view of the pack's: the optimizer, and checkpoints, know only single models.
        self._views = [
            {name: weight.detach()[member] for name, weight in self._weights.items()} for member in range(len(seeds))
        ]
        self._optimizer = MembersAdamW(self._views, recipe)

    def __len__(self) -> int:
        return len(self._views)

    def compile(self) -> None:
        """Compile its step and its evaluation as its recipe asks, or find what an earlier process compiled.

        Where that fails it goes on without, see `not_compiled`.
        """
        if not self.recipe.compiled:
            return
        self.not_compiled = compilation.missing(self.recipe)
        if self.not_compiled is not None:
            return
        shape = (len(self), self.recipe.batch_rows, self.recipe.model.sequence_length)
        inputs_MBT = torch.zeros(shape, dtype=torch.int64, device=self.recipe.device)
        targets_MBT = inputs_MBT.clone()  # the same tensor twice would be compiled as such
        try:
            mode = compilation.mode(self.recipe)
            self._training_losses = compilation.compile_function(_training_losses, mode)
            self._evaluation_losses = compilation.compile_function(_evaluation_losses, mode)
            with compilation.compiling(f"{torch.__version__} {self.recipe.model} {self.recipe.precision} {shape}"):
                self._backward(inputs_MBT, targets_MBT)
                self.evaluated(inputs_MBT, targets_MBT)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            # A full disk, a compiler that breaks: whatever it was, the same steps run without being compiled.
            self.not_compiled = f"compiling failed: {next(iter(str(error).splitlines()), type(error).__name__)}"
            self._training_losses, self._evaluation_losses = _training_losses, _evaluation_losses
        self._model.zero_grad()

    def step(self, inputs_MBT: Tensor, targets_MBT: Tensor, learning_rates: Sequence[float]) -> Tensor:
        """Take one step; returns each member's mean nats per token before it, [M], on the device.

        Args:
            learning_rates: of each member; 0 leaves it as it is.
        """
        mean_M = self._backward(inputs_MBT, targets_MBT)
        self.gradient_norm_M = self._clip()
        for name, weight in self._weights.items():
            assert weight.grad is not None, name
            for views, gradient in zip(self._views, weight.grad, strict=True):
                views[name].grad = gradient
        self._optimizer.step(learning_rates)
        self._model.zero_grad()
        return mean_M

    def _clip(self) -> Tensor:
        """Scale each member's gradients down to the recipe's norm; returns their norms before, [M]."""
        gradients = [weight.grad for weight in self._weights.values() if weight.grad is not None]
        norms = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients]
        norm_M: Tensor = torch.linalg.vector_norm(torch.stack(norms), dim=0)
        factor_M = (self.recipe.clip / (norm_M + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor_M.view(-1, *[1] * (gradient.dim() - 1)))
        return norm_M

    def _backward(self, inputs_MBT: Tensor, targets_MBT: Tensor) -> Tensor:
        loss, mean_M, losses = self._training_losses(
            self._model, inputs_MBT, targets_MBT, self.recipe.balance_loss, self.recipe.router_z_loss
        )
        torch.autograd.backward(loss)
        # A CUDA graph writes its next results where these lie.
        self.losses = Losses(*(part.detach().clone() for part in losses))
        return mean_M.detach().clone()

    @torch.no_grad()
    def evaluated(self, inputs_MBT: Tensor, targets_MBT: Tensor) -> TokenLosses:
        """Each member's losses on a batch, which teach it nothing."""
        return TokenLosses(*(part.clone() for part in self._evaluation_losses(self._model, inputs_MBT, targets_MBT)))

    def weights(self, member: int) -> dict[str, Tensor]:
        """A copy of one member's weights."""
        # A view would be saved with all that it is a view of.
        return {name: weight.clone() for name, weight in self._views[member].items()}

    def state(self, member: int) -> dict[str, Any]:
        """One member's weights and moments, as it would have them alone."""
        weights = self._views[member]
        return {
            "weights": self.weights(member),
            "moments": {name: _copied(self._optimizer.state[weight], weight) for name, weight in weights.items()},
        }

    def restore(self, member: int, state: dict[str, Any]) -> None:
        for name, weight in self._views[member].items():
            weight.copy_(state["weights"][name])
            self._optimizer.state[weight] = _copied(state["moments"][name], weight)


def _copied(moments: Mapping[str, Tensor], weight: Tensor) -> dict[str, Tensor]:
    return {name: moment.to(weight.device, copy=True) for name, moment in moments.items()}


def _generator(seed: int) -> torch.Generator:
    digest = hashlib.sha256(f"first weights {seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8]))
