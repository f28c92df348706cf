"""From what somebody asks of finished runs to the problem that it poses: runs, fidelities, objective and space.

Shapes: N runs, D domains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.runs import holdout as holdouts
from mixopt.runs import table as run_table
from mixopt.runs.domains import over_domains_of_now
from mixopt.runs.objective import COMPARED_WITH, mean_of, metrics_named, objective_of
from mixopt.runs.request import FitRequest
from mixopt.runs.table import TableSource, complete_fidelities
from mixopt.settings.space import Limits, check_domains
from mixopt.settings.units import show_count
from search.designs.baselines import baselines
from search.fidelity import Fidelity
from search.problem import Problem, Rung
from search.reuse import Changes
from search.runs import Runs
from search.scales import Goal
from search.space import DomainLimits, Space

# Where only shares are known, they stand for supplies of so many tokens in all.
SUPPLY = 10**12
# What the natural mixture is where no tokens are known.
MEAN_MIXTURE = "the mean mixture of the runs, for no --space gives the tokens of every domain"


@dataclass(frozen=True)
class FitProblem:
    """What the tables and the request amount to.

    Attributes:
        runs: those to fit; their metrics are the objective's, in its order, and their target is the fidelity that
            predictions are in the units of.
        wanted: the fidelity that the mixture is for; the runs' target, unless it has no run.
        holdout: those to score, of one fidelity, or None.
        natural_is: where the mixture that answers are compared with comes from.
        refusal: why no law of scale predicts the run that the mixture is for; None where one may.
    """

    problem: Problem
    runs: Runs
    wanted: Fidelity
    holdout: Runs | None
    natural_is: str
    notes: tuple[str, ...]
    refusal: str | None = None


def pose(request: FitRequest) -> FitProblem:
    """The problem that the request poses over its tables.

    Raises:
        ConfigError, SearchError: a table or an option is wrong.
    """
    notes: list[str] = []
    table, held_out = _tables(request, notes)
    chosen = request.metrics or metrics_named(request.objective_settings, table.metrics)
    runs, metric_notes = run_table.choose_metrics(table, request.runs, chosen)
    notes += metric_notes
    if held_out is not None and request.holdout is not None:
        held_out, metric_notes = holdouts.match_holdout(held_out, request.holdout, runs)
        notes += metric_notes
    if len(np.unique(runs.mixture_N)) < 2:
        raise ConfigError(
            f"{request.runs}: one mixture leaves nothing to compare", hint="give runs of several mixtures"
        )
    complete = complete_fidelities(runs.select(runs.complete_N))
    if not complete:
        raise ConfigError(
            f"{request.runs}: no run measured all of {', '.join(runs.metrics)}",
            hint="choose some of them with --metric",
        )
    wanted = _wanted(request, runs, complete, complete_fidelities(held_out) if held_out is not None else [])
    if wanted.proxy in (fidelity.proxy for fidelity in complete):
        runs = runs.targeting(wanted.proxy)
    else:
        runs = runs.targeting(complete[-1].proxy)
        if request.goal_params is None and request.goal_tokens is None:
            notes.append(
                f"no run at {wanted.proxy} measured every metric: predictions are those of {runs.target.proxy}, and "
                "only their ranking is taken to carry over"
            )
    if request.target is None and (
        same := [each.proxy for each in complete if each.proxy != wanted.proxy and each.flops == wanted.flops]
    ):
        notes.append(f"{wanted.proxy} and {', '.join(same)} cost the same: --target-fidelity chooses between them")
    settings = request.objective_settings
    mean = mean_of(runs, request.objective, request.maximize, request.minimize, notes, settings)
    objective, runs = objective_of(mean, request.objective, settings), runs.of(*mean.metrics)
    goal = _goal(request, runs, notes)
    runs = replace(runs, goal=goal)
    space, natural_is = _space(request.limits, runs, notes)
    if held_out is not None:
        held_out, holdout_notes = holdouts.to_score(held_out.of(*mean.metrics), runs, wanted.proxy)
        notes += holdout_notes
        if objective.baseline is not None and held_out.target.proxy != runs.target.proxy:
            raise ConfigError(
                f"objective {request.objective} compares with the {objective.baseline} mixture at {runs.target.proxy}, "
                f"and the holdout was measured at {held_out.target.proxy}",
                hint=f"give a holdout at {runs.target.proxy}, or another --objective",
            )
    compared = baselines(space, COMPARED_WITH)
    notes += [f"the {each.name} mixture is moved into the limits: {each.broken[0]}" for each in compared if each.broken]
    problem = Problem(
        space=space,
        rungs=tuple(Rung(fidelity, int(runs.at(index).sum())) for index, fidelity in enumerate(runs.fidelities)),
        objective=objective,
        baselines={each.name: each.mixture for each in compared},
        seed=request.seed,
        goal=goal,
        levels={} if request.limits is None else request.limits.levels,
    )
    scales = runs.scales.at(np.unique(runs.fidelity_N[runs.complete_N]))
    if goal is not None:
        notes += scales.cautions
    return FitProblem(problem, runs, wanted, held_out, natural_is, tuple(notes), scales.refusal)


def _goal(request: FitRequest, runs: Runs, notes: list[str]) -> Goal | None:
    """The run that the mixture is for, where it was asked for by its size.

    Raises:
        ConfigError: the table does not say of its runs what is said of that one.
    """
    limits = request.limits
    params, tokens = request.goal_params, request.goal_tokens
    if limits is not None and (limits.target_params is not None or params is not None or tokens is not None):
        params, tokens = params or limits.target_params, tokens or limits.target_tokens
    if params is None and tokens is None:
        return None
    scales = runs.scales
    for given, known_L, what in ((params, scales.params_L, "params"), (tokens, scales.tokens_L, "tokens")):
        if given is not None and not np.isfinite(known_L).any():
            raise ConfigError(
                f"a target of {given:g} {what}, and {request.runs} does not say the {what} of its runs",
                hint=f"add a column {what}, or leave out --target-{what}",
            )
    if tokens is None and not np.isfinite(scales.tokens_L[-1]):
        raise ConfigError(
            f"{request.runs} does not say the tokens of its runs at {runs.target.proxy}",
            hint="add a column tokens, or give --target-tokens",
        )
    supply = {name: each.tokens for name, each in limits.domains.items()} if limits is not None else {}
    supply_D = [float(supply.get(name) or np.nan) for name in runs.domains]
    if tokens is None:
        tokens = float(scales.tokens_L[-1])
        notes.append(
            f"the final run is taken to have the {show_count(tokens)} tokens of the runs at {runs.target.proxy}; "
            "give --target-tokens where it has others"
        )
    return Goal(
        params,
        tokens,
        None if np.isnan(supply_D).any() else np.array(supply_D),
    )


def _tables(request: FitRequest, notes: list[str]) -> tuple[Runs, Runs | None]:
    """The runs and the holdout, if there is one: every metric, over the domains of now where these changed."""
    read: dict[TableSource, Runs] = {}
    for source in (request.runs, request.holdout):
        if source is None:
            continue
        read[source], table_notes = run_table.read_all(source)
        notes += table_notes
    if request.limits is not None and request.changes != Changes():
        changed = [source for source, runs in read.items() if set(runs.domains) != set(request.limits.domains)]
        if not changed:
            raise ConfigError(
                f"{request.runs}: its domains are those of {request.limits.source} already, none is to be renamed "
                "or split",
                hint="leave out --renamed and --split, or correct the domains of the file",
            )
        for source in changed:
            read[source], changed_notes = over_domains_of_now(read[source], source, request.changes, request.limits)
            notes += changed_notes
    return read[request.runs], None if request.holdout is None else read[request.holdout]


def _wanted(request: FitRequest, runs: Runs, complete: Sequence[Fidelity], held_out: Sequence[Fidelity]) -> Fidelity:
    """The fidelity asked for, or else the dearest that both tables have, or else the dearest.

    Args:
        complete: those at which runs measured every metric.
        held_out: those of the holdout.

    Raises:
        ConfigError: neither table has the one asked for.
    """
    if request.target is None:
        there = {fidelity.proxy for fidelity in held_out}
        shared = [fidelity for fidelity in complete if fidelity.proxy in there]
        return max(shared or (*complete, *held_out), key=lambda fidelity: fidelity.flops)
    known = {fidelity.proxy: fidelity for fidelity in (*held_out, *runs.fidelities)}
    if request.target not in known:
        raise ConfigError(f"fidelity {request.target!r} does not exist", hint=f"choose from {', '.join(known)}")
    return known[request.target]


def _space(given: Limits | None, runs: Runs, notes: list[str]) -> tuple[Space, str]:
    """The mixtures that may be the answer, and in words what its natural mixture is."""
    if given is not None:
        check_domains(given, runs.domains)
    counted = {} if given is None else {name: each.tokens for name, each in given.domains.items() if each.tokens}
    if given is not None and len(counted) == len(runs.domains):
        tokens, natural_is = counted, f"the shares of the tokens in {given.source}"
    else:
        mean_D = runs.weights_ND.mean(axis=0)
        tokens = {name: max(round(share * SUPPLY), 1) for name, share in zip(runs.domains, mean_D, strict=True)}
        natural_is = MEAN_MIXTURE
        if given is not None and given.target_tokens is not None:
            missing = next(name for name in runs.domains if name not in counted)
            raise ConfigError(
                f"{given.source}: target.tokens limits shares by supply, and domains.{missing}.tokens is not given",
                hint="give the tokens of every domain (mixopt prepare counts a study's), or remove target.tokens",
            )
    limits = []
    for name, weights_N in zip(runs.domains, runs.weights_ND.T, strict=True):
        least, most = (0.0, 1.0) if given is None else (given.domains[name].least, given.domains[name].most)
        if not weights_N.any():
            notes.append(f"domain {name} has no share in any run, so nothing is known of it: it is kept at {least:g}")
            most = least
        epochs = None if given is None else given.domains[name].max_epochs
        limits.append(DomainLimits(name, tokens[name], least, most, epochs))
    if given is None:
        return Space(tuple(limits)), natural_is
    target_tokens = given.target_tokens
    if runs.goal is not None and np.isfinite(runs.goal.tokens) and len(counted) == len(runs.domains):
        target_tokens = round(runs.goal.tokens)
    return Space(tuple(limits), given.groups, target_tokens, given.max_epochs), natural_is
