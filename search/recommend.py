"""A recommendation: a mixture, what it is expected to reach, and the evidence for it.

Shapes: N mixtures, D domains, M metrics, K mixtures that are averaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import NormalDist

import numpy as np

from search.history import History
from search.mixture import FloatArray, Mixture
from search.pooling import Evidence
from search.problem import SEARCH_SEED, Problem
from search.surrogates.loss_model import LossModel
from search.trial import Trial
from search.validation import FEWEST_RUNS, Validation, objective_sd

# Mixtures that differ in less than this share of their tokens are not worth two confirmations.
SAME_MIXTURE = 0.01
# A share this near its upper bound is held back by it.
AT_CAP = 0.98
# Runs a domain (and one more) below which surrogates are known to be weak (Olmix, 2602.12237).
RUNS_PER_DOMAIN = 3
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """An expected measurement and its 95% interval."""

    mean: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Candidate:
    """A mixture worth confirming; the label says why."""

    label: str
    mixture: Mixture


@dataclass(frozen=True)
class Recommendation:
    """The answer of a search, before confirmation.

    Attributes:
        mixture: the answer.
        method: the surrogate that it rests on, or "best observed".
        predicted: the objective of one new run at the target fidelity; None for the best observed mixture, whose
            measurement looks better than it is because it was selected.
        predicted_losses: the same by metric, in the objective's unit.
        ranges: the lowest and highest share of each domain among the mixtures that were averaged: a wide range
            means that the share hardly matters.
        baselines: measured objective of each baseline at the target fidelity; a failed one is absent.
        candidates: what to confirm, best first; the answer is the first.
        validation: how well the surrogate predicts, where one was tried.
        warnings: sentences that a careful reader wants to know.
        trials: how many mixtures the answer rests on.
    """

    mixture: Mixture
    method: str
    baselines: Mapping[str, float]
    candidates: tuple[Candidate, ...]
    warnings: tuple[str, ...]
    trials: int
    predicted: Estimate | None = None
    predicted_losses: Mapping[str, Estimate] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    validation: Validation | None = None

    def as_dict(self) -> dict[str, object]:
        return {
            "mixture": self.mixture.as_dict(),
            "method": self.method,
            "predicted": asdict(self.predicted) if self.predicted else None,
            "predicted_losses": {name: asdict(estimate) for name, estimate in self.predicted_losses.items()},
            "ranges": {name: list(bounds) for name, bounds in self.ranges.items()},
            "baselines": dict(self.baselines),
            "candidates": [{"label": entry.label, "mixture": entry.mixture.as_dict()} for entry in self.candidates],
            "validation": self.validation.as_dict() if self.validation else None,
            "warnings": list(self.warnings),
            "trials": self.trials,
        }


def recommend_observed(
    problem: Problem, history: History, evidence: Evidence, reason: str = "", validation: Validation | None = None
) -> Recommendation:
    """The mixture with the best objective measured at the target; `reason` says why nothing better is offered."""
    best = best_observed(evidence)
    warnings = (*([reason] if reason else []), *_history_warnings(problem, history, evidence))
    return Recommendation(
        mixture=best,
        method="best observed",
        baselines=_baseline_values(problem, history),
        candidates=(Candidate("best observed", best),),
        warnings=warnings,
        trials=len(evidence.mixtures),
        validation=validation,
    )


def recommend_predicted(
    problem: Problem,
    history: History,
    evidence: Evidence,
    method: str,
    model: LossModel,
    validation: Validation,
    best_KD: FloatArray,
) -> Recommendation:
    """The average of the mixtures with the best predictions, best first in `best_KD`.

    All of them are feasible and the space is convex, so the average is; and it does not chase the surrogate's
    errors as the single best does.
    """
    mixture = Mixture.from_array(problem.space.domains, best_KD.mean(axis=0))
    assert problem.space.contains(mixture)
    mean_1M, sd_1M = model.predict(mixture.array[None])
    sd = objective_sd(problem.objective, mean_1M[0], sd_1M[0], validation.residual_NM, evidence.baseline_M)
    return Recommendation(
        mixture=mixture,
        method=method,
        baselines=_baseline_values(problem, history),
        candidates=_distinct(
            Candidate("proposed", mixture),
            # Before the best predicted: it does not share the regression's errors.
            Candidate("best observed", best_observed(evidence)),
            Candidate("best predicted", Mixture.from_array(problem.space.domains, best_KD[0])),
        ),
        warnings=(
            *_answer_warnings(problem, mixture, evidence),
            *_trust_warnings(problem, validation),
            *_history_warnings(problem, history, evidence),
        ),
        trials=len(evidence.mixtures),
        predicted=_estimate(float(problem.objective.value(mean_1M, evidence.baseline_M)[0]), sd),
        predicted_losses={
            name: _estimate(float(mean), float(metric_sd))
            for name, mean, metric_sd in zip(problem.objective.metrics, mean_1M[0], sd_1M[0], strict=True)
        },
        ranges={
            name: (float(low), float(high))
            for name, low, high in zip(problem.space.domains, best_KD.min(axis=0), best_KD.max(axis=0), strict=True)
        },
        validation=validation,
    )


def _estimate(mean: float, sd: float) -> Estimate:
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * sd
    return Estimate(mean, mean - reach, mean + reach)


def best_observed(evidence: Evidence) -> Mixture:
    return evidence.mixtures[int(np.where(evidence.at_target_N, evidence.objective_N, np.inf).argmin())]


def _distinct(*candidates: Candidate) -> tuple[Candidate, ...]:
    kept: list[Candidate] = []
    for candidate in candidates:
        if all(candidate.mixture.total_variation(other.mixture) >= SAME_MIXTURE for other in kept):
            kept.append(candidate)
    return tuple(kept)


def _baseline_values(problem: Problem, history: History) -> dict[str, float]:
    values = {
        name: problem.objective_of(Trial(mixture, problem.target, SEARCH_SEED), history)
        for name, mixture in problem.baselines.items()
    }
    return {name: value for name, value in values.items() if value is not None}


def _history_warnings(problem: Problem, history: History, evidence: Evidence) -> list[str]:
    warnings = list(evidence.warnings)
    enough = RUNS_PER_DOMAIN * (len(problem.space.domains) + 1)
    if len(evidence.mixtures) < enough:
        warnings.append(
            f"{len(evidence.mixtures)} mixtures are few for {len(problem.space.domains)} domains: "
            f"{enough} or more are better"
        )
    failed = sum(entry.trial.seed == SEARCH_SEED for entry in history.failed)
    if failed:
        warnings.append(f"{failed} trials failed and are no evidence for or against their mixtures")
    return warnings


def _trust_warnings(problem: Problem, validation: Validation) -> list[str]:
    if validation.at_target >= FEWEST_RUNS:
        return []
    return [
        f"only {validation.at_target} mixtures were measured at proxy {problem.target.proxy}: the regression rests on "
        "cheaper proxies, which rank those as it does"
    ]


def _answer_warnings(problem: Problem, mixture: Mixture, evidence: Evidence) -> list[str]:
    from scipy.spatial import cKDTree

    warnings = []
    for domain, weight, upper, pinned in zip(
        problem.space.domains,
        mixture.weights,
        problem.space.upper_D,
        problem.space.upper_D <= problem.space.lower_D,
        strict=True,
    ):
        if upper < 1 and not pinned and weight >= AT_CAP * upper:
            warnings.append(
                f"domain {domain} is at the most that it may have, {upper:.3g}: a larger maximum, supply or "
                "max_epochs may give a better mixture"
            )
    tree = cKDTree(evidence.weights_ND)
    # Total variation is half the distance with p = 1.
    itself_and_next_N2 = np.asarray(tree.query(evidence.weights_ND, k=2, p=1)[0])
    usual = float(np.quantile(itself_and_next_N2[:, 1], 0.95) / 2)
    nearest = float(tree.query(mixture.array, p=1)[0]) / 2
    if nearest > usual:
        warnings.append(
            f"the answer lies outside the evidence: {nearest:.0%} of its tokens differ from the nearest trial, "
            f"where 95% of the trials have another within {usual:.0%}"
        )
    return warnings
