"""How much of a difference between two mixtures hangs on which documents it was measured on.

New seeds say how a difference would change in other trainings, not on other documents. The documents of each evaluation
set are taken for a random sample of all there are, in G groups of whole documents, and the measurement is repeated on
sets that are drawn from these: G - 1 groups with replacement, each set by itself, which keeps the variance of a mean
unbiased also where G is small (J. N. K. Rao and C. F. J. Wu, "Resampling inference with complex survey data", Journal
of the American Statistical Association 83, 1988). In draw b, with the objective f of the losses L of all sets,

    L_b = sum_g m_bg nats_g / sum_g m_bg tokens_g,        m_b ~ Multinomial(G - 1; 1/G, ..., 1/G)
    d_b = mean over the shared seeds of f(L_b of the one) - f(L_b of the other)

and the standard deviation of d_b is the documents' part of the difference's standard error. Each draw has the same
groups for all mixtures and seeds, because documents are crossed with seeds; so the variances of the two parts add up
(A. C. Cameron, J. B. Gelbach and D. L. Miller, "Robust inference with multiway clustering", Journal of Business &
Economic Statistics 29, 2011). What a seed and a document change only together is in both and is not taken off: the
sum is rather too large than too small.

Degrees of freedom are groups minus sets, as for samples from strata. Of a set that is one document, nothing is known
of others: it is taken as it is.

Shapes: D draws, M metrics, G groups of one set.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from search.history import History
from search.mixture import Mixture
from search.problem import Problem
from search.randomness import generator
from search.trial import DocumentGroups, Measurement

# A standard deviation of so many draws is off by a thirtieth.
DRAWS = 400


@dataclass(frozen=True, eq=False)
class Redrawn:
    """The objective of one mixture on redrawn documents, whose draws are those of every other mixture.

    Attributes:
        values: by seed, [D] each.
        freedom: degrees of freedom, see above.
    """

    values: Mapping[int, Float[np.ndarray, " D"]]
    freedom: int


@dataclass(frozen=True)
class DocumentError:
    """Standard error of a difference that comes from the documents, in the unit of the objective."""

    sd: float
    freedom: int


def redraw(problem: Problem, mixture: Mixture, seeds: Iterable[int], history: History) -> Redrawn | None:
    """The mixture's trials at the target with these seeds, on redrawn documents.

    Returns:
        None without a seed, where a trial does not tell what groups of documents cost, or no set has two groups.
    """
    values, freedom = {}, 0
    for seed in seeds:
        measurement = history.measured(mixture, problem.target, seed)
        losses_DM = None if measurement is None else redrawn_losses(problem, measurement)
        if measurement is None or losses_DM is None:
            return None
        if problem.objective.baseline is None:
            values[seed] = problem.objective.value(losses_DM)
        else:
            baseline = history.measured(problem.baselines[problem.objective.baseline], problem.target, seed)
            baseline_DM = None if baseline is None else redrawn_losses(problem, baseline)
            if baseline_DM is None:
                return None
            of_draws = [
                problem.objective.value(losses_M[None], baseline_M)[0]
                for losses_M, baseline_M in zip(losses_DM, baseline_DM, strict=True)
            ]
            values[seed] = np.array(of_draws)
        freedom = sum(len(_measured(each)[0]) - 1 for each in _counted(problem, measurement))
    return Redrawn(values, freedom) if freedom else None


def document_error(one: Redrawn | None, other: Redrawn | None) -> DocumentError | None:
    """Of the mean difference over the seeds that both have; None where that is not known."""
    if one is None or other is None:
        return None
    shared = [one.values[seed] - other.values[seed] for seed in one.values if seed in other.values]
    if not shared:
        return None
    return DocumentError(float(np.mean(shared, axis=0).std(ddof=1)), min(one.freedom, other.freedom))


def _counted(problem: Problem, measurement: Measurement) -> list[DocumentGroups]:
    """Of the objective's evaluation sets, in their order, those that are known."""
    return [measurement.documents[name] for name in problem.objective.metrics if name in measurement.documents]


def redrawn_losses(problem: Problem, measurement: Measurement) -> Float[np.ndarray, "D M"] | None:
    """The losses of the objective's metrics in each draw, [D, M]; None where the groups of one are not known."""
    metrics, counted = problem.objective.metrics, _counted(problem, measurement)
    if len(counted) < len(metrics):
        return None
    losses_MD = []
    for name, groups in zip(metrics, counted, strict=True):
        nats_G, tokens_G, bytes_G = _measured(groups)
        length_G = tokens_G if problem.objective.unit == "nats_per_token" else math.log(2) * bytes_G
        drawn_DG = _draws(problem.seed, name, len(nats_G))
        losses_MD.append(drawn_DG @ nats_G / (drawn_DG @ length_G))
    return np.stack(losses_MD, axis=1)


@lru_cache(maxsize=256)
def _draws(seed: int, name: str, groups: int) -> Float[np.ndarray, "D G"]:
    """How often each group is in each draw of a set, the same for whatever was measured on it, [D, G]."""
    if groups == 1:
        return np.ones((DRAWS, 1))
    counts_DG = generator(seed, "documents", name).multinomial(groups - 1, np.full(groups, 1 / groups), DRAWS)
    return counts_DG.astype(np.float64)


def _measured(groups: DocumentGroups) -> Float[np.ndarray, "3 G"]:
    """Nats, tokens and bytes of the groups that have any, [3, G]."""
    sums_3G = np.array([groups.nats, groups.tokens, groups.bytes], dtype=np.float64)
    kept_3G: Float[np.ndarray, "3 G"] = sums_3G[:, (sums_3G[1] > 0) & (sums_3G[2] > 0)]
    return kept_3G
