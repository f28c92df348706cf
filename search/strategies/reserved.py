"""Trials that are kept for a purpose: baselines trained again early, and the local stage towards the end.

Repeats have further seeds of the search, so the noise is known before it decides anything.
"""

from __future__ import annotations

from search.designs.factorial import signs
from search.history import History
from search.objective import Pareto
from search.problem import BASELINE, PROPORTIONAL, Problem
from search.seeds import SEARCH_SEED, of_repeat
from search.strategies.base import Settings
from search.trial import Trial

# The local stage (search.designs.factorial), and the trials that are left to use what it shows.
AFTER_REFINING = 4
# With so many trials at the target each of two baselines is repeated once, with so many twice.
ONCE, TWICE = 12, 24
REPEAT = "repeat:"


def repeats(problem: Problem, history: History) -> list[Trial]:
    """Of proportional and the best of the others, and of what the objective is measured against.

    None while baselines are being trained: which is the best is not known.
    """
    target, trials = problem.target, problem.rungs[-1].trials
    if problem.pool is not None or trials < ONCE:
        return []
    at_target = {name: Trial(mixture, target, SEARCH_SEED) for name, mixture in problem.baselines.items()}
    if any(trial.id not in history.trial_ids or trial in history.running for trial in at_target.values()):
        return []
    values = {name: problem.objective_of(trial, history) for name, trial in at_target.items()}
    known = {name: value for name, value in values.items() if value is not None}
    usual = [name for name in (PROPORTIONAL, problem.objective.baseline) if name in known]
    others = [name for name in known if problem.baselines[name] not in (problem.baselines[each] for each in usual)]
    best = [min(others, key=lambda name: known[name])] if others else []
    return [
        Trial(problem.baselines[name], target, of_repeat(number), REPEAT + BASELINE + name)
        for number in range(1, 1 + repeats_of_each(trials))
        for name in dict.fromkeys([*usual, *best])
    ]


def repeats_of_each(trials: int) -> int:
    """How often two baselines are repeated, with so many trials at the target."""
    return (trials >= ONCE) + (trials >= TWICE)


def refinement_runs(domains: int, trials: int) -> int:
    """How many of the target's trials the local stage takes; 0 where it would begin before half of them are done."""
    runs = len(signs(domains))
    return runs if 2 * (runs + AFTER_REFINING) <= trials else 0


def reserved(problem: Problem, settings: Settings) -> dict[str, int]:
    """How many of the target's trials have a purpose of their own, by what they do, at most."""
    trials = problem.rungs[-1].trials
    if problem.pool is not None:
        return {}
    refines = settings.refine and not isinstance(problem.objective, Pareto)
    refined = refinement_runs(len(problem.space.domains), trials) if refines else 0
    always = {PROPORTIONAL, problem.objective.baseline or PROPORTIONAL}
    baselines = min(len(always) + 1, len(set(problem.baselines.values())))
    return {"repeat baselines": baselines * repeats_of_each(trials), "are the local stage (search.refine)": refined}
