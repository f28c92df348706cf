"""Runs that were trained before, as trials of a study: their mixtures, proxies and seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.base.shown import shown_name
from search.fidelity import Fidelity
from search.mixture import Mixture
from search.problem import Problem
from search.runs import Runs
from search.seeds import SEARCH_SEED, of_repeat
from search.trial import Trial

ORIGIN = "attached"


def runs_as_trials(
    runs: Runs, problem: Problem, proxy: str | None
) -> tuple[dict[Trial, Mapping[str, float]], list[str]]:
    """The trials that these runs were, with their losses, and in sentences which were left out.

    Args:
        proxy: whose they are, where the fidelities of the table are not called as the study's proxies.

    Raises:
        ConfigError: they have other domains, or lack a metric; or there is no such proxy.
    """
    domains, metrics = problem.space.domains, problem.objective.metrics
    if set(runs.domains) != set(domains):
        odd = next(iter(set(runs.domains) ^ set(domains)))
        raise ConfigError(
            f"the runs and the study have other domains: {shown_name(odd)} is in one alone",
            hint="attach runs over the study's domains; those of other domains are for reuse.runs",
        )
    if lacking := [metric for metric in metrics if metric not in runs.metrics]:
        raise ConfigError(
            f"the runs have no metric {shown_name(lacking[0])}", hint=f"give a column for each of {', '.join(metrics)}"
        )
    fidelities = _fidelities(runs, problem, proxy)
    order_D = [runs.domains.index(name) for name in domains]
    columns_M = [runs.metrics.index(name) for name in metrics]
    trials: dict[Trial, Mapping[str, float]] = {}
    seen, outside = Counter[str](), list[str]()
    for row, name in enumerate(runs.names):
        weights_D = np.asarray(runs.weights_ND[row][order_D], dtype=np.float64)
        mixture = Mixture.of(dict(zip(domains, map(float, weights_D), strict=True)))
        if not problem.space.contains(mixture):
            outside.append(name)
            continue
        fidelity = fidelities[int(runs.fidelity_N[row])]
        first = Trial(mixture, fidelity, SEARCH_SEED, ORIGIN)
        seed = SEARCH_SEED if not seen[first.id] else of_repeat(seen[first.id])
        seen[first.id] += 1
        losses_M = runs.values_NM[row][columns_M]
        trials[Trial(mixture, fidelity, seed, ORIGIN)] = dict(zip(metrics, map(float, losses_M), strict=True))
    some = ", ".join(outside[:5]) + (f" and {len(outside) - 5} more" if len(outside) > 5 else "")
    return trials, [f"{len(outside)} runs outside the study's limits are left out: {some}"] if outside else []


def _fidelities(runs: Runs, problem: Problem, proxy: str | None) -> list[Fidelity]:
    """The study's fidelity for each of the table's.

    Raises:
        ConfigError: it cannot be told.
    """
    known = {rung.fidelity.proxy: rung.fidelity for rung in problem.rungs}
    names = [fidelity.proxy for fidelity in runs.fidelities]
    if proxy is not None and proxy not in known:
        raise ConfigError(f"no proxy {shown_name(proxy)}", hint=f"choose from {', '.join(known)}")
    if proxy is None and set(names) <= known.keys():
        return [known[name] for name in names]
    if len(names) > 1:
        raise ConfigError(
            f"the runs are of {len(names)} fidelities, {', '.join(map(shown_name, names[:4]))}",
            hint=f"call them as the study's proxies: {', '.join(known)}",
        )
    return [known[proxy] if proxy is not None else problem.target]
