"""Runs that were trained before, as trials of a study: their mixtures, proxies and seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mixopt.base.errors import ConfigError
from mixopt.base.shown import shown_name
from mixopt.runs.tables.sheet import some
from mixopt.runs.tables.words import called
from search.fidelity import Fidelity
from search.history import History
from search.mixture import Mixture
from search.problem import Problem
from search.runs import Runs
from search.seeds import SEARCH_SEED, of_repeat
from search.trial import Trial

ORIGIN = "attached"


@dataclass(frozen=True)
class Found:
    """
    Attributes:
        trials: that are new to the study, with their losses.
        known: how many runs are trials of the study already.
        left_out: in sentences, which are none.
    """

    trials: Mapping[Trial, Mapping[str, float]]
    known: int
    left_out: tuple[str, ...]


def runs_as_trials(runs: Runs, problem: Problem, history: History, proxy: str | None) -> Found:
    """The trials that these runs were.

    A run with the losses of a trial of its mixture and proxy is that trial; another is a repeat, with its own seed. One
    that lacks a metric is none: what an empty cell means, nobody knows, and a trial that failed would stay so.

    Args:
        history: of the study so far.
        proxy: whose they are, where the fidelities of the table are not called as the study's proxies.

    Raises:
        ConfigError: they have other domains, or lack a metric; or there is no such proxy.
    """
    domains, metrics = problem.space.domains, problem.objective.metrics
    _check_domains(runs, domains)
    fidelities = _fidelities(runs, problem, proxy)
    weights_ND = runs.weights_ND[:, [runs.domains.index(name) for name in domains]]
    values_NM = runs.values_NM[:, [_place(runs, metric) for metric in metrics]]
    measured = {entry.trial.id: entry.measurement.losses for entry in history.completed}
    taken, trials = set(history.trial_ids), dict[Trial, Mapping[str, float]]()
    known, outside, gaps = 0, list[str](), list[str]()
    for row, name in enumerate(runs.names):
        mixture = Mixture.of(dict(zip(domains, map(float, weights_ND[row]), strict=True)))
        if not problem.space.contains(mixture):
            outside.append(name)
            continue
        losses = dict(zip(metrics, map(float, values_NM[row]), strict=True))
        if lacking := [metric for metric, value in losses.items() if not math.isfinite(value)]:
            gaps.append(f"{name} ({lacking[0]})")
            continue
        for seed in (SEARCH_SEED, *map(of_repeat, range(1, len(runs) + len(taken) + 1))):
            trial = Trial(mixture, fidelities[int(runs.fidelity_N[row])], seed, ORIGIN)
            before = measured.get(trial.id)
            if before is not None and all(before[metric].nats_per_token == losses[metric] for metric in metrics):
                known += 1
                break
            if trial.id not in taken:
                taken.add(trial.id)
                trials[trial] = losses
                break
    said = [f"{len(outside)} runs outside the study's limits are left out: {some(outside, 5)}"] if outside else []
    if gaps:
        why = "without a metric, or for which it is no finite number"
        said.append(f"{len(gaps)} runs {why}, are left out: {some(gaps, 5)}")
    return Found(trials, known, tuple(said))


def _check_domains(runs: Runs, domains: tuple[str, ...]) -> None:
    """
    Raises:
        ConfigError: the runs have other domains.
    """
    if set(runs.domains) != set(domains):
        odd = next(iter(set(runs.domains) ^ set(domains)))
        raise ConfigError(
            f"the runs and the study have other domains: {shown_name(odd)} is in one alone",
            hint="attach runs over the study's domains; those of other domains are for reuse.runs",
        )


def _place(runs: Runs, metric: str) -> int:
    """Where the values of a metric stand: under its name, or the only one that ends in it.

    Raises:
        ConfigError: the runs lack it, or have several that may be it.
    """
    found = called(metric, runs.metrics)
    if len(found) == 1:
        return runs.metrics.index(found[0])
    if not found:
        raise ConfigError(f"the runs have no metric {shown_name(metric)}", hint=f"give {metric}, or PREFIX/{metric}")
    raise ConfigError(
        f"{shown_name(found[0])} and {shown_name(found[1])} of the runs may both be metric {shown_name(metric)}",
        hint=f"leave one of them, or call it {metric}",
    )


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
