"""A made-up world in which the loss of every mixture is known, and trials are measured in no time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Float

from search.designs.baselines import baselines
from search.fidelity import Fidelity
from search.history import Completed, History
from search.mixture import Mixture
from search.objective import Objective, WeightedMean
from search.problem import Problem, Rung
from search.randomness import generator
from search.space import DomainLimits, Group, Space
from search.trial import CurvePoint, Loss, Measurement, Trial

SMALL = Fidelity("small", params=10**5, tokens=10**6, flops=1e12)
LARGE = Fidelity("large", params=10**6, tokens=10**7, flops=1e14)

DOMAINS = ("web", "code", "books", "chat")
SPACE = Space(
    tuple(
        DomainLimits(name, tokens) for name, tokens in zip(DOMAINS, (8 * 10**9, 10**9, 5 * 10**8, 10**8), strict=True)
    )
)

# What a token of each domain is worth to each metric; "prose" wants books, "programs" wants code.
WORTH = {"prose": (0.4, 0.05, 1.0, 0.2), "programs": (0.1, 1.0, 0.1, 0.1)}


def loss(metric: str, mixture: Mixture, fidelity: Fidelity) -> float:
    """Nats per token without noise: a law of effective data, higher and steeper for the small proxy."""
    effective = float(mixture.reordered(DOMAINS).array @ np.array(WORTH[metric]))
    scale = 1.5 if fidelity == SMALL else 1.0
    return 2.0 + scale * float((effective + 0.02) ** -0.4)


def losses(mixture: Mixture, fidelity: Fidelity = LARGE) -> Float[np.ndarray, " M"]:
    return np.array([loss(metric, mixture, fidelity) for metric in WORTH])


def measure(trial: Trial, noise: float = 0.01) -> Measurement:
    rng = generator("noise", trial.id)
    nats = {metric: loss(metric, trial.mixture, trial.fidelity) + noise * rng.standard_normal() for metric in WORTH}
    measured = {metric: Loss(value, value / math.log(2) / 4) for metric, value in nats.items()}
    return Measurement(
        losses=measured,
        curve=(CurvePoint(trial.fidelity.tokens, measured, training_loss=3.0),),
        domain_tokens={},
        domain_epochs={},
        flops=trial.fidelity.flops,
        seconds=1.0,
    )


def completed(trials: Iterable[Trial], measuring: Callable[[Trial], Measurement] = measure) -> History:
    return History(tuple(Completed(trial, measuring(trial)) for trial in trials))


def problem(
    trials: Sequence[int] = (24,),
    space: Space = SPACE,
    objective: Objective | None = None,
    seed: int = 0,
) -> Problem:
    """One rung (large) or two (small, large) with that many design mixtures."""
    fidelities = (SMALL, LARGE)[-len(trials) :]
    return Problem(
        space=space,
        rungs=tuple(Rung(fidelity, count) for fidelity, count in zip(fidelities, trials, strict=True)),
        objective=objective or WeightedMean({"prose": 1.0, "programs": 1.0}),
        baselines={baseline.name: baseline.mixture for baseline in baselines(space)},
        seed=seed,
    )


TIGHT = Space(
    SPACE.limits,
    (Group("curated", ("code", "books"), minimum=0.3), Group("talk", ("chat",), maximum=0.05)),
    target_tokens=4 * 10**9,
    max_epochs=2,
)
