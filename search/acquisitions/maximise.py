"""The mixture that is most worth training, found by gradients within the constraints of a space.

Shapes: N candidates, D domains, S starts.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from botorch.acquisition import AcquisitionFunction
from botorch.exceptions.warnings import BotorchWarning
from botorch.optim import optimize_acqf
from torch import Tensor

from search.mixture import FloatArray
from search.space import Space

STARTS = 2
ITERATIONS = 15


def rank(function: AcquisitionFunction, candidates_ND: FloatArray) -> FloatArray:
    """The candidates, the one most worth training first, [N, D]."""
    with torch.no_grad():
        worth_N = function(torch.as_tensor(candidates_ND)[:, None]).numpy()
    return candidates_ND[np.argsort(-worth_N, kind="stable")]


def climb(function: AcquisitionFunction, space: Space, ranked_ND: FloatArray) -> FloatArray:
    """From the first of the candidates to the best mixture within reach, [D]; feasible up to rounding."""
    least_D, most_D = torch.as_tensor(space.least_D), torch.as_tensor(space.most_D)
    starts_SD = torch.as_tensor(ranked_ND[:STARTS]).clamp(least_D, most_D)
    with warnings.catch_warnings():
        # A climb that ends early is still a better mixture than its start.
        warnings.simplefilter("ignore", BotorchWarning)
        best_1D, _ = optimize_acqf(
            function,
            bounds=torch.stack([least_D, most_D]),
            q=1,
            num_restarts=len(starts_SD),
            batch_initial_conditions=starts_SD[:, None],
            equality_constraints=[(torch.arange(len(least_D)), torch.ones_like(least_D), 1.0)],
            inequality_constraints=_group_constraints(space),
            options={"maxiter": ITERATIONS, "max_optimization_problem_aggregation_size": 1},
            retry_on_optimization_warning=False,
        )
    weights_D: FloatArray = best_1D[0].numpy()
    return weights_D


def _group_constraints(space: Space) -> list[tuple[Tensor, Tensor, float]]:
    """As optimize_acqf wants them: the places of domains, coefficients, and what their sum is at least."""
    constraints = []
    for member_D, least, most in zip(space.group_GD, space.group_lower_G, space.group_upper_G, strict=True):
        places = torch.as_tensor(np.flatnonzero(member_D))
        ones = torch.ones(len(places), dtype=torch.float64)
        constraints += [(places, ones, float(least)), (places, -ones, -float(most))]
    return constraints
