"""Made-up worlds in which the best mixture moves as runs grow, in parameters and tokens, and is known at every scale.

Shares     the loss of a metric falls as a power of each domain's own tokens, with an exponent of the domain's own, as
           AutoScale (2407.20177) and BiMix (2405.14908) have it: E + A N^-a + sum_i F_i (w_i t + e)^-b_i.
Worths     a token's worth to a metric has an exponent of its own, as the law that search.surrogates.scaling_law fits:
           E + A N^-a + B t^-b + (sum_i v_i t^q_i w_i)^-g.
In both, t = T / T_0. Either is convex in the mixture, so that the best mixture for a mean of metrics is known.

Shapes: N mixtures, D domains, M metrics.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from benchmarks.worlds import best_mixture
from search.fidelity import Fidelity
from search.randomness import generator
from search.runs import Runs
from search.scales import Goal

FIRST_TOKENS = 2e8
METRICS, DOMAINS = 3, 5


def fidelity(params: float, tokens: float) -> Fidelity:
    return Fidelity(f"{params:g} x {tokens:g}", round(params), round(tokens), 6 * params * tokens)


@dataclass(frozen=True)
class Growing(ABC):
    """
    Attributes:
        noise_share: standard deviation of a run, in units of the spread of losses over random mixtures.
    """

    seed: int
    noise_share: float = 0.1

    @abstractmethod
    def _parts(
        self, weights_ND: Float[np.ndarray, "N D"], params: float, tokens: float
    ) -> tuple[Float[np.ndarray, "N M"], Float[np.ndarray, "N M D"]]:
        """Losses and their derivatives by the shares."""

    def losses(self, weights_ND: Float[np.ndarray, "N D"], params: float, tokens: float) -> Float[np.ndarray, "N M"]:
        """Without noise, [N, M]."""
        return self._parts(weights_ND, params, tokens)[0]

    def best(self, params: float, tokens: float) -> Float[np.ndarray, " D"]:
        """The mixture with the lowest mean of the metrics, [D]."""

        def gain_D(weights_D: Float[np.ndarray, " D"]) -> Float[np.ndarray, " D"]:
            return np.asarray(-self._parts(weights_D[None], params, tokens)[1][0].mean(axis=0))

        return best_mixture(gain_D, DOMAINS)

    def runs(self, scales: list[tuple[float, float]], counts: list[int], goal: Goal | None = None) -> Runs:
        """So many runs of random mixtures at each scale, the first of the smaller ones' again at the next."""
        rng = generator(self.seed, "runs")
        design_ND = rng.dirichlet(np.full(DOMAINS, 0.5), size=max(counts))
        weights, values, places = [], [], []
        for place, ((params, tokens), count) in enumerate(zip(scales, counts, strict=True)):
            losses_NM = self.losses(design_ND[:count], params, tokens)
            sd_M = self.noise_share * self.losses(design_ND, params, tokens).std(axis=0)
            weights.append(design_ND[:count])
            values.append(losses_NM + sd_M * rng.standard_normal(losses_NM.shape))
            places += [place] * count
        return Runs(
            names=tuple(map(str, range(len(places)))),
            domains=tuple(f"d{place}" for place in range(DOMAINS)),
            metrics=tuple(f"m{place}" for place in range(METRICS)),
            fidelities=tuple(fidelity(*scale) for scale in scales),
            weights_ND=np.vstack(weights),
            fidelity_N=np.array(places, dtype=np.int64),
            values_NM=np.vstack(values),
            goal=goal,
        )

    @cached_property
    def _floors(self) -> tuple[Float[np.ndarray, " M"], Float[np.ndarray, " M"], float]:
        """E, A and a."""
        rng = generator(self.seed, "floors")
        return rng.uniform(1.5, 2.5, METRICS), rng.uniform(20, 60, METRICS), float(rng.uniform(0.28, 0.38))


@dataclass(frozen=True)
class Shares(Growing):
    @cached_property
    def _laws(self) -> tuple[Float[np.ndarray, "M D"], Float[np.ndarray, " D"]]:
        rng = generator(self.seed, "shares")
        return rng.lognormal(-1.5, 1.0, (METRICS, DOMAINS)), rng.uniform(0.05, 0.45, DOMAINS)

    def _parts(
        self, weights_ND: Float[np.ndarray, "N D"], params: float, tokens: float
    ) -> tuple[Float[np.ndarray, "N M"], Float[np.ndarray, "N M D"]]:
        (floor_M, height_M, power), (factor_MD, power_D) = self._floors, self._laws
        t, offset = tokens / FIRST_TOKENS, 0.03
        own_ND = (weights_ND * t + offset) ** -power_D
        slope_ND = -power_D * t * own_ND / (weights_ND * t + offset)
        losses_NM = floor_M + height_M * params**-power + own_ND @ factor_MD.T
        return losses_NM, factor_MD * slope_ND[:, None, :]


@dataclass(frozen=True)
class Worths(Growing):
    @cached_property
    def _laws(self) -> tuple[Float[np.ndarray, "M D"], Float[np.ndarray, "M D"], Float[np.ndarray, " M"]]:
        rng = generator(self.seed, "worths")
        worth_MD, drift_MD = rng.lognormal(0, 1.5, (METRICS, DOMAINS)), rng.normal(0.25, 0.15, (METRICS, DOMAINS))
        return worth_MD, drift_MD, rng.uniform(0.2, 0.5, METRICS)

    def _parts(
        self, weights_ND: Float[np.ndarray, "N D"], params: float, tokens: float
    ) -> tuple[Float[np.ndarray, "N M"], Float[np.ndarray, "N M D"]]:
        (floor_M, height_M, power), (worth_MD, drift_MD, power_M) = self._floors, self._laws
        t = tokens / FIRST_TOKENS
        now_MD = worth_MD * t**drift_MD
        effective_NM = weights_ND @ now_MD.T
        own_NM = effective_NM**-power_M
        losses_NM = floor_M + height_M * params**-power + 0.2 * t**-0.3 + own_NM
        return losses_NM, (-power_M * own_NM / effective_NM)[:, :, None] * now_MD


WORLDS: dict[str, type[Growing]] = {"shares": Shares, "worths": Worths}
