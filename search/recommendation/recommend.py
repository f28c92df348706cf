"""Which mixture is recommended: the one with the best prediction, or the best observed where none can be trusted.

Shapes: D domains, K mixtures that are averaged, N mixtures, F of these on the Pareto front, M metrics.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from search.designs.choices import choices
from search.errors import SearchError, TooFewMixtures
from search.evidence import Evidence
from search.mixture import NEAR, Mixture
from search.objective import Pareto
from search.problem import Problem
from search.randomness import generator
from search.recommendation import caveats
from search.recommendation.effects import effects
from search.recommendation.expectation import Expectation
from search.recommendation.predictor import Predictor
from search.recommendation.recommendation import (
    BEST_OBSERVED,
    BEST_TRIED,
    Candidate,
    FrontPoint,
    LevelOfDomains,
    Recommendation,
)
from search.recommendation.trusted_mixtures import Predicted, TrustedMixtures
from search.recommendation.validation import Validation
from search.surrogates import DEFAULT
from search.trust_region import TrustRegion

FRONT_POINTS = 12
# How likely each metric of a proposal keeps its constraint; where nothing that is so sure is better than the baseline,
# it has to be expected, and the confirmation shows it.
SURE, EXPECTED = 0.9, 0.5


def recommend(
    problem: Problem, evidence: Evidence, surrogate: str = DEFAULT, trust: TrustRegion | None = None
) -> Recommendation:
    """The mixture with the best prediction; the best observed one where no prediction can be trusted.

    Raises:
        SearchError: a metric was measured by too few runs, no mixture is within the trust region's max_kl, or neither
            a prediction nor an observed mixture is to be had.
    """
    trust = trust or TrustRegion()
    try:
        return recommend_by(Predictor.fit(problem, evidence, surrogate, trust))
    except TooFewMixtures as error:
        return recommend_observed(problem, evidence, error.message, trust=trust)


def recommend_by(predictor: Predictor) -> Recommendation:
    """As `recommend`, by a surrogate that is fitted and validated already."""
    return replace(_recommend_by(predictor), predictor=predictor)


def _recommend_by(predictor: Predictor) -> Recommendation:
    problem, evidence = predictor.problem, predictor.evidence
    if not predictor.validation.trustworthy:
        reason = "cross-validation does not show that the regression ranks mixtures at the target better than chance"
        return recommend_observed(problem, evidence, reason, predictor.validation, predictor.trust)
    for sure in (SURE, EXPECTED) if problem.objective.is_constrained else (EXPECTED,):
        best_KD = _most_promising(predictor, partial(predictor.order, sure=sure))
        if predictor.objective(best_KD.mean(axis=0)[None])[0] < _of_baseline(predictor):
            break
    return recommend_predicted(predictor, best_KD)


def _of_baseline(predictor: Predictor) -> float:
    """What is predicted of the baseline that the objective has; infinite without one."""
    baseline = predictor.problem.objective.baseline
    if baseline is None:
        return np.inf
    return float(predictor.objective(predictor.problem.baselines[baseline].array[None])[0])


def _most_promising(predictor: Predictor, order: Predicted) -> Float[np.ndarray, "K D"]:
    """The mixtures whose average comes first in the order, or the one mixture that comes before it.

    All by the regression: the measurement of the best of many mixtures looks better than it is.
    """
    best_KD = predictor.trusted.most_promising(order)
    tried, rivals = predictor.best_tried, predictor.problem.baselines.values()
    rivals_KD = np.array([mixture.array for mixture in (*([tried] if tried else []), *rivals)])
    rivals_KD = rivals_KD[predictor.trusted.allowed(rivals_KD)]
    place_K = order(np.vstack([best_KD.mean(axis=0), rivals_KD]))
    return best_KD if place_K.argmin() == 0 else rivals_KD[place_K.argmin() - 1][None]


def recommend_observed(
    problem: Problem,
    evidence: Evidence,
    reason: str = "",
    validation: Validation | None = None,
    trust: TrustRegion | None = None,
) -> Recommendation:
    """The mixture with the best objective measured at the target; `reason` says why nothing better is offered.

    Raises:
        SearchError: nothing that is allowed was measured at the target.
    """
    best = TrustedMixtures(problem, evidence, trust or TrustRegion()).best_observed
    if best is None:
        raise SearchError(
            f"no run at {problem.target.proxy} within the limits measured every metric of the objective, and no "
            f"prediction is to be had: {reason or 'no surrogate was asked'}",
            hint="add runs, widen the limits, max_kl among them, or choose other metrics",
        )
    return Recommendation(
        mixture=best,
        method=BEST_OBSERVED,
        baselines=evidence.measured_baselines,
        candidates=(Candidate(BEST_OBSERVED, best),),
        warnings=(*([reason] if reason else []), *caveats.of_evidence(evidence)),
        trials=len(evidence.runs),
        validation=validation,
    )


def recommend_predicted(predictor: Predictor, best_KD: Float[np.ndarray, "K D"]) -> Recommendation:
    """The average of the mixtures with the best predictions, best first in `best_KD`.

    All of them are feasible and the space is convex, so the average is.
    """
    problem, evidence, objective = predictor.problem, predictor.evidence, predictor.problem.objective
    mixture = choices(problem).mixture(best_KD.mean(axis=0))
    assert problem.pool is not None or problem.space.contains(mixture)
    mean, _, mean_M, sd_M = predictor.expect(mixture)
    expected = Expectation.of(predictor, mixture)
    own_sd = predictor.own_sd(mixture)
    found_effects = effects(predictor.objective, mixture, evidence.runs.weights_ND)
    as_good_ND = np.vstack([mixture.array[None], best_KD, predictor.trusted.within(mean + own_sd, predictor.order)])
    candidates = [Candidate("proposed", mixture)]
    if (tried := predictor.best_tried) is not None:
        # Before the best predicted: its own runs speak for it, too.
        candidates.append(Candidate(BEST_TRIED, tried))
    candidates.append(Candidate("best predicted", Mixture.from_array(problem.space.domains, best_KD[0])))
    return Recommendation(
        mixture=mixture,
        method=predictor.name,
        baselines=evidence.measured_baselines,
        candidates=_distinct(*candidates),
        warnings=(
            *caveats.of_answer(problem, mixture, evidence),
            *caveats.of_allowances(predictor, mean_M, sd_M),
            *caveats.of_validation(evidence, predictor.validation),
            *caveats.of_evidence(evidence),
        ),
        trials=len(evidence.runs),
        predicted=expected.objective,
        gain=expected.gain,
        predicted_losses=expected.losses,
        ranges={
            name: (float(low), float(high))
            for name, low, high in zip(
                problem.space.domains, as_good_ND.min(axis=0), as_good_ND.max(axis=0), strict=True
            )
        },
        beats={name: _beats(predictor, mixture, baseline) for name, baseline in problem.baselines.items()},
        effects=found_effects,
        flat=tuple(name for name, effect in found_effects.items() if effect.flat(own_sd)),
        levels=_levels(predictor, mixture, as_good_ND, own_sd),
        front=_front(predictor, objective) if isinstance(objective, Pareto) else (),
        validation=predictor.validation,
    )


def _levels(
    predictor: Predictor, mixture: Mixture, as_good_ND: Float[np.ndarray, "N D"], own_sd: float
) -> dict[str, LevelOfDomains]:
    levels = predictor.problem.levels
    found = effects(predictor.objective, mixture, predictor.evidence.runs.weights_ND, levels)
    sums = {name: as_good_ND[:, np.isin(mixture.domains, domains)].sum(axis=1) for name, domains in levels.items()}
    ranges = {name: (float(sums_N.min()), float(sums_N.max())) for name, sums_N in sums.items()}
    return {
        name: LevelOfDomains(levels[name], ranges[name], effect, effect.flat(own_sd)) for name, effect in found.items()
    }


def _beats(predictor: Predictor, mixture: Mixture, baseline: Mixture) -> float:
    """How likely a new run of the mixture has a lower objective than a new run of the baseline."""
    gain, doubt = predictor.gain(mixture, baseline)
    return NormalDist().cdf(gain / doubt) if doubt else float(gain > 0)


def _front(predictor: Predictor, objective: Pareto) -> tuple[FrontPoint, ...]:
    """Some mixtures of the predicted Pareto front, spread along it."""
    weights_ND = predictor.trusted.everywhere(generator(predictor.problem.seed, "front"))
    values_NM = predictor.model.mean(weights_ND)
    on_front_N = objective.front(values_NM)
    weights_FD, values_FM = weights_ND[on_front_N], values_NM[on_front_N]
    scaled_FM = objective.sign_M * (values_FM - values_FM.mean(axis=0)) / np.maximum(values_FM.std(axis=0), 1e-12)
    chosen = [int(scaled_FM.mean(axis=1).argmin())]
    while len(chosen) < min(FRONT_POINTS, len(weights_FD)):
        # The point furthest from all that are chosen: the ends come first.
        gap_F = np.abs(scaled_FM[:, None] - scaled_FM[chosen]).max(axis=2).min(axis=1)
        chosen.append(int(gap_F.argmax()))
    chosen.sort(key=lambda point: scaled_FM[point, 0])
    return tuple(
        FrontPoint(
            Mixture.from_array(predictor.problem.space.domains, weights_FD[point]),
            dict(zip(objective.metrics, map(float, values_FM[point]), strict=True)),
        )
        for point in chosen
    )


def _distinct(*candidates: Candidate) -> tuple[Candidate, ...]:
    kept: list[Candidate] = []
    for candidate in candidates:
        if all(candidate.mixture.total_variation(other.mixture) >= NEAR for other in kept):
            kept.append(candidate)
    return tuple(kept)
