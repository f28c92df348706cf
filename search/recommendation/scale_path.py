"""How the best mixture moves as runs grow: the mixture's path over scale, from the smallest runs to the goal.

At each scale the law of search.surrogates.scaling_law predicts the candidates, and the best of these are averaged as in
search.recommendation.trusted_mixtures. How sure a share is: the same for DRAWS laws that the runs allow as well,
drawn from the fit's posterior, linearised; the same draws at every scale.

Shapes: N mixtures, D domains, M metrics, S draws, Q parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from search.designs.choices import choices
from search.evidence import Evidence
from search.mixture import Mixture
from search.problem import Problem
from search.randomness import generator
from search.recommendation.recommendation import LEVEL, Estimate
from search.recommendation.trusted_mixtures import AVERAGED, TrustedMixtures
from search.recommendation.validation import objective_sd
from search.scales import Scales
from search.surrogates.loss_model import LossModel
from search.surrogates.scaling_law import AnyScale
from search.threads import one_thread
from search.trust_region import TrustRegion

# The objective's `value` or `order`, of predicted metrics and those of its baseline.
Judge = Callable[[Float[np.ndarray, "N M"], Float[np.ndarray, " M"] | None], Float[np.ndarray, " N"]]

DRAWS = 48
# Scales that were trained, at most: the smallest, one between, and the largest; and those between it and the goal.
TRAINED, BETWEEN = 3, 2


@dataclass(frozen=True)
class ScalePoint:
    """
    Attributes:
        params, tokens: of a run there; None where it is not known or makes no difference.
        trained: whether runs were trained there.
        mixture: the best that may be an answer.
        shares: the 95% interval of each domain's share in it.
        predicted: the objective of one new run of it.
    """

    params: float | None
    tokens: float | None
    trained: bool
    mixture: Mixture
    shares: Mapping[str, tuple[float, float]]
    predicted: Estimate


@dataclass(frozen=True)
class ScalePath:
    """
    Attributes:
        points: by rising scale, the last is the goal's.
        moved: the share of the tokens that differs between what is best at the largest scale that was trained and at
            the goal.
        gain: by how much the objective at the goal is lower with what is best there.
        cautions: what to be careful about, a sentence each.
    """

    points: tuple[ScalePoint, ...]
    moved: float
    gain: Estimate
    cautions: tuple[str, ...]

    @property
    def matters(self) -> bool:
        """Whether moving is a gain beyond doubt."""
        return self.gain.lower > 0


@one_thread
def scale_path(
    problem: Problem,
    evidence: Evidence,
    model: LossModel,
    trust: TrustRegion,
    residual_NM: Float[np.ndarray, "N M"] | None = None,
) -> ScalePath | None:
    """
    Args:
        model: fitted by the scaling law, in whose reach the goal is.
        residual_NM: held-out errors, which tell how metrics err together; without any, they are taken to err alike.

    Returns:
        None where the law found no scales to be fitted over.
    """
    scales = evidence.runs.scales
    if not scales.axes.names:
        return None
    trusted = TrustedMixtures(problem, evidence, trust)
    everywhere_ND = trusted.everywhere(generator(problem.seed, "candidates"))
    rng = generator(problem.seed, "scale path")
    errors = [rng.standard_normal((DRAWS, _law(model, metric).freedom)) for metric in range(len(model.fitted))]
    objective = problem.objective
    if residual_NM is None:
        residual_NM = np.empty((0, len(objective.metrics)))

    def at(params: float, tokens: float) -> tuple[_There, Float[np.ndarray, " D"], Float[np.ndarray, "S D"]]:
        """What is predicted at a scale, the best mixture there, and the best by each draw."""
        there = _There(problem, _at_scale(model, params, tokens), errors)
        found_ND = np.vstack([everywhere_ND, trusted.best(there.order)])
        # As `most_promising`, of these.
        best_D = _average(found_ND, there.order(found_ND))
        drawn_SD = np.array([_average(found_ND, order_N) for order_N in there.draws(found_ND, objective.order)])
        return there, best_D, drawn_SD

    points, best = [], []
    for params, tokens, trained in _stations(scales):
        there, best_D, drawn_SD = at(params, tokens)
        mixture = choices(problem).mixture(best_D)
        mean_1M, sd_1M = there.model.predict(mixture.array[None])
        sd = objective_sd(objective, mean_1M[0], sd_1M[0], residual_NM, there.baseline_M)
        low_D, high_D = np.quantile(drawn_SD, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        domains = problem.space.domains
        # The best by the law itself is among what it allows.
        shares = {
            name: (min(float(low), mixture[name]), max(float(high), mixture[name]))
            for name, low, high in zip(domains, low_D, high_D, strict=True)
        }
        predicted = Estimate.of(float(objective.value(mean_1M, there.baseline_M)[0]), sd)
        points.append(ScalePoint(_known(params), _known(tokens), trained, mixture, shares, predicted))
        best.append(mixture.array)
    last = max((place for place, point in enumerate(points) if point.trained), default=0)
    pair_2D = np.array([best[last], best[-1]])
    stay, move = there.objective(pair_2D)
    gain_S = -np.diff(there.draws(pair_2D, objective.value), axis=1)[:, 0]
    return ScalePath(
        tuple(points),
        float(np.abs(pair_2D[0] - pair_2D[1]).sum() / 2),
        Estimate.of(float(stay - move), float(gain_S.std(ddof=1))),
        scales.cautions,
    )


@dataclass(frozen=True, eq=False)
class _There:
    """What the laws say of one scale.

    Attributes:
        errors: of each metric, standard normal numbers for its law's parameters, [S, Q].
    """

    problem: Problem
    model: LossModel
    errors: list[Float[np.ndarray, "S _"]]

    @property
    def baseline_M(self) -> Float[np.ndarray, " M"] | None:
        name = self.problem.objective.baseline
        return None if name is None else self.model.mean(self.problem.baselines[name].array[None])[0]

    def objective(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        return self.problem.objective.value(self.model.mean(weights_ND), self.baseline_M)

    def order(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        """What mixtures are sorted by: the objective, last those that break a constraint."""
        return self.problem.objective.order(self.model.mean(weights_ND), self.baseline_M)

    def draws(self, weights_ND: Float[np.ndarray, "N D"], judge: Judge) -> Float[np.ndarray, "S N"]:
        """What mixtures are judged by, by each of the laws drawn; the objective's baseline is by the same law."""
        name = self.problem.objective.baseline
        if name is None:
            return np.array([judge(each_NM, None) for each_NM in self._drawn(weights_ND)])
        with_baseline_ND = np.vstack([weights_ND, self.problem.baselines[name].array])
        return np.array([judge(each_NM[:-1], each_NM[-1]) for each_NM in self._drawn(with_baseline_ND)])

    def _drawn(self, weights_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "S N M"]:
        """The metrics by each of the laws drawn."""
        moved = [
            error_SQ @ _law(self.model, metric).spread(weights_ND).T for metric, error_SQ in enumerate(self.errors)
        ]
        drawn_SNM: Float[np.ndarray, "S N M"] = self.model.mean(weights_ND) + np.stack(moved, 2)
        return drawn_SNM


