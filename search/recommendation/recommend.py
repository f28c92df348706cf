"""A recommendation: a mixture, what it is expected to reach, and the evidence for it.

Shapes: N mixtures, D domains, M metrics, K mixtures that are averaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float

from search.designs.choices import Choices, choices
from search.errors import SearchError, TooFewMixtures
from search.evidence import Evidence
from search.mixture import NEAR, Mixture
from search.objective import NoWorse, Pareto
from search.problem import Problem
from search.randomness import generator
from search.recommendation.effects import Effect, effects
from search.recommendation.validation import FEWEST_RUNS, Validation, cross_validate, objective_sd
from search.surrogates import DEFAULT, SURROGATES
from search.surrogates.loss_model import LossModel
from search.trust_region import STRETCH, TrustRegion, distance, divergence, usual_distance

# A share this near its upper bound is held back by it.
AT_CAP = 0.98
# Runs per domain (and one more) below which surrogates are known to be weak (Olmix, 2602.12237).
RUNS_PER_DOMAIN = 3
LEVEL = 0.95
# The method, and the label of the candidate, that rests on no prediction.
BEST_OBSERVED = "best observed"

CANDIDATES = 4_000
# The answer is the average of the best: it does not chase the surrogate's errors as the single best does.
AVERAGED = 32
# Then mixtures around the best, so that the answer is not bound to what happened to be drawn.
ROUNDS = 3
NEARBY = 1_000
FRONT_POINTS = 12
# A mixture beyond max_kl is moved half the way to the natural one, so often at most.
HALVINGS = 12


@dataclass(frozen=True)
class Estimate:
    """An expected measurement and its 95% interval."""

    mean: float
    lower: float
    upper: float

    @classmethod
    def of(cls, mean: float, sd: float) -> Estimate:
        """Of a normal distribution."""
        reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * sd
        return cls(mean, mean - reach, mean + reach)


@dataclass(frozen=True)
class Candidate:
    """A mixture worth confirming; the label says why."""

    label: str
    mixture: Mixture


@dataclass(frozen=True)
class FrontPoint:
    """A mixture of the Pareto front and its predicted metrics."""

    mixture: Mixture
    predicted: Mapping[str, float]


@dataclass(frozen=True)
class Recommendation:
    """The answer of a search, before confirmation.

    Attributes:
        mixture: the answer.
        method: the surrogate that it rests on, or "best observed".
        predicted: the objective of one new run at the target fidelity; None for the best observed mixture, whose
            measurement looks better than it is because it was selected.
        predicted_losses: the same by metric, in the objective's unit.
        ranges: the lowest and highest share of each domain among mixtures that are expected to be as good, but for less
            than a prediction may be off: a wide range means that the share hardly matters, if others may change, too.
        baselines: measured objective of each baseline at the target fidelity; a failed one is absent.
        beats: for each baseline the probability that a new run of the answer has a lower objective than one of it.
        effects: what each domain's share does to the predicted objective around the answer.
        flat: the domains whose share hardly matters: over all shares that were trained, the predicted objective
            changes by less than it may be off.
        front: for several objectives at once, mixtures than which no other is predicted to be as good in all and
            better in one, with their predicted values.
        candidates: what to confirm, best first; the answer is the first.
        validation: how well the surrogate predicts, where one was tried.
        predictor: the same surrogate as it was fitted, to ask for more.
        warnings: sentences that a careful reader wants to know.
        trials: how many runs the answer rests on.
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
    beats: Mapping[str, float] = field(default_factory=dict)
    effects: Mapping[str, Effect] = field(default_factory=dict)
    flat: tuple[str, ...] = ()
    front: tuple[FrontPoint, ...] = ()
    validation: Validation | None = None
    predictor: Predictor | None = field(default=None, repr=False, compare=False)


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
    candidates_ND = predictor.candidates()
    best_KD = candidates_ND[np.argsort(predictor.objective(candidates_ND), kind="stable")[:AVERAGED]]
    average, worst = predictor.objective(np.array([best_KD.mean(axis=0), best_KD[-1]]))
    if problem.pool is not None or average > worst:
        # An average that is worse than all that it averages is not of their kind.
        best_KD = best_KD[:1]
    # All by the regression: the measurement of the best of many mixtures looks better than it is.
    expected = float(predictor.objective(best_KD.mean(axis=0)[None])[0])
    observed = predictor.best_observed
    if observed is not None and float(predictor.objective(observed.array[None])[0]) < expected:
        reason = "the regression expects nothing better than the best observed mixture"
        return recommend_observed(problem, evidence, reason, predictor.validation, predictor.trust)
    for baseline in problem.baselines.values():
        rival_1D = baseline.array[None]
        reached = float(predictor.objective(rival_1D)[0])
        if reached < expected and allowed(problem, predictor.trust, rival_1D)[0]:
            best_KD, expected = rival_1D, reached
    return recommend_predicted(predictor, best_KD)


