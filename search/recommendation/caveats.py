"""What a careful reader of a recommendation wants to know, in sentences.

Shapes: M metrics, D domains.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from search.evidence import Evidence
from search.mixture import Mixture
from search.problem import Problem
from search.recommendation.predictability import bounds
from search.recommendation.predictor import Predictor
from search.recommendation.recommendation import LEVEL
from search.recommendation.validation import FEWEST_RUNS, Validation
from search.trust_region import STRETCH, distance, usual_distance

# Runs per domain (and one more) below which surrogates are known to be weak (Olmix, 2602.12237).
RUNS_PER_DOMAIN = 3


def of_evidence(evidence: Evidence) -> list[str]:
    """What was not usable, and whether there is little of it."""
    warnings = list(evidence.warnings)
    domains, mixtures = len(evidence.runs.domains), len(np.unique(evidence.runs.mixture_N))
    enough = RUNS_PER_DOMAIN * (domains + 1)
    if mixtures < enough:
        warnings.append(f"{mixtures} mixtures are few for {domains} domains: {enough} or more are better")
    return warnings


def of_validation(evidence: Evidence, validation: Validation) -> list[str]:
    """Whether few runs at the target speak for the surrogate, and whether it orders the best of the mixtures."""
    warnings = []
    if validation.at_target < FEWEST_RUNS:
        few = f"only {validation.at_target} mixtures measured every metric at {evidence.runs.target.proxy}"
        elsewhere = ": the regression rests on other fidelities, which rank mixtures as it does"
        warnings.append(few if evidence.runs.at_target_N.all() else few + elsewhere)
    return [*warnings, *_of_basin(validation)]


def _of_basin(validation: Validation) -> list[str]:
    """Whether the ranking of the best quarter is not shown to be better than chance."""
    basin, everywhere = validation.objective.basin, validation.objective.spearman
    if basin is None or everywhere is None or validation.orders_basin:
        return []
    ranked = "undefined" if basin.spearman is None else f"{basin.spearman:.2f}"
    return [
        f"the surrogate ranks all {validation.runs} mixtures with {everywhere:.2f}, but the best {basin.mixtures} with "
        f"{ranked}, not shown to be better than chance: it finds the basin, it may not order its bottom"
    ]


def of_allowances(predictor: Predictor, mean_M: Float[np.ndarray, " M"], sd_M: Float[np.ndarray, " M"]) -> list[str]:
    """Under constraints: which metrics may be worse than they are allowed to be, and how likely."""
    objective, baseline_M = predictor.problem.objective, predictor.baseline_M
    if not objective.is_constrained:
        return []
    worse_M = objective.excess(mean_M[None], baseline_M)[0]
    return [
        f"metric {name} is worse than {objective.baseline} by more than it may be "
        f"with probability {NormalDist().cdf(worse / max(sd, 1e-12)):.0%}, before any confirmation"
        for name, worse, sd in zip(objective.metrics, worse_M, sd_M, strict=True)
        if NormalDist().cdf(worse / max(sd, 1e-12)) > 1 - LEVEL
    ]


def of_answer(problem: Problem, mixture: Mixture, evidence: Evidence) -> list[str]:
    """Whether limits hold the answer back, and whether it lies outside the evidence."""
    warnings = [
        f"domain {bound.domain} is at the most that it may have, {bound.share:.3g}: a larger maximum, supply or "
        "max_epochs may give a better mixture"
        for bound in bounds(problem.space, mixture, evidence.runs.weights_ND)
        if bound.kind in ("maximum", "supply")
    ]
    most_D = evidence.runs.weights_ND.max(axis=0)
    for domain, weight, most in zip(problem.space.domains, mixture.weights, most_D, strict=True):
        if weight > (1 + STRETCH) * most:
            warnings.append(f"the answer lies outside the evidence: no trial had more than {most:.3g} of {domain}")
    nearest = float(distance(mixture.array[None], evidence.runs.weights_ND)[0])
    usual = usual_distance(evidence.runs.weights_ND)
    if nearest > usual:
        warnings.append(
            f"the answer lies outside the evidence: {nearest:.0%} of its tokens differ from the nearest trial, "
            f"where 95% of the trials have another within {usual:.0%}"
        )
    return warnings
