"""Mixtures that need no search: what an answer has to beat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from search.designs.dirichlet import tempered
from search.errors import SearchError
from search.mixture import Mixture
from search.space import Space

# UniMax's epochs where the space names none: up to four are nearly as good as new text (N. Muennighoff et al., "Scaling
# Data-Constrained Language Models", NeurIPS 2023).
EPOCHS = 4.0


def unimax(space: Space) -> Float[np.ndarray, " D"]:
    """As even as the supply allows: the smallest domains give their most epochs, the others share the rest evenly.

    H. W. Chung et al., "UniMax: Fairer and More Effective Language Sampling for Large-Scale Multilingual Pretraining",
    ICLR 2023, algorithm 1, with the budget in tokens; [D].
    """
    tokens_D = np.array([limit.tokens for limit in space.limits], dtype=np.float64)
    budget = float(space.target_tokens or tokens_D.sum())
    used_D = np.zeros_like(tokens_D)
    for rank, domain in enumerate(np.argsort(tokens_D, kind="stable")):
        most = (space.max_epochs_of(space.limits[domain]) or EPOCHS) * tokens_D[domain]
        used_D[domain] = min(budget / (len(tokens_D) - rank), most)
        budget -= used_D[domain]
    unimax_D: Float[np.ndarray, " D"] = used_D / used_D.sum()
    return unimax_D


# Name -> pure weights, [D], before the space has its say.
BASELINES: Mapping[str, Callable[[Space], Float[np.ndarray, " D"]]] = {
    "proportional": lambda space: tempered(space, 1.0),
    "uniform": lambda space: tempered(space, 0.0),
    "unimax": unimax,
    "temperature": lambda space: tempered(space, 0.5),
}


@dataclass(frozen=True)
class Baseline:
    """A baseline inside the space; `broken` says which constraints the pure one breaks, if any."""

    name: str
    mixture: Mixture
    broken: tuple[str, ...]


def baselines(space: Space, names: Iterable[str] = tuple(BASELINES)) -> tuple[Baseline, ...]:
    """The named baselines, each moved to the nearest feasible mixture."""
    return tuple(_baseline(space, name) for name in names)


def _baseline(space: Space, name: str) -> Baseline:
    if name not in BASELINES:
        raise SearchError(f"baseline {name!r} does not exist", hint=f"choose from {', '.join(BASELINES)}")
    pure = Mixture.from_array(space.domains, BASELINES[name](space))
    broken = tuple(space.violations(pure))
    return Baseline(name, space.project(pure.array) if broken else pure, broken)
