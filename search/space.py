"""A space: the feasible mixtures. Bounds, pins, groups of domains, and token supply times the most epochs.

All constraints are linear, so the space is a convex polytope: an average of feasible mixtures is feasible.

Shapes: D domains, G groups, N mixtures, R domains and groups, E equality constraints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from search.errors import SearchError
from search.mixture import ROUNDING, Mixture
from search.polytope import Polytope

# Shares this far outside a bound still keep it: one training token in a million.
TOLERANCE = ROUNDING
# Bounds that miss each other by less than the tolerance (three pins of .3333335) give way by half of it.
SLACK = TOLERANCE / 2


@dataclass(frozen=True)
class DomainLimits:
    """What one domain can give.

    Attributes:
        name: the domain's name in the study file.
        tokens: its supply, training tokens in one epoch.
        minimum: its smallest share of a mixture.
        maximum: its largest share; equal to `minimum`, the domain is pinned.
        max_epochs: how often it may be repeated within the space's `target_tokens`; None: as often as the space says.
    """

    name: str
    tokens: int
    minimum: float = 0.0
    maximum: float = 1.0
    max_epochs: float | None = None

    def __post_init__(self) -> None:
        if self.tokens <= 0:
            raise SearchError(
                f"domain {self.name}: a supply of {self.tokens} tokens", hint="remove it, or give it text"
            )
        if self.max_epochs is not None and not self.max_epochs > 0:
            raise SearchError(f"domain {self.name}: max_epochs is {self.max_epochs:g}, not above 0")
        _check_shares(f"domain {self.name}", self.minimum, self.maximum)


@dataclass(frozen=True)
class Group:
    """Bounds on the summed share of several domains."""

    name: str
    domains: tuple[str, ...]
    minimum: float = 0.0
    maximum: float = 1.0

    def __post_init__(self) -> None:
        if not self.domains or len(set(self.domains)) != len(self.domains):
            raise SearchError(f"group {self.name}: domains [{', '.join(self.domains)}] must be named, each once")
        _check_shares(f"group {self.name}", self.minimum, self.maximum)


@dataclass(frozen=True)
class Space:
    """The mixtures that a study may try, never none.

    Attributes:
        limits: one entry per domain; their order is the order of every `D` axis.
        groups: bounds on sums of domains; groups may overlap.
        target_tokens: the training tokens that the answer is for, or None where supply sets no limit.
        max_epochs: how often a domain that says nothing else may be repeated within `target_tokens`, or None.

    Raises:
        SearchError: the constraints leave no mixture.
    """

    limits: tuple[DomainLimits, ...]
    groups: tuple[Group, ...] = ()
    target_tokens: int | None = None
    max_epochs: float | None = None

    def __post_init__(self) -> None:
        self._check_words()
        self._check_domains()
        self._check_groups()
        # Found now, so that a space without a mixture is refused with the remaining reason.
        _ = self._extremes

    @cached_property
    def domains(self) -> tuple[str, ...]:
        return tuple(limit.name for limit in self.limits)

    @cached_property
    def natural(self) -> Mixture:
        """The mixture proportional to supply, feasible or not."""
        return Mixture.of({limit.name: float(limit.tokens) for limit in self.limits})

    @cached_property
    def max_epochs_D(self) -> Float[np.ndarray, " D"]:
        """How often each domain may be repeated within `target_tokens`; infinite where nothing says."""
        return np.array([self.max_epochs_of(limit) or np.inf for limit in self.limits], dtype=np.float64)

    @cached_property
    def supply_D(self) -> Float[np.ndarray, " D"]:
        """The largest share that the supply allows: max_epochs * tokens / target_tokens; infinite without either."""
        tokens_D = np.array([limit.tokens for limit in self.limits], dtype=np.float64)
        if self.target_tokens is None:
            return np.full_like(tokens_D, np.inf)
        supply_D: Float[np.ndarray, " D"] = self.max_epochs_D * tokens_D / self.target_tokens
        return supply_D

    @cached_property
    def lower_D(self) -> Float[np.ndarray, " D"]:
        return np.array([limit.minimum for limit in self.limits], dtype=np.float64)

    @cached_property
    def upper_D(self) -> Float[np.ndarray, " D"]:
        """The largest shares, by their limits and by supply."""
        maximum_D = np.array([limit.maximum for limit in self.limits], dtype=np.float64)
        return np.asarray(np.minimum(maximum_D, self.supply_D))

    @cached_property
    def group_GD(self) -> Float[np.ndarray, "G D"]:
        """1 where a domain belongs to a group."""
        return np.array([[float(name in group.domains) for name in self.domains] for group in self.groups]).reshape(
            len(self.groups), len(self.domains)
        )

    @cached_property
    def group_lower_G(self) -> Float[np.ndarray, " G"]:
        return np.array([group.minimum for group in self.groups], dtype=np.float64)

    @cached_property
    def group_upper_G(self) -> Float[np.ndarray, " G"]:
        return np.array([group.maximum for group in self.groups], dtype=np.float64)

    @property
    def least_D(self) -> Float[np.ndarray, " D"]:
        """The least that each domain has in any feasible mixture: its minimum, or more where the others must stop."""
        return self._extremes[1][: len(self.domains)]

    @property
    def most_D(self) -> Float[np.ndarray, " D"]:
        """The most that each domain has in any feasible mixture."""
        return self._extremes[2][: len(self.domains)]

    def most_of(self, domains: Sequence[str]) -> float:
        """The most that these domains have together in any feasible mixture."""
        members_D = np.isin(self.domains, domains).astype(np.float64)
        least = self._least(-members_D, list(self.groups), self._slack)
        assert least is not None, "a space without a mixture is refused when it is made"
        return -least

    def feasible(self, weights_ND: Float[np.ndarray, "N D"]) -> NDArray[np.bool_]:
        """Which rows, already summing to one, keep every constraint, [N]."""
        sums_NG = weights_ND @ self.group_GD.T
        within_ND = (weights_ND >= self.lower_D - TOLERANCE) & (weights_ND <= self.upper_D + TOLERANCE)
        within_NG = (sums_NG >= self.group_lower_G - TOLERANCE) & (sums_NG <= self.group_upper_G + TOLERANCE)
        within_N: NDArray[np.bool_] = np.logical_and.reduce(np.hstack([within_ND, within_NG]), axis=1)
        return within_N

    def contains(self, mixture: Mixture) -> bool:
        return not self.violations(mixture)

    def violations(self, mixture: Mixture) -> list[str]:
        """A sentence for each constraint that the mixture breaks."""
        weights_D = mixture.reordered(self.domains).array
        found = []
        for limit, weight, supply, most in zip(self.limits, weights_D, self.supply_D, self.max_epochs_D, strict=True):
            if weight < limit.minimum - TOLERANCE:
                found.append(f"domain {limit.name}: {weight:.4g} is below its minimum {limit.minimum:g}")
            if weight > limit.maximum + TOLERANCE:
                found.append(f"domain {limit.name}: {weight:.4g} is above its maximum {limit.maximum:g}")
            if weight > supply + TOLERANCE:
                found.append(
                    f"domain {limit.name}: {weight:.4g} is above {supply:.4g}, "
                    f"which {most:g} epochs of its {_count(limit.tokens)} tokens give"
                )
        for group, total in zip(self.groups, self.group_GD @ weights_D, strict=True):
            if total < group.minimum - TOLERANCE:
                found.append(f"group {group.name}: {total:.4g} is below its minimum {group.minimum:g}")
            if total > group.maximum + TOLERANCE:
                found.append(f"group {group.name}: {total:.4g} is above its maximum {group.maximum:g}")
        return found

    def max_epochs_of(self, limit: DomainLimits) -> float | None:
        """How often a domain may be repeated: as often as it says itself, else as the space does."""
        return self.max_epochs if limit.max_epochs is None else limit.max_epochs

    def most_epochs(self, name: str) -> float | None:
        """How often the named domain may be repeated within `target_tokens`; None where nothing says, or asks."""
        if self.target_tokens is None:
            return None
        return self.max_epochs_of(self.limits[self.domains.index(name)])

    def epochs(self, mixture: Mixture) -> dict[str, float]:
        """How often each domain is read through in `target_tokens` of this mixture.

        Raises:
            SearchError: the space has no target_tokens.
        """
        if self.target_tokens is None:
            raise SearchError("epochs of an unknown number of tokens", hint="set target_tokens")
        return {limit.name: mixture[limit.name] * self.target_tokens / limit.tokens for limit in self.limits}

    def project(self, weights_D: Float[np.ndarray, " D"]) -> Mixture:
        """The feasible mixture nearest to `weights_D` in Euclidean distance."""
        nearest_D = self.polytope.nearest(weights_D)
        assert nearest_D is not None, "a space without a mixture is refused when it is made"
        return self.rounded(nearest_D)

    def rounded(self, weights_D: Float[np.ndarray, " D"]) -> Mixture:
        """What is outside the limits of a domain by rounding, as a mixture inside."""
        return Mixture.from_array(self.domains, np.clip(weights_D, *self._bounds(self._slack)))

    @cached_property
    def polytope(self) -> Polytope:
        """The constraints: equalities are the sum, pins and fixed groups, named or implied."""
        identity_DD = np.eye(len(self.domains))
        rows_RD = np.vstack([identity_DD, self.group_GD])
        _, least_R, most_R = self._extremes
        fixed_R = most_R - least_R <= TOLERANCE + 2 * self._slack
        equal_ED = np.vstack([np.ones(len(self.domains)), rows_RD[fixed_R]])
        equal_E = np.append(1.0, (least_R + most_R)[fixed_R] / 2)
        lower_D, upper_D = self._bounds(self._slack)
        group_lower_G, group_upper_G = self.group_lower_G - self._slack, self.group_upper_G + self._slack
        return Polytope(
            equal_ED,
            equal_E,
            rows_CD=np.vstack([identity_DD, -identity_DD, self.group_GD, -self.group_GD]),
            floor_C=np.concatenate([lower_D, -upper_D, group_lower_G, -group_upper_G]),
        )

    def _check_words(self) -> None:
        if not self.limits or len(set(self.domains)) != len(self.domains):
            raise SearchError(f"domains [{', '.join(self.domains)}] must be named, each once")
        for group in self.groups:
            unknown = [name for name in group.domains if name not in self.domains]
            if unknown:
                raise SearchError(
                    f"group {group.name}: no domain is called {', '.join(unknown)}",
                    hint=f"choose from {', '.join(self.domains)}",
                )
        for name, value in (("target_tokens", self.target_tokens), ("max_epochs", self.max_epochs)):
            if value is not None and value <= 0:
                raise SearchError(f"{name} is {value:g}, not above 0")

    def _check_domains(self) -> None:
        for limit, supply, most in zip(self.limits, self.supply_D, self.max_epochs_D, strict=True):
            if limit.minimum > supply + TOLERANCE:
                raise SearchError(
                    f"domain {limit.name}: min {limit.minimum:g} is above {supply:.3g}, all that {most:g} "
                    f"epochs of its {_count(limit.tokens)} tokens give of target_tokens {_count(self.target_tokens)}",
                    hint=f"lower domains.{limit.name}.min or target_tokens, or raise max_epochs",
                )
        if self.lower_D.sum() > 1 + TOLERANCE:
            minimums = " + ".join(f"{limit.name} {limit.minimum:g}" for limit in self.limits if limit.minimum)
            raise SearchError(
                f"the minimums of the domains sum to {self.lower_D.sum():.4g}, above 1: {minimums}",
                hint="lower some of them until they sum to 1 or less",
            )
        maximum = sum(limit.maximum for limit in self.limits)
        if maximum < 1 - TOLERANCE:
            raise SearchError(f"the maximums of the domains sum to {maximum:.4g}, below 1", hint="raise some of them")
        if self.target_tokens is not None and self.upper_D.sum() < 1 - TOLERANCE:
            available = _count(self.upper_D.sum() * self.target_tokens)
            raise SearchError(
                f"the supply is too small for target_tokens {_count(self.target_tokens)}: "
                f"at most {self._most_epochs} epochs of all domains, within their maximums, give {available} tokens",
                hint="lower target_tokens, or raise max_epochs or the maximums",
            )

    @property
    def _most_epochs(self) -> str:
        least, most = self.max_epochs_D.min(), self.max_epochs_D.max()
        return f"{least:g}" if least == most else f"{least:g} to {most:g}"

    def _check_groups(self) -> None:
        for group, members_D in zip(self.groups, self.group_GD > 0, strict=True):
            least, most = float(self.lower_D[members_D].sum()), float(self.upper_D[members_D].sum())
            if group.minimum > most + TOLERANCE:
                raise SearchError(
                    f"group {group.name}: min {group.minimum:g} is above {most:.4g}, all that its domains may give",
                    hint=f"lower groups.{group.name}.min, or raise the maximums or max_epochs of its domains",
                )
            if group.maximum < least - TOLERANCE:
                raise SearchError(
                    f"group {group.name}: max {group.maximum:g} is below {least:.4g}, which the minimums of its "
                    "domains sum to",
                    hint=f"raise groups.{group.name}.max, or lower these minimums",
                )
        clash = self._clash()
        if clash:
            bounds = ", ".join(f"{group.name} ({group.minimum:g} to {group.maximum:g})" for group in clash)
            raise SearchError(
                f"no mixture satisfies these groups and the limits of the domains together: {bounds}",
                hint="widen one of these groups",
            )

    def _clash(self) -> list[Group]:
        """The groups that cannot all hold, with none to spare; empty where all can."""
        clash = list(self.groups)
        if self._possible(clash):
            return []
        for group in self.groups:
            others = [other for other in clash if other is not group]
            if not self._possible(others):
                clash = others
        return clash

    def _possible(self, groups: list[Group]) -> bool:
        """Whether a mixture within the domains' limits satisfies `groups`."""
        return self._least(np.zeros(len(self.domains)), groups, SLACK) is not None

    @cached_property
    def _extremes(self) -> tuple[float, Float[np.ndarray, " R"], Float[np.ndarray, " R"]]:
        """How much the bounds have to give, and the least and most of each domain, then each group, twice [D + G]."""
        rows = [*np.eye(len(self.domains)), *self.group_GD]
        groups = list(self.groups)
        for slack in (0.0, SLACK):
            least = [self._least(row_D, groups, slack) for row_D in rows]
            most = [self._least(-row_D, groups, slack) for row_D in rows]
            if None not in least and None not in most:
                return slack, np.array(least, dtype=np.float64), -np.array(most, dtype=np.float64)
        raise SearchError("the limits of the domains and groups leave no mixture", hint="widen one of them a little")

    @property
    def _slack(self) -> float:
        return self._extremes[0]

    def _bounds(self, slack: float) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, " D"]]:
        """The least and largest shares of the domains by their own limits, twice [D]."""
        lower_D = np.maximum(self.lower_D - slack, 0)
        return lower_D, np.maximum(lower_D, self.upper_D + slack)

    def _least(self, cost_D: Float[np.ndarray, " D"], groups: list[Group], slack: float) -> float | None:
        """The least cost_D @ weights within the domains' limits and `groups`; None where there is no mixture."""
        from scipy.optimize import linprog

        member_GD = self.group_GD[[self.groups.index(group) for group in groups]].reshape(-1, len(self.domains))
        solution = linprog(
            cost_D,
            A_ub=np.vstack([member_GD, -member_GD]),
            b_ub=[group.maximum + slack for group in groups] + [slack - group.minimum for group in groups],
            A_eq=np.ones((1, len(self.domains))),
            b_eq=[1.0],
            bounds=list(zip(*self._bounds(slack), strict=True)),
        )
        return None if solution.fun is None else float(solution.fun)


def _check_shares(place: str, minimum: float, maximum: float) -> None:
    for name, value in (("min", minimum), ("max", maximum)):
        if not 0 <= value <= 1:
            raise SearchError(f"{place}: {name} {value:g} is not a share", hint="shares lie between 0 and 1")
    if minimum > maximum:
        raise SearchError(f"{place}: min {minimum:g} is above max {maximum:g}", hint="lower min or raise max")


def _count(tokens: float | None) -> str:
    """2000000000 -> "2B"."""
    assert tokens is not None
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if tokens >= size:
            return f"{tokens / size:.3g}{letter}"
    return f"{tokens:.3g}"
