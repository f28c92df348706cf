"""What the process does not know beforehand, and what is believed of it: a normal distribution on standardised values.

Shapes: G length scales (1 or one per domain), L fidelities, P hyperparameters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Float
from scipy.linalg import block_diag

# Means and standard deviations.
LOG_SCALE = (0.0, 1.0)
LOG_TREND = (0.0, 1.0)
LOG_NOISE = (float(np.log(0.1)), 1.0)
# From one fidelity to the next the noise changes by about so much.
LOG_NOISE_STEP = 0.5
# The length scales of the domains spread around a common one, which has a wide prior.
LOG_LENGTH = (0.3, 1.0)
LENGTH_SPREAD = 0.55
LOG_GAIN_STEP = 0.3
LOGIT_LINK = (2.0, 1.0)

BOUNDS = {
    "scale": (-5.0, 3.0),
    "trend": (-5.0, 3.0),
    "noise": (float(np.log(0.005)), float(np.log(2.0))),
    "length": (-2.5, 4.0),
    "gain": (-3.0, 1.5),
    "link": (-2.0, 6.0),
}


@dataclass(frozen=True, eq=False)
class Hyperparameters:
    """All in logarithms, the links between neighbouring fidelities as logits; the gain of the first fidelity is 1.

    Attributes:
        vector_P: scale, trend, noises [L], length scales [G], gains but the first [L - 1], links [L - 1].
    """

    vector_P: Float[np.ndarray, " P"]
    lengths: int
    fidelities: int

    @classmethod
    def start(cls, lengths: int, fidelities: int = 1) -> Hyperparameters:
        """The mean of the prior."""
        return cls(prior(lengths, fidelities)[0], lengths, fidelities)

    def replaced(self, vector_P: Float[np.ndarray, " P"]) -> Hyperparameters:
        return replace(self, vector_P=vector_P)

    def over(self, fidelities: int) -> Hyperparameters:
        """The same kernel for more fidelities than it was fitted to, the new ones as they are expected to be."""
        more = fidelities - self.fidelities
        known = [self.vector_P[:2], self.log_noise_L, np.repeat(self.log_noise_L[-1], more), self.log_length_G]
        gains = [self.log_gain_L[1:], np.zeros(more), self.logit_link, np.full(more, LOGIT_LINK[0])]
        return replace(self, vector_P=np.concatenate([*known, *gains]), fidelities=fidelities)

    @cached_property
    def bounds(self) -> list[tuple[float, float]]:
        fidelities, more = self.fidelities, self.fidelities - 1
        counts = {"scale": 1, "trend": 1, "noise": fidelities, "length": self.lengths, "gain": more, "link": more}
        return [BOUNDS[name] for name, count in counts.items() for _ in range(count)]

    @property
    def log_scale(self) -> float:
        return float(self.vector_P[0])

    @property
    def log_trend(self) -> float:
        return float(self.vector_P[1])

    @property
    def log_noise_L(self) -> Float[np.ndarray, " L"]:
        return self.vector_P[2 : 2 + self.fidelities]

    @property
    def log_length_G(self) -> Float[np.ndarray, " G"]:
        return self.vector_P[2 + self.fidelities :][: self.lengths]

    @property
    def log_gain_L(self) -> Float[np.ndarray, " L"]:
        return np.append(0.0, self.vector_P[2 + self.fidelities + self.lengths :][: self.fidelities - 1])

    @property
    def logit_link(self) -> Float[np.ndarray, " links"]:
        return self.vector_P[len(self.vector_P) - self.fidelities + 1 :]

    @property
    def noise_L(self) -> Float[np.ndarray, " L"]:
        """Variance of the noise."""
        noise_L: Float[np.ndarray, " L"] = np.exp(2 * self.log_noise_L)
        return noise_L

    @property
    def link(self) -> Float[np.ndarray, " links"]:
        link: Float[np.ndarray, " links"] = 1 / (1 + np.exp(-self.logit_link))
        return link

    @property
    def between_LL(self) -> Float[np.ndarray, "L L"]:
        """Covariance between fidelities: the product of their gains and of the links from one to the other."""
        if self.fidelities == 1:
            return np.ones((1, 1))
        along_L = np.append(0.0, np.cumsum(np.log(self.link)))
        between_LL: Float[np.ndarray, "L L"] = np.exp(
            -np.abs(along_L[:, None] - along_L) + self.log_gain_L[:, None] + self.log_gain_L
        )
        return between_LL

    def log_prior(self) -> tuple[float, Float[np.ndarray, " P"]]:
        """Up to a constant, and its gradient, [P]."""
        mean_P, precision_PP = prior(self.lengths, self.fidelities)
        away_P = self.vector_P - mean_P
        pull_P = precision_PP @ away_P
        return -0.5 * float(away_P @ pull_P), -pull_P


@lru_cache
def prior(lengths: int, fidelities: int) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, "P P"]]:
    """Mean [P] and precision [P, P] of the hyperparameters: noises and gains walk at random along the fidelities."""
    more = fidelities - 1
    mean_P: Float[np.ndarray, " P"] = np.repeat(
        [LOG_SCALE[0], LOG_TREND[0], LOG_NOISE[0], LOG_LENGTH[0], 0.0, LOGIT_LINK[0]],
        [1, 1, fidelities, lengths, more, more],
    )
    walk_LL = np.minimum.outer(np.arange(fidelities), np.arange(fidelities))
    blocks: list[Float[np.ndarray, "B B"]] = [
        LOG_SCALE[1] ** 2 * np.eye(1),
        LOG_TREND[1] ** 2 * np.eye(1),
        LOG_NOISE[1] ** 2 + LOG_NOISE_STEP**2 * walk_LL,
        LENGTH_SPREAD**2 * np.eye(lengths) + LOG_LENGTH[1] ** 2,
        LOG_GAIN_STEP**2 * walk_LL[1:, 1:],
        LOGIT_LINK[1] ** 2 * np.eye(more),
    ]
    return mean_P, np.asarray(np.linalg.inv(block_diag(*blocks)), dtype=np.float64)
