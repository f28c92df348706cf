"""What if the shares were these: all that the page shows of one mixture, as numbers, without any page.

Shapes: N mixtures, D domains, M metrics, S steps of a share.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Float

from mixopt.explore.subject import Subject
from search.give_way import give_way
from search.mixture import FloatArray, Mixture
from search.problem import Problem
from search.recommendation.caveats import of_allowances
from search.recommendation.effects import Effect, effects, moved_along
from search.recommendation.expectation import Expectation
from search.recommendation.recommendation import Estimate
from search.trust_region import distance, usual_distance

# Of mixtures that were looked at, whose numbers are kept: of pins and of those that are gone back to.
REMEMBERED = 256


class Verdict(StrEnum):
    """Whether a mixture is better than the proportional one, in words that end in its name."""

    BETTER = "better than"
    WORSE = "worse than"
    NOT_TOLD = "not told from"


@dataclass(frozen=True)
class DomainNow:
    """What a domain has in a mixture.

    Attributes:
        epochs: how often the run that the mixture is for reads it; None where its tokens are not known.
        max_epochs: how often it may.
    """

    share: float
    epochs: float | None
    max_epochs: float | None


@dataclass(frozen=True)
class WhatIf:
    """
    Attributes:
        expected: of one new run.
        nearest: the part of the tokens by which the nearest trained mixture differs.
        usual: so far, at most, 95% of the trained mixtures are from another.
        outside: why the search would not trust a prediction here, a sentence each; none where it does.
        broken: the limits that it breaks, a sentence each.
        risks: of a constrained objective, which metrics may be worse than they are allowed to be.
        domains: by name.
        trial_flops: what it costs to train it once at the target.
    """

    mixture: Mixture
    expected: Expectation
    nearest: float
    usual: float
    outside: tuple[str, ...]
    broken: tuple[str, ...]
    risks: tuple[str, ...]
    domains: Mapping[str, DomainNow]
    trial_flops: float

    @property
    def verdict(self) -> Verdict | None:
        """None where there is nothing to compare: no proportional mixture, or it is this one."""
        gain = self.expected.gain
        if gain is None or (gain.mean == 0 and gain.lower == gain.upper):
            return None
        if gain.lower > 0:
            return Verdict.BETTER
        return Verdict.WORSE if gain.upper < 0 else Verdict.NOT_TOLD


@dataclass(frozen=True)
class Curve:
    """What a domain's share does to the objective and to each metric, the others in proportion.

    Attributes:
        shares_S: from the least to the largest that was trained.
        values: by metric.
    """

    shares_S: Float[np.ndarray, " S"]
    objective_S: Float[np.ndarray, " S"]
    values: Mapping[str, FloatArray]


class WhatIfs:
    """Answers about one subject; what was asked before is remembered."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._trained_ND = subject.predictor.evidence.runs.weights_ND
        self._usual = usual_distance(self._trained_ND)
        self.of = lru_cache(maxsize=REMEMBERED)(self._of)
        self.effects = lru_cache(maxsize=REMEMBERED)(self._effects)

    def moved(
        self, mixture: Mixture, domain: str, share: float, held: Collection[str] = (), limited: bool = True
    ) -> Mixture:
        """The mixture once a share was moved and the others gave way by the smallest change.

        Args:
            held: the domains whose shares stay.
            limited: whether the study's limits, and the relative weights that it keeps, hold.
        """
        problem = self.subject.problem
        space, kept = (problem.space, problem.kept) if limited else (self.subject.unlimited, None)
        return give_way(space, mixture, domain, share, held, kept)

    def inside(self, mixture: Mixture) -> Mixture:
        """The nearest mixture that the limits allow: itself, where they do."""
        problem = self.subject.problem
        if problem.feasible(mixture.array[None])[0]:
            return mixture
        if problem.graded is not None:
            return problem.graded.project(mixture.array)
        frozen = problem.frozen
        if frozen is None:
            return self.subject.space.project(mixture.array)
        smaller = frozen.smaller.project(frozen.reduce(mixture.array[None])[0])
        return Mixture.from_array(self.subject.domains, frozen.expand(smaller.array[None])[0])

    def gain_over(self, mixture: Mixture, other: Mixture) -> Estimate:
        """How much lower the objective of a new run is than that of one of the other."""
        return Estimate.of(*self.subject.predictor.gain(mixture, other))

    @cached_property
    def gain_reach(self) -> float:
        """A gain that hardly any mixture has: the ends of a scale for all of them; losses may be larger."""
        subject = self.subject
        objective, baseline_M = subject.problem.objective, subject.predictor.baseline_M
        proportional, *_ = subject.predictor.expect(subject.proportional)
        gain_N = proportional - objective.value(subject.possible_NM, baseline_M)
        [doubt] = [self.gain_over(mixture, subject.proportional) for mixture in list(subject.mixtures.values())[:1]]
        ends = [float(np.quantile(gain_N, 0.99)), abs(doubt.mean)]
        return max(float(max(ends) + (doubt.upper - doubt.lower) / 2), 1e-9)

    def _of(self, mixture: Mixture) -> WhatIf:
        subject, predictor, space = self.subject, self.subject.predictor, self.subject.space
        _, _, mean_M, sd_M = predictor.expect(mixture)
        epochs = space.epochs(mixture) if space.target_tokens else {}
        broken = space.violations(mixture)
        if not broken and not subject.problem.feasible(mixture.array[None])[0]:
            broken = _order_or_ratios(subject.problem, mixture)
        return WhatIf(
            mixture=mixture,
            expected=Expectation.of(predictor, mixture),
            nearest=float(distance(mixture.array[None], self._trained_ND)[0]),
            usual=self._usual,
            outside=tuple(predictor.trust.reasons(mixture.array, space, self._trained_ND)),
            broken=tuple(broken),
            risks=tuple(of_allowances(predictor, mean_M, sd_M)),
            domains={
                name: DomainNow(mixture[name], epochs.get(name), space.most_epochs(name)) for name in space.domains
            },
            trial_flops=subject.problem.target.flops,
        )

    def _effects(self, mixture: Mixture) -> Mapping[str, Effect]:
        """What each domain's share does to the predicted objective around the mixture."""
        return effects(self.subject.predictor.objective, mixture, self._trained_ND)

    def curve(self, mixture: Mixture, domain: str) -> Curve:
        """What the share of one domain, or level, does to every metric around the mixture."""
        predictor = self.subject.predictor
        moves = self.subject.problem.levels.get(domain, (domain,))
        shares_S, moved_SD = moved_along(mixture, moves, self._trained_ND)
        values_SM = predictor.model.mean(moved_SD)
        return Curve(
            shares_S,
            predictor.problem.objective.value(values_SM, predictor.baseline_M),
            dict(zip(self.subject.metrics, values_SM.T, strict=True)),
        )


