"""At what scale runs were trained, and an answer is wanted: parameters, tokens, and epochs of each domain.

A share says how much of a run's tokens a domain gave. What it did for the loss depends on how much that was, on how
often it repeats what the domain has, and on how large the model is; all three are known of every fidelity, and of the
final run that the answer is for.

Shapes: L fidelities, D domains.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from search.errors import SearchError


@dataclass(frozen=True, eq=False)
class Goal:
    """The run that an answer is for, which is never one of the search's own.

    Attributes:
        params: its parameters, embeddings left out; None where only its tokens are known.
        tokens: its training tokens.
        supply_D: tokens that each domain has for it; None where that is not known.
    """

    params: float | None
    tokens: float
    supply_D: Float[np.ndarray, " D"] | None = None

    def __post_init__(self) -> None:
        if self.tokens <= 0 or (self.params is not None and self.params <= 0):
            raise SearchError(f"a final run of {self.params} parameters and {self.tokens:g} tokens: give more than 0")


@dataclass(frozen=True, eq=False)
class Scales:
    """
    Attributes:
        params_L, tokens_L: of a run at each fidelity; NaN where it is not known.
        repeats_LD: how many epochs of a domain a run of that domain alone makes, so that epochs are repeats times
            shares; NaN where its tokens are not known.
        goal_params, goal_tokens, goal_repeats_D: the same of what predictions are for; of the last fidelity, unless
            there is a further goal.
    """

    params_L: Float[np.ndarray, " L"]
    tokens_L: Float[np.ndarray, " L"]
    repeats_LD: Float[np.ndarray, "L D"]
    goal_params: float
    goal_tokens: float
    goal_repeats_D: Float[np.ndarray, " D"]

    def at(self, fidelities: Int[np.ndarray, " K"]) -> Scales:
        """Of these fidelities alone."""
        return replace(
            self,
            params_L=self.params_L[fidelities],
            tokens_L=self.tokens_L[fidelities],
            repeats_LD=self.repeats_LD[fidelities],
        )
