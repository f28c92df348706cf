"""How far predictions order mixtures: all of them, and those in the basin, of which one will be the answer.

Far mixtures are easily told from good ones, and make a rank correlation over all look better than what it is wanted
for. So the best quarter is scored alone. It spans less, and its measurements, the best of many, hold more luck, which
a perfect prediction does not know either: these scores are the lower ones even where errors are alike everywhere.

Shapes: N mixtures, B of them in the basin.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Float

BASIN_SHARE = 0.25
# Fewer mixtures have no order to speak of.
FEWEST_IN_BASIN = 5


@dataclass(frozen=True)
class BasinScore:
    """Predictions of the best quarter of the mixtures, by their measurements.

    Attributes:
        mixtures: how many are in the quarter.
        spearman: rank correlation among them; None where either side is constant.
        pairwise: share of their pairs that are predicted in the order in which they were measured; ties count half.
        regret: what the pick, the mixture with the best prediction of all, was measured to be worse than the best, in
            the metric's unit; the mean of the picks where several predictions are the best.
    """

    mixtures: int
    spearman: float | None
    pairwise: float
    regret: float


def score_basin(
    measured_N: Float[np.ndarray, " N"], predicted_N: Float[np.ndarray, " N"], share: float = BASIN_SHARE
) -> BasinScore | None:
    """
    Args:
        measured_N: of different mixtures, lower is better.
        share: of the mixtures that are the basin.

    Returns:
        None where the basin has fewer than FEWEST_IN_BASIN mixtures.
    """
    count = ceil(share * len(measured_N))
    if count < FEWEST_IN_BASIN:
        return None
    best_B = np.argsort(measured_N, kind="stable")[:count]
    return BasinScore(
        mixtures=count,
        spearman=rank_correlation(measured_N[best_B], predicted_N[best_B]),
        pairwise=pairwise_accuracy(measured_N[best_B], predicted_N[best_B]),
        regret=picked(measured_N, predicted_N) - float(measured_N.min()),
    )


def picked(values_N: Float[np.ndarray, " N"], predicted_N: Float[np.ndarray, " N"]) -> float:
    """The value of the mixture with the best prediction; their mean where several predictions are the best."""
    return float(values_N[predicted_N == predicted_N.min()].mean())


def pairwise_accuracy(measured_N: Float[np.ndarray, " N"], predicted_N: Float[np.ndarray, " N"]) -> float:
    """Share of pairs that both sides order alike; a pair that either side has equal counts half."""
    one_P, other_P = np.triu_indices(len(measured_N), k=1)
    measured_P = np.sign(measured_N[one_P] - measured_N[other_P])
    predicted_P = np.sign(predicted_N[one_P] - predicted_N[other_P])
    return float((1 + measured_P * predicted_P).mean() / 2)


def rank_correlation(one_N: Float[np.ndarray, " N"], other_N: Float[np.ndarray, " N"]) -> float | None:
    """Spearman's; None where either side is constant."""
    from scipy.stats import spearmanr

    if len(one_N) < 2 or np.ptp(one_N) == 0 or np.ptp(other_N) == 0:
        return None
    return float(spearmanr(one_N, other_N).statistic)
