"""AdamW, fused into one kernel, with weight decay on the matrices that multiply, not on the embedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from proxies.recipe import Recipe

# Rows of rare tokens get few gradients: decay would only shrink them.
UNDECAYED = "embedding_MVD"


class MembersAdamW(torch.optim.AdamW):
    """Each member of a pack with a learning rate of its own.

    Members whose rates are equal, in most steps all of them, are updated together.

    Args:
        members: each one's weights by name.
    """

    def __init__(self, members: Sequence[Mapping[str, Tensor]], recipe: Recipe) -> None:
        self._members, self._recipe = members, recipe
        self._grouped: list[list[int]] = [list(range(len(members)))]
        super().__init__(self._groups(), lr=recipe.learning_rate, betas=recipe.betas, fused=True)

    def step(self, learning_rates: Sequence[float]) -> None:  # type: ignore[override]
        """Update all members but those with a rate of 0, and forget the gradients."""
        by_rate: dict[float, list[int]] = {}
        for member, rate in enumerate(learning_rates):
            if rate > 0:
                by_rate.setdefault(rate, []).append(member)
        if (grouped := list(by_rate.values())) != self._grouped:
            self._grouped = grouped
            self.param_groups.clear()
            for group in self._groups():
                self.add_param_group(group)
        for rate, groups in zip(
            by_rate, zip(self.param_groups[::2], self.param_groups[1::2], strict=True), strict=True
        ):
            for group in groups:
                group["lr"] = rate
        super().step()
        for weights in self._members:
            for weight in weights.values():
                weight.grad = None

    def _groups(self) -> list[dict[str, object]]:
        """Two groups for each rate: what decays, and what does not."""
        groups: list[dict[str, object]] = []
        for indices in self._grouped:
            weights = [item for member in indices for item in self._members[member].items()]
            decayed = [weight for name, weight in weights if name != UNDECAYED]
            groups.append({"params": decayed, "weight_decay": self._recipe.weight_decay})
            groups.append({"params": [weight for name, weight in weights if name == UNDECAYED], "weight_decay": 0.0})
        return groups