@dataclass(frozen=True)
class Predictor:
    """A validated surrogate at work on a problem: what it expects of any mixture.

    Attributes:
        name: the surrogate's.
        trust: where its answer may lie.
    """

    problem: Problem
    evidence: Evidence
    name: str
    model: LossModel
    validation: Validation
    trust: TrustRegion

    @classmethod
    def fit(cls, problem: Problem, evidence: Evidence, surrogate: str, trust: TrustRegion) -> Predictor:
        """
        Raises:
            TooFewMixtures: no surrogate could be believed; SearchError: a metric was measured by too few runs.
        """
        distinct = len(np.unique(evidence.runs.mixture_N))
        if distinct < FEWEST_RUNS:
            raise TooFewMixtures(f"{distinct} completed mixtures are too few for a regression, {FEWEST_RUNS} the least")
        model = LossModel.fit(SURROGATES[surrogate](problem.seed), evidence.runs)
        validation = cross_validate(model, evidence)
        return cls(problem, evidence, surrogate, model, validation, trust)

    def objective(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        """Predicted objective, [N]."""
        return self.problem.objective.value(self.model.mean(weights_ND), self.evidence.baseline_M)

    def expect(self, mixture: Mixture) -> tuple[float, float, Float[np.ndarray, " M"], Float[np.ndarray, " M"]]:
        """Mean and standard deviation of a new run's objective, and of its metrics, [M]."""
        mean_1M, sd_1M = self.model.predict(mixture.array[None])
        objective, baseline_M = self.problem.objective, self.evidence.baseline_M
        sd = objective_sd(objective, mean_1M[0], sd_1M[0], self.validation.residual_NM, baseline_M)
        return float(objective.value(mean_1M, baseline_M)[0]), sd, mean_1M[0], sd_1M[0]

    def gain(self, mixture: Mixture, over: Mixture) -> tuple[float, float]:
        """Mean and standard deviation of the objective of a new run of `over`, minus that of one of `mixture`.

        Surrogates predict one mixture at a time: the two errors are taken as independent, though those of mixtures
        that are alike are alike.
        """
        mean, sd, *_ = self.expect(mixture)
        other_mean, other_sd, *_ = self.expect(over)
        return other_mean - mean, float(np.hypot(sd, other_sd))

    @cached_property
    def best_observed(self) -> Mixture | None:
        return _best_observed(self.problem, self.evidence, self.trust)

    @cached_property
    def _choices(self) -> Choices:
        return choices(self.problem)

    def candidates(self) -> Float[np.ndarray, "N D"]:
        """Trusted mixtures, first from everywhere, then around the best of those, [N, D]."""
        rng = generator(self.problem.seed, "candidates")
        found_ND = self.everywhere(rng)
        for _ in range(ROUNDS):
            best_KD = found_ND[np.argsort(self.objective(found_ND), kind="stable")[:AVERAGED]]
            nearby_ND = self._choices.near(best_KD, NEARBY, rng)
            found_ND = np.vstack([best_KD, nearby_ND[self._trusted(nearby_ND)]])
        return found_ND

    def within(self, objective: float) -> Float[np.ndarray, "N D"]:
        """Trusted mixtures that are expected to reach an objective, [N, D]."""
        rng = generator(self.problem.seed, "within")
        found_ND = self.everywhere(rng)
        reached_ND = found_ND[self.objective(found_ND) <= objective]
        if len(reached_ND) < AVERAGED:
            return reached_ND
        # From one towards another, and beyond: to the edge of what reaches it.
        nearby_ND = self._choices.near(reached_ND, CANDIDATES, rng)
        found_ND = np.vstack([reached_ND, nearby_ND[self._trusted(nearby_ND)]])
        return found_ND[self.objective(found_ND) <= objective]

    def _trusted(self, weights_ND: Float[np.ndarray, "N D"]) -> Bool[np.ndarray, " N"]:
        """Which mixtures are allowed and near the evidence, [N]."""
        near_N = self.trust.known(weights_ND, self.evidence.runs.weights_ND)
        trusted_N: Bool[np.ndarray, " N"] = np.logical_and(allowed(self.problem, self.trust, weights_ND), near_N)
        return trusted_N

    def everywhere(self, rng: np.random.Generator) -> Float[np.ndarray, "N D"]:
        """Allowed mixtures from all over the space, [N, D]: those near the evidence, or all where none is.

        Raises:
            SearchError: none is allowed.
        """
        problem, trained_ND = self.problem, self.evidence.runs.weights_ND
        drawn_ND = self._choices.candidates(trained_ND[problem.space.feasible(trained_ND)], CANDIDATES, rng)
        if self.trust.max_kl is not None and problem.pool is None:
            drawn_ND = self._towards_natural(drawn_ND)
        allowed_ND = drawn_ND[allowed(problem, self.trust, drawn_ND)]
        if not len(allowed_ND):
            assert self.trust.max_kl is not None, "what can be chosen is feasible"
            nearest = float(divergence(self._natural_1D, problem.space.natural.array)[0])
            raise SearchError(
                f"no mixture that can be chosen is within max_kl {self.trust.max_kl:g} of the natural one; the one "
                f"nearest to it has {nearest:.3g}",
                hint="raise max_kl, or widen the limits",
            )
        known_ND: Float[np.ndarray, "N D"] = allowed_ND[self.trust.known(allowed_ND, trained_ND)]
        return known_ND if len(known_ND) else allowed_ND

    @cached_property
    def _natural_1D(self) -> Float[np.ndarray, "1 D"]:
        """The mixture that can be chosen nearest to the natural one."""
        return self._choices.mixture(self.problem.space.natural.array).array[None]

    def _towards_natural(self, drawn_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "Q D"]:
        """The nearest to the natural mixture, then the drawn, those beyond max_kl moved towards it until within."""
        for _ in range(HALVINGS):
            within_N = self.trust.natural_enough(drawn_ND, self.problem.space)
            drawn_ND = np.where(within_N[:, None], drawn_ND, (drawn_ND + self._natural_1D) / 2)
        return np.vstack([self._natural_1D, drawn_ND])


def allowed(problem: Problem, trust: TrustRegion, weights_ND: Float[np.ndarray, "N D"]) -> Bool[np.ndarray, " N"]:
    """Which mixtures may be an answer at all, whatever is expected of them: feasible, and within max_kl; [N]."""
    natural_N = trust.natural_enough(weights_ND, problem.space)
    allowed_N: Bool[np.ndarray, " N"] = np.logical_and(problem.feasible(weights_ND), natural_N)
    return allowed_N


def _best_observed(problem: Problem, evidence: Evidence, trust: TrustRegion) -> Mixture | None:
    return evidence.best_observed(allowed(problem, trust, evidence.runs.weights_ND))


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
    best = _best_observed(problem, evidence, trust or TrustRegion())
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
        warnings=(*([reason] if reason else []), *_evidence_warnings(evidence)),
        trials=len(evidence.runs),
        validation=validation,
    )


