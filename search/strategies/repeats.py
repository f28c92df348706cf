"""Baselines trained again early, with further seeds of the search: so the noise is known before it decides anything."""

from __future__ import annotations

from search.history import History
from search.problem import BASELINE, PROPORTIONAL, Problem
from search.seeds import SEARCH_SEED, of_repeat
from search.trial import Trial

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
        for number in range(1, 2 + (trials >= TWICE))
        for name in dict.fromkeys([*usual, *best])
    ]
