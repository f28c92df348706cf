"""What is known to be sensible before any run: the mixtures that a design starts from.

Shapes: K anchors, D domains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from search.designs.dirichlet import tempered
from search.mixture import Mixture
from search.objective import Objective
from search.space import Space


@dataclass(frozen=True, eq=False)
class Anchors:
    """
    Attributes:
        weights_KD: feasible mixtures, at least one.
        needed_D: the domains whose own evaluation set counts in the objective: to leave one out is to lose it.
    """

    weights_KD: Float[np.ndarray, "K D"]
    needed_D: Bool[np.ndarray, " D"]

    @classmethod
    def of(cls, space: Space, objective: Objective, baselines: Mapping[str, Mixture]) -> Anchors:
        """The baselines, uniform and tempered among them, and the mixture that is matched to the objective.

        An evaluation set with the name of a domain is taken to be text of that domain, as in a study. Where some
        count, the matched mixture gives each domain the share that its own set has among them: uniform for the mean
        over all, a corner for a single one; half way between that and uniform is an anchor, too.
        """
        emphasis = dict(zip(objective.metrics, objective.emphasis_M, strict=True))
        matched_D = np.array([emphasis.get(name, 0.0) for name in space.domains])
        pure = [tempered(space, 0.0), tempered(space, 0.5)]
        if matched_D.any():
            matched_D /= matched_D.sum()
            pure += [matched_D, (matched_D + pure[0]) / 2]
        found = [mixture.reordered(space.domains).array for mixture in baselines.values()]
        found += [
            weights_D if space.feasible(weights_D[None])[0] else space.project(weights_D).array for weights_D in pure
        ]
        weights_KD: Float[np.ndarray, "K D"] = np.unique(np.round(found, 12), axis=0)
        return cls(weights_KD / weights_KD.sum(axis=1, keepdims=True), matched_D > 0)