def recommend_predicted(predictor: Predictor, best_KD: Float[np.ndarray, "K D"]) -> Recommendation:
    """The average of the mixtures with the best predictions, best first in `best_KD`.

    All of them are feasible and the space is convex, so the average is.
    """
    problem, evidence, objective = predictor.problem, predictor.evidence, predictor.problem.objective
    mixture = Mixture.from_array(problem.space.domains, best_KD.mean(axis=0))
    assert problem.pool is not None or problem.space.contains(mixture)
    mean, sd, mean_M, sd_M = predictor.expect(mixture)
    found_effects = effects(predictor.objective, mixture, evidence.runs.weights_ND)
    as_good_ND = np.vstack([mixture.array[None], best_KD, predictor.within(mean + sd)])
    candidates = [Candidate("proposed", mixture)]
    if (observed := predictor.best_observed) is not None:
        # Before the best predicted: it does not share the regression's errors.
        candidates.append(Candidate(BEST_OBSERVED, observed))
    candidates.append(Candidate("best predicted", Mixture.from_array(problem.space.domains, best_KD[0])))
    return Recommendation(
        mixture=mixture,
        method=predictor.name,
        baselines=evidence.measured_baselines,
        candidates=_distinct(*candidates),
        warnings=(
            *_answer_warnings(problem, mixture, evidence),
            *_allowance_warnings(predictor, mean_M, sd_M),
            *_trust_warnings(evidence, predictor.validation),
            *_evidence_warnings(evidence),
        ),
        trials=len(evidence.runs),
        predicted=Estimate.of(mean, sd),
        predicted_losses={
            name: Estimate.of(float(mean), float(metric_sd))
            for name, mean, metric_sd in zip(objective.metrics, mean_M, sd_M, strict=True)
        },
        ranges={
            name: (float(low), float(high))
            for name, low, high in zip(
                problem.space.domains, as_good_ND.min(axis=0), as_good_ND.max(axis=0), strict=True
            )
        },
        beats={name: _beats(predictor, mixture, baseline) for name, baseline in problem.baselines.items()},
        effects=found_effects,
        flat=tuple(name for name, effect in found_effects.items() if effect.flat(sd)),
        front=_front(predictor, objective) if isinstance(objective, Pareto) else (),
        validation=predictor.validation,
    )


