"""The question of a study: which mixture of this space is best at the last rung's fidelity?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from search.errors import SearchError
from search.fidelity import Fidelity
from search.mixture import Mixture
from search.objective import Objective
from search.space import Space

# What every answer is compared with: to change nothing.
REFERENCE = "proportional"

# The seed of every trial of the search; confirmation uses others.
SEARCH_SEED = 0


@dataclass(frozen=True)
class Rung:
    """The first `trials` mixtures of the design are trained at this fidelity, so rungs share mixtures."""

    fidelity: Fidelity
    trials: int

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise SearchError(
                f"proxy {self.fidelity.proxy}: {self.trials} trials", hint="ask for at least 1, or remove the proxy"
            )


@dataclass(frozen=True)
class Problem:
    """What a strategy is given once.

    Attributes:
        rungs: cheapest first; the last is the fidelity that the answer is for.
        baselines: feasible mixtures that are trained at every rung, "proportional" among them.
        seed: of everything random in the search.

    Raises:
        SearchError: rungs out of order, or a baseline that is missing or infeasible.
    """

    space: Space
    rungs: tuple[Rung, ...]
    objective: Objective
    baselines: Mapping[str, Mixture]
    seed: int

    def __post_init__(self) -> None:
        if not self.rungs:
            raise SearchError("no proxy to train", hint="name at least one in proxies")
        for cheap, dear in pairwise(self.rungs):
            if dear.fidelity.flops <= cheap.fidelity.flops:
                raise SearchError(
                    f"proxy {dear.fidelity.proxy} costs {dear.fidelity.flops:.3g} FLOPs a trial, "
                    f"no more than {cheap.fidelity.proxy} before it ({cheap.fidelity.flops:.3g})",
                    hint="order proxies from cheap to expensive",
                )
        for name in (REFERENCE, self.objective.baseline or REFERENCE):
            if name not in self.baselines:
                raise SearchError(
                    f"there is no baseline {name!r} to compare with", hint=f"add {name} to the study's baselines"
                )
        for name, mixture in self.baselines.items():
            violations = self.space.violations(mixture)
            if violations:
                raise SearchError(f"baseline {name} is not feasible: {violations[0]}", hint="project it into the space")

    @property
    def target(self) -> Fidelity:
        return self.rungs[-1].fidelity
