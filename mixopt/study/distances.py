"""How far a study's pools are from what it is judged on, before anything is trained."""

from __future__ import annotations

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.results.distances import Distances, NearMixture, PoolDistances
from mixopt.study.nearness import TRANSPORT, Samples
from mixopt.study.plan import Plan
from search.transport import distances

# Pools and evaluation sets together that are compared within seconds: each takes about a tenth of one, a pair of them
# some thousandths.
FEW = 60


def is_quick(plan: Plan) -> bool:
    """Whether distances are known within seconds."""
    return len(plan.problem.space.domains) + len(plan.problem.objective.metrics) <= FEW


def pool_distances(plan: Plan, samples: Samples) -> dict[str, dict[str, float]]:
    """Of each pool from each evaluation set of the objective."""
    found_KJ = distances(list(samples.pools_KPE), list(samples.sets_JPE))
    return {
        name: dict(zip(plan.problem.objective.metrics, map(float, found_J), strict=True))
        for name, found_J in zip(plan.problem.space.domains, found_KJ, strict=True)
    }


def distances_of(plan: Plan) -> Distances:
    """
    Raises:
        ConfigError: another trainer has the text.
    """
    if plan.corpus is None:
        raise ConfigError(
            f"{plan.file.file}: executor.kind: {plan.file.executor.kind} reads no text, so no distances are known",
            hint="make a study of the text that mixopt trains on, or measure them where the text is",
        )
    space, objective = plan.problem.space, plan.problem.objective
    samples = Samples(plan.corpus, space, objective)
    found = pool_distances(plan, samples)
    between_KK = np.linalg.norm(samples.pools_KPE.mean(axis=1)[:, None] - samples.pools_KPE.mean(axis=1), axis=2)
    np.fill_diagonal(between_KK, np.inf)
    mixtures = {TRANSPORT: samples.nearest, **plan.problem.baselines}
    return Distances(
        study=plan.file.study,
        evaluation_sets=objective.metrics,
        domains={
            limit.name: PoolDistances(
                tokens=limit.tokens,
                distances=found[limit.name],
                nearest_pool=space.domains[int(between_K.argmin())],
            )
            for limit, between_K in zip(space.limits, between_KK, strict=True)
        },
        mixtures={
            name: NearMixture(mixture=mixture.as_dict(), distance=samples.distance(mixture))
            for name, mixture in mixtures.items()
        },
    )
