"""How far a study's pools are from what it is judged on, before anything is trained."""

from __future__ import annotations

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.results.distances import Distances, NearMixture, PoolDistances
from mixopt.study.nearness import TRANSPORT, Samples
from mixopt.study.plan import Plan
from search.transport import distances


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
    found_KJ = distances(list(samples.pools_KPE), list(samples.sets_JPE))
    between_KK = np.linalg.norm(samples.pools_KPE.mean(axis=1)[:, None] - samples.pools_KPE.mean(axis=1), axis=2)
    np.fill_diagonal(between_KK, np.inf)
    mixtures = {TRANSPORT: samples.nearest, **plan.problem.baselines}
    return Distances(
        study=plan.file.study,
        evaluation_sets=objective.metrics,
        domains={
            limit.name: PoolDistances(
                tokens=limit.tokens,
                distances=dict(zip(objective.metrics, map(float, found_J), strict=True)),
                nearest_pool=space.domains[int(between_K.argmin())],
            )
            for limit, found_J, between_K in zip(space.limits, found_KJ, between_KK, strict=True)
        },
        mixtures={
            name: NearMixture(mixture=mixture.as_dict(), distance=samples.distance(mixture))
            for name, mixture in mixtures.items()
        },
    )
