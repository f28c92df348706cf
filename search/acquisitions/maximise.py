"""The mixture that is most worth training, found by gradients within the constraints of a problem's space.

Shapes: N candidates, D domains.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.exceptions.warnings import BotorchWarning
from botorch.optim.optimize import optimize_acqf
from jaxtyping import Float
from torch import Tensor

from search.mixture import Mixture
from search.problem import Problem
from search.space import Space

# From the best of many candidates it is not far: more iterations gain hardly anything.
ITERATIONS = 10

# As optimize_acqf wants it: places of domains, coefficients, and what their sum is, or is at least.
Constraint = tuple[Tensor, Tensor, float]


def rank(function: AcquisitionFunction, sampled_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    """The candidates, the one most worth training first, [N, D]."""
    with torch.no_grad():
        worth_N = function(torch.as_tensor(sampled_ND)[:, None]).numpy()
    return sampled_ND[np.argsort(-worth_N, kind="stable")]


def climb(
    function: AcquisitionFunction,
    problem: Problem,
    start_D: Float[np.ndarray, " D"],
    bounds: tuple[Float[np.ndarray, " D"], Float[np.ndarray, " D"]] | None = None,
) -> Float[np.ndarray, " D"]:
    """From a feasible mixture to the best within reach, [D]; feasible up to rounding.

    Args:
        bounds: the least and the largest share of each domain, inside the space's; default: these.
    """
    space = problem.space
    bounds_2D = torch.as_tensor(np.array(bounds or (space.least_D, space.most_D)))
    everywhere = torch.arange(len(space.domains))
    with warnings.catch_warnings():
        # BoTorch warns of climbs that are cut short, as ITERATIONS wants them.
        warnings.simplefilter("ignore", BotorchWarning)
        best_1D, _ = optimize_acqf(
            function,
            bounds=bounds_2D,
            q=1,
            num_restarts=1,
            batch_initial_conditions=torch.as_tensor(start_D).clamp(*bounds_2D)[None, None],
            equality_constraints=[(everywhere, torch.ones_like(bounds_2D[0]), 1.0), *_kept(space, problem.kept)],
            inequality_constraints=[*_groups(space), *_ordered(problem)],
            options={"maxiter": ITERATIONS},
            retry_on_optimization_warning=False,
        )
    weights_D: Float[np.ndarray, " D"] = best_1D[0].numpy()
    return weights_D


def _groups(space: Space) -> list[Constraint]:
    constraints = []
    for member_D, least, most in zip(space.group_GD, space.group_lower_G, space.group_upper_G, strict=True):
        places = torch.as_tensor(np.flatnonzero(member_D))
        ones = torch.ones(len(places), dtype=torch.float64)
        constraints += [(places, ones, float(least)), (places, -ones, -float(most))]
    return constraints


def _ordered(problem: Problem) -> list[Constraint]:
    """That no grade of a pool is read more often than a better one."""
    if problem.graded is None:
        return []
    constraints = []
    for row_D in problem.graded.order_OD:
        places = np.flatnonzero(row_D)
        constraints.append((torch.as_tensor(places), torch.as_tensor(row_D[places]), 0.0))
    return constraints


def _kept(space: Space, kept: Mixture | None) -> list[Constraint]:
    """That the weights of some domains keep their proportions to that of the largest of them."""
    if kept is None:
        return []
    places = [space.domains.index(name) for name in kept.domains]
    largest = int(kept.array.argmax())
    return [
        (
            torch.tensor([places[largest], place]),
            torch.tensor([share, -kept.weights[largest]], dtype=torch.float64),
            0.0,
        )
        for place, share in zip(places, kept.weights, strict=True)
        if place != places[largest]
    ]
