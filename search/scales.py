"""At what scale runs were trained, and an answer is wanted: parameters, tokens, and epochs of each domain.

A share says how much of a run's tokens a domain gave. What it did for the loss depends on how much that was, on how
often it repeats what the domain has, and on how large the model is; all three are known of every fidelity, and of the
final run that the answer is for.

Shapes: L fidelities, D domains, K axes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from search.errors import SearchError

# Fidelities that differ by a smaller factor along an axis say nothing of what growth does.
LEAST_FACTOR = 1.25
# Beyond so many times the span of the fidelities a prediction is bold, and refused.
BOLD, REFUSED = 1.5, 5.0


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
        stable_L: which fidelities are points of longer runs, measured before the learning rate fell.
    """

    params_L: Float[np.ndarray, " L"]
    tokens_L: Float[np.ndarray, " L"]
    repeats_LD: Float[np.ndarray, "L D"]
    goal_params: float
    goal_tokens: float
    goal_repeats_D: Float[np.ndarray, " D"]
    stable_L: Bool[np.ndarray, " L"] | None = None

    def at(self, fidelities: Int[np.ndarray, " K"]) -> Scales:
        """Of these fidelities alone."""
        return replace(
            self,
            params_L=self.params_L[fidelities],
            tokens_L=self.tokens_L[fidelities],
            repeats_LD=self.repeats_LD[fidelities],
            stable_L=None if self.stable_L is None else self.stable_L[fidelities],
        )

    @property
    def has_goal(self) -> bool:
        """Whether predictions are for another scale than that of the last fidelity."""
        ends = [(self.goal_params, self.params_L[-1]), (self.goal_tokens, self.tokens_L[-1])]
        return any(np.isfinite(goal) and not np.isclose(goal, last) for goal, last in ends)

    @cached_property
    def axes(self) -> Axes:
        """Along what the fidelities tell what growth does.

        Where only tokens are known of the goal, they stand for the growth of all: parameters are an axis of their own
        only where fidelities have them alone to differ by, and the goal then has the most of them that were trained.
        """
        found = {}
        if _differ(self.tokens_L) and np.isfinite(self.goal_tokens):
            found["tokens"] = (self.tokens_L, self.goal_tokens)
        if _differ(self.params_L):
            if np.isfinite(self.goal_params):
                found["params"] = (self.params_L, self.goal_params)
            elif not found:
                found["params"] = (self.params_L, float(self.params_L.max()))
        if not found:
            none = np.zeros(0)
            return Axes((), none, none, np.zeros((len(self.params_L), 0)), none)
        logs_LK = np.log(np.column_stack([scale_L for scale_L, _ in found.values()]))
        top_K = logs_LK.max(axis=0)
        span_K = top_K - logs_LK.min(axis=0)
        goal_K = (np.log([goal for _, goal in found.values()]) - top_K) / span_K
        return Axes(tuple(found), top_K, span_K, (logs_LK - top_K) / span_K, goal_K)

    @property
    def refusal(self) -> str | None:
        """Why the scale of the goal is out of reach of these fidelities; None where it is not."""
        if not self.has_goal:
            return None
        if not self.axes.names:
            one = "one scale" if len(self.params_L) == 1 else "scales whose parameters and tokens are not known apart"
            return f"the runs are of {one}: what growth does shows in two or more"
        if np.allclose(self.axes.goal_K, 0):
            return f"the runs differ in {self.axes.names[0]} alone, and of those the goal says nothing new"
        far = self.axes.farthest
        if far is None or far[1] <= REFUSED:
            return None
        return (
            f"the goal's {far[0]} are {far[2]:.3g} times the largest trained, {far[1]:.1f} times as far, in "
            f"logarithms, as the fidelities are apart, and no prediction is ventured beyond {REFUSED:g}"
        )

    @property
    def cautions(self) -> tuple[str, ...]:
        """What to be careful about in predictions for the goal, a sentence each."""
        if not self.has_goal or self.refusal is not None:
            return ()
        found, far = [], self.axes.farthest
        if far is not None and far[1] > BOLD:
            found.append(
                f"the goal's {far[0]} are {far[2]:.3g} times the largest trained, {far[1]:.1f} times as far, in "
                "logarithms, as the fidelities are apart: what is predicted there is bold"
            )
        if "params" not in self.axes.names and np.isfinite(self.goal_params):
            found.append("all runs are of one size, or of sizes that are not known: what parameters do is left out")
        if "tokens" not in self.axes.names and not np.allclose(self.tokens_L, self.goal_tokens):
            found.append("all runs saw the same tokens, or how many is not known: what more tokens do is left out")
        return tuple(found)


@dataclass(frozen=True, eq=False)
class Axes:
    """Where fidelities are along the axes, in spans: 0 the largest that was trained, -1 the smallest.

    Attributes:
        names: of "tokens", "params".
        top_K, span_K: logarithms of the largest, and of how many times the smallest it is.
    """

    names: tuple[str, ...]
    top_K: Float[np.ndarray, " K"]
    span_K: Float[np.ndarray, " K"]
    place_LK: Float[np.ndarray, "L K"]
    goal_K: Float[np.ndarray, " K"]

    @property
    def farthest(self) -> tuple[str, float, float] | None:
        """The axis on which the goal is farthest beyond, by how many spans, and how many times the largest it is."""
        if not self.names or self.goal_K.max() <= 0:
            return None
        axis = int(self.goal_K.argmax())
        return self.names[axis], float(self.goal_K[axis]), float(np.exp(self.goal_K[axis] * self.span_K[axis]))


def _differ(scale_L: Float[np.ndarray, " L"]) -> bool:
    return bool(np.isfinite(scale_L).all() and scale_L.max() >= LEAST_FACTOR * scale_L.min())
