"""What is expected of a new run of one mixture: its objective, its metrics, and its gain over proportional."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from search.mixture import Mixture
from search.problem import PROPORTIONAL
from search.recommendation.predictor import Predictor
from search.recommendation.recommendation import Estimate


@dataclass(frozen=True)
class Expectation:
    """
    Attributes:
        objective: of one new run, with another seed, as far as it is known what seeds do to all mixtures.
        losses: the same by metric, in the objective's unit.
        gain: how much lower the objective of a new run is than that of one of the proportional mixture with the same
            seed; None where no proportional mixture is known.
    """

    objective: Estimate
    losses: Mapping[str, Estimate]
    gain: Estimate | None

    @classmethod
    def of(cls, predictor: Predictor, mixture: Mixture) -> Expectation:
        problem, noise = predictor.problem, predictor.evidence.noise
        mean, sd, mean_M, sd_M = predictor.expect(mixture)
        proportional = problem.baselines.get(PROPORTIONAL)
        return cls(
            objective=Estimate.of(mean, math.hypot(sd, 0.0 if noise is None else noise.seed_sd)),
            losses={
                name: Estimate.of(float(metric), float(metric_sd))
                for name, metric, metric_sd in zip(problem.objective.metrics, mean_M, sd_M, strict=True)
            },
            gain=None if proportional is None else Estimate.of(*predictor.gain(mixture, proportional)),
        )