def _law(model: LossModel, metric: int) -> AnyScale:
    law = model.fitted[metric]
    assert isinstance(law, AnyScale), "fitted by the scaling law"
    return law


def _at_scale(model: LossModel, params: float, tokens: float) -> LossModel:
    laws = tuple(_law(model, metric).at_scale(params, tokens) for metric in range(len(model.fitted)))
    return replace(model, fitted=laws, out_of_fold=None)


def _stations(scales: Scales) -> list[tuple[float, float, bool]]:
    """Parameters and tokens of the scales on the path, and whether they were trained; NaN where not on an axis."""
    axes = scales.axes
    place_LK = np.unique(axes.place_LK.round(9), axis=0)
    order = np.argsort((place_LK * axes.span_K).sum(axis=1), kind="stable")
    trained_LK = place_LK[order][np.unique(np.linspace(0, len(order) - 1, TRAINED).round().astype(int))]
    last_K = axes.place_LK[-1]
    share = np.linspace(0, 1, BETWEEN + 2)[1:, None]
    places = [*trained_LK, *(last_K + share * (axes.goal_K - last_K))]
    stations = []
    for number, place_K in enumerate(places):
        named = dict(zip(axes.names, np.exp(axes.top_K + place_K * axes.span_K).tolist(), strict=True))
        trained = number < len(trained_LK)
        stations.append((named.get("params", np.nan), named.get("tokens", np.nan), trained))
    return stations


def _known(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None


def _average(found_ND: Float[np.ndarray, "N D"], value_N: Float[np.ndarray, " N"]) -> Float[np.ndarray, " D"]:
    average_D: Float[np.ndarray, " D"] = found_ND[np.argsort(value_N, kind="stable")[:AVERAGED]].mean(axis=0)
    return average_D
