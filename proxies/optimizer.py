"""AdamW (1711.05101), fused into one kernel, with weight decay on the matrices that multiply, not on the embedding.

torch's own class for it would load torch's compiler, which takes longer than loading torch.

M members: each has its own learning rate and number of steps, for one may have gone on from a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from proxies.recipe import Recipe

# Rows of rare tokens get few gradients: decay would only shrink them.
UNDECAYED = "embedding_MVD"
EPSILON = 1e-8


class MembersAdamW:
    """
    Args:
        weights: by name, each with a leading axis of members.
    """

    def __init__(self, weights: Mapping[str, Tensor], recipe: Recipe) -> None:
        self._recipe = recipe
        self._weights = {name: weight.detach() for name, weight in weights.items()}
        self._first = {name: torch.zeros_like(weight) for name, weight in self._weights.items()}
        self._second = {name: torch.zeros_like(weight) for name, weight in self._weights.items()}
        self._steps = [0] * len(next(iter(self._weights.values())))

    def step(self, gradients: Mapping[str, Tensor], learning_rates: Sequence[float]) -> None:
        """Update all members but those with a rate of 0. Members whose rates and steps are equal, in most steps all of
        them, are updated together."""
        moving = [member for member, rate in enumerate(learning_rates) if rate > 0]
        for member in moving:
            self._steps[member] += 1

        def alike(member: int) -> tuple[float, int]:
            return learning_rates[member], self._steps[member]

        for (rate, step), members in groupby(sorted(moving, key=alike), key=alike):
            self._update(gradients, list(members), rate, step)

    def _update(self, gradients: Mapping[str, Tensor], members: Sequence[int], rate: float, step: int) -> None:
        for names, decay in (
            ([name for name in self._weights if name != UNDECAYED], self._recipe.weight_decay),
            ([UNDECAYED] if UNDECAYED in self._weights else [], 0.0),
        ):
            weights = self._of(self._weights, names, members)
            if not weights:
                continue
            torch._fused_adamw_(
                weights,
                self._of(gradients, names, members),
                self._of(self._first, names, members),
                self._of(self._second, names, members),
                [],
                [torch.tensor(float(step), device=weight.device) for weight in weights],
                lr=rate,
                beta1=self._recipe.betas[0],
                beta2=self._recipe.betas[1],
                weight_decay=decay,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )

    def _of(self, tensors: Mapping[str, Tensor], names: Sequence[str], members: Sequence[int]) -> list[Tensor]:
        if len(members) == len(self._steps):
            return [tensors[name] for name in names]
        return [tensors[name][member] for member in members for name in names]

    def state(self, member: int) -> dict[str, Any]:
        """A member's moments and steps, as it would have them alone."""
        return {
            name: {
                "step": torch.tensor(float(self._steps[member])),
                "exp_avg": self._first[name][member].clone(),
                "exp_avg_sq": self._second[name][member].clone(),
            }
            for name in self._weights
        }

    def restore(self, member: int, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        for name, moments in state.items():
            self._first[name][member].copy_(moments["exp_avg"])
            self._second[name][member].copy_(moments["exp_avg_sq"])
            self._steps[member] = int(moments["step"])