def _beats(predictor: Predictor, mixture: Mixture, baseline: Mixture) -> float:
    """How likely a new run of the mixture has a lower objective than a new run of the baseline."""
    gain, doubt = predictor.gain(mixture, baseline)
    return NormalDist().cdf(gain / doubt) if doubt else float(gain > 0)


def _front(predictor: Predictor, objective: Pareto) -> tuple[FrontPoint, ...]:
    """Some mixtures of the predicted Pareto front, spread along it."""
    weights_ND = predictor.everywhere(generator(predictor.problem.seed, "front"))
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


def _evidence_warnings(evidence: Evidence) -> list[str]:
    warnings = list(evidence.warnings)
    domains, mixtures = len(evidence.runs.domains), len(np.unique(evidence.runs.mixture_N))
    enough = RUNS_PER_DOMAIN * (domains + 1)
    if mixtures < enough:
        warnings.append(f"{mixtures} mixtures are few for {domains} domains: {enough} or more are better")
    return warnings


def _trust_warnings(evidence: Evidence, validation: Validation) -> list[str]:
    if validation.at_target >= FEWEST_RUNS:
        return []
    few = f"only {validation.at_target} mixtures measured every metric at {evidence.runs.target.proxy}"
    if evidence.runs.at_target_N.all():
        return [few]
    return [f"{few}: the regression rests on other fidelities, which rank mixtures as it does"]


def _allowance_warnings(
    predictor: Predictor, mean_M: Float[np.ndarray, " M"], sd_M: Float[np.ndarray, " M"]
) -> list[str]:
    """Under NoWorse: which metrics may be worse than they are allowed to be, and how likely."""
    objective, baseline_M = predictor.problem.objective, predictor.evidence.baseline_M
    if not isinstance(objective, NoWorse) or baseline_M is None:
        return []
    worse_M = objective.worse(mean_M[None], baseline_M)[0] - objective.allowance
    return [
        f"metric {name} is worse than {objective.baseline} by more than {objective.allowance:g} "
        f"with probability {NormalDist().cdf(worse / max(sd, 1e-12)):.0%}"
        for name, worse, sd in zip(objective.metrics, worse_M, sd_M, strict=True)
        if NormalDist().cdf(worse / max(sd, 1e-12)) > 1 - LEVEL
    ]


def _answer_warnings(problem: Problem, mixture: Mixture, evidence: Evidence) -> list[str]:
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