def trade(subject: Subject, across: str, up: str) -> tuple[FloatArray, FloatArray]:
    """Mixtures that no other is predicted to be as good as in both metrics, and better in one: [N, D] and [N, 2]."""
    places = [subject.metrics.index(across), subject.metrics.index(up)]
    sign_2 = subject.problem.objective.sign_M[places]
    values_N2 = subject.possible_NM[:, places]
    # By the first, the best first; of those on the front the second falls.
    order_N = np.lexsort((sign_2[1] * values_N2[:, 1], sign_2[0] * values_N2[:, 0]))
    second_N = sign_2[1] * values_N2[order_N, 1]
    before_N = np.concatenate([[np.inf], np.minimum.accumulate(second_N)[:-1]])
    front_N = order_N[second_N < before_N]
    return subject.possible_ND[front_N], values_N2[front_N]


def _order_or_ratios(problem: Problem, mixture: Mixture) -> list[str]:
    """A sentence for what a mixture does not keep besides the limits."""
    if problem.graded is not None:
        return [
            f"{worse} is read more often than {better}, a better level (quality.search: function)"
            for better, worse in problem.graded.out_of_order(mixture)
        ]
    assert problem.kept is not None, "nothing else makes a mixture within the limits infeasible"
    return [f"{', '.join(problem.kept.domains)} do not keep their relative weights (reuse.keep)"]
