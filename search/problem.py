"""The question of a study: which mixture of this space is best at the last rung's fidelity?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from search.errors import SearchError
from search.fidelity import Fidelity
from search.frozen_space import FrozenSpace
from search.graded_space import GradedSpace
from search.history import History
from search.mixture import Mixture
from search.objective import BEHIND, Objective
from search.runs import Runs
from search.scales import Goal
from search.seeds import SEARCH_SEED
from search.space import Space
from search.trial import Trial

# What every answer is compared with: to change nothing.
PROPORTIONAL = "proportional"
# Before a baseline's name, in the origin of its trials and in the label of what was confirmed.
BASELINE = "baseline:"


@dataclass(frozen=True)
class Rung:
    """The first `trials` mixtures of the design are trained at this fidelity, so rungs share mixtures.

    Attributes:
        supply: tokens of each domain, in the order of the space's, that its runs draw from; None where it is not known.
    """

    fidelity: Fidelity
    trials: int
    supply: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.trials < 0:
            raise SearchError(f"proxy {self.fidelity.proxy}: {self.trials} trials", hint="ask for 0 or more")


@dataclass(frozen=True)
class Standing:
    """Where a measured trial stands among the others of its fidelity.

    Attributes:
        objective: what is minimised.
        order: what trials are sorted by: the objective; behind all others those that break a constraint.
    """

    objective: float
    order: float

    @property
    def allowed(self) -> bool:
        """Whether it breaks no constraint, as it was measured."""
        return self.order < BEHIND


@dataclass(frozen=True)
class Problem:
    """What a strategy is given once. Baselines and pool come in any order of domains, and are put in the space's.

    Attributes:
        rungs: the last is the fidelity that the answer is for.
        baselines: feasible mixtures that are trained at every rung, "proportional" among them; in a pool, members of
            the target's, and none is needed but the objective's.
        seed: of everything random in the search.
        earlier: runs from before the study that count as evidence, over the same domains (see search.reuse).
        kept: domains whose relative weights the search leaves as they are, and these (see search.frozen_space).
        goal: the final run, where it is known.
        levels: domains that are told of together as well, by the name of their level.
        grades: by pool, domains that are grades of its quality, best first: no mixture that is chosen reads one of them
            more often than a better one (see search.graded_space).
        pool: the only mixtures that can be trained, by proxy, as when finished runs are replayed (see search.replay);
            None: the whole space.

    Raises:
        SearchError: no rung, a baseline that is missing or infeasible, relative weights that cannot be kept, or grades
            that cannot be in order.
    """

    space: Space
    rungs: tuple[Rung, ...]
    objective: Objective
    baselines: Mapping[str, Mixture]
    seed: int
    earlier: Runs | None = None
    kept: Mixture | None = None
    pool: Mapping[str, tuple[Mixture, ...]] | None = None
    goal: Goal | None = None
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    grades: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.rungs:
            raise SearchError("no proxy to train", hint="name at least one in proxies")
        needed = () if self.pool is not None else (PROPORTIONAL,)
        for name in filter(None, (*needed, self.objective.baseline)):
            if name not in self.baselines:
                raise SearchError(
                    f"there is no baseline {name!r} to compare with", hint=f"add {name} to the study's baselines"
                )
        domains = self.space.domains
        object.__setattr__(
            self, "baselines", {name: mixture.reordered(domains) for name, mixture in self.baselines.items()}
        )
        if self.pool is not None:
            pool = {proxy: tuple(each.reordered(domains) for each in found) for proxy, found in self.pool.items()}
            object.__setattr__(self, "pool", pool)
        for name, mixture in self.baselines.items():
            violations = self.space.violations(mixture)
            if violations:
                raise SearchError(f"baseline {name} is not feasible: {violations[0]}", hint="project it into the space")
        if self.kept is not None and self.grades:
            raise SearchError(
                "some domains keep their relative weights (reuse.keep), and levels of quality their order",
                hint="remove reuse.keep, or let the levels be searched as cells (quality.search)",
            )
        # Made now, so that relative weights that cannot be kept, or an order, are refused with the reason.
        _ = self.frozen, self.graded

    @cached_property
    def frozen(self) -> FrozenSpace | None:
        """The space in which the kept domains keep their relative weights, if some do."""
        return None if self.kept is None else FrozenSpace(self.space, self.kept)

    @cached_property
    def graded(self) -> GradedSpace | None:
        """The space in which grades keep their order, if there are some."""
        return GradedSpace(self.space, self.grades) if self.grades else None

    def feasible(self, weights_ND: Float[np.ndarray, "N D"]) -> Bool[np.ndarray, " N"]:
        """Which mixtures are in the space, and have the relative weights or the order that are kept, [N]."""
        if self.graded is not None:
            return self.graded.feasible(weights_ND)
        feasible_N = self.space.feasible(weights_ND)
        return feasible_N if self.frozen is None else feasible_N & self.frozen.keeps(weights_ND)

    @property
    def target(self) -> Fidelity:
        return self.rungs[-1].fidelity

    @property
    def baseline_trials(self) -> tuple[Trial, ...]:
        """The baselines at every rung, in a pool at the target alone.

        The target's first: a search that a budget ends early then has something to answer with.
        """
        rungs = self.rungs if self.pool is None else self.rungs[-1:]
        return tuple(
            Trial(mixture, rung.fidelity, SEARCH_SEED, BASELINE + name)
            for rung in reversed(rungs)
            for name, mixture in self.baselines.items()
        )

    def objective_of(self, trial: Trial, history: History) -> float | None:
        """The objective that a trial reached; None without its measurement, or that of the baseline it is judged by."""
        standing = self.standing(trial, history)
        return None if standing is None else standing.objective

    def value_of(self, mixture: Mixture, fidelity: Fidelity, seed: int, history: History) -> float | None:
        """As `objective_of`, of the trial with this mixture, fidelity and seed."""
        return self.objective_of(Trial(mixture, fidelity, seed), history)

    def standing(self, trial: Trial, history: History) -> Standing | None:
        """As `objective_of`, and whether the trial may be the best."""
        name = self.objective.baseline
        return standing_of(self.objective, None if name is None else self.baselines[name], trial, history)


def standing_of(objective: Objective, baseline: Mixture | None, trial: Trial, history: History) -> Standing | None:
    """Where a trial stands; None without its measurement, or that of the baseline it is judged by.

    Args:
        baseline: the mixture that the objective is measured against, if it is; None where that is not known.
    """
    measurement = history.measured(trial.mixture, trial.fidelity, trial.seed)
    if measurement is None:
        return None
    baseline_M = None
    if objective.baseline is not None:
        against = None if baseline is None else history.measured(baseline, trial.fidelity, trial.seed)
        if against is None:
            return None
        baseline_M = objective.losses(against)
    values_1M = objective.losses(measurement)[None]
    return Standing(float(objective.value(values_1M, baseline_M)[0]), float(objective.order(values_1M, baseline_M)[0]))
