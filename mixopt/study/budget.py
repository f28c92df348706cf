"""What the budget of a study file still pays for: trials of the search, by their FLOPs and by its time.

Of time the search alone has a budget; of FLOPs the whole study has one, of which the confirmation's part is kept aside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from mixopt.settings.units import show_duration
from mixopt.study.plan import Plan
from search.fidelity import Fidelity
from search.history import History
from search.recommendation.validation import FEWEST_RUNS
from search.seeds import is_of_search
from search.trial import Trial

# Of the search's trials: that fewer fit is worth a word, for times are rough.
NEARLY_ALL = 0.9


def affordable(plan: Plan, history: History, seconds: float, trials: list[Trial]) -> list[Trial]:
    """The first of `trials` that the budget pays for, after so many seconds of the search.

    Failed trials are charged in full: what they spent before they died is not known; stopped ones as measured.
    """
    if _time_is_spent(plan, seconds):
        return []
    left = _flops_left(plan, history)
    if left is None:
        return trials
    costs = accumulate(trial.fidelity.flops for trial in trials)
    return [trial for trial, cost in zip(trials, costs, strict=True) if cost <= left]


def spent_budget(plan: Plan, history: History, seconds: float) -> str | None:
    """The setting whose budget pays for no other trial of the target; None where there is none."""
    if _time_is_spent(plan, seconds):
        return "budget.time"
    left = _flops_left(plan, history)
    return "budget.flops" if left is not None and left < plan.problem.target.flops else None


def too_slow(plan: Plan, history: History, trained: Counter[Fidelity], here: float, seconds: float) -> str | None:
    """What is said where the search's time ends before its trials do; None where nearly all of them fit.

    Args:
        trained: trials that have ended since the study was taken up.
        here: seconds since the first of them was launched.
        seconds: of the search.
    """
    budget, flops = plan.file.budget.time, _cost(trained)
    if budget is None or flops == 0:
        return None
    expected, ended = plan.strategy.expected, plan.searched(history)
    left = expected - ended
    pays = max(budget - seconds, 0.0) * flops / here
    # Those that are running are trained to their end.
    fit = max(sum(cost <= pays for cost in accumulate(_each(left))), len(history.running))
    total = ended.total() + fit
    if total >= NEARLY_ALL * expected.total():
        return None
    confirmation = plan.confirmation_flops * here / flops
    said = (
        f"by the runs so far, about {total} of the {expected.total()} trials of the search fit into budget.time, "
        f"{show_duration(budget)}: all would take {show_duration(seconds + _cost(left) * here / flops)}"
    )
    if total < FEWEST_RUNS:
        said += f", and a regression takes {FEWEST_RUNS} mixtures"
    if confirmation:
        said += f"; the confirmation, which that does not limit, takes about {show_duration(confirmation)} more"
    return f"{said}. To have them all, raise budget.time; what has run counts when it is run again"


def _time_is_spent(plan: Plan, seconds: float) -> bool:
    time = plan.file.budget.time
    return time is not None and seconds >= time


def _flops_left(plan: Plan, history: History) -> float | None:
    """For the search; None without such a budget."""
    if plan.file.budget.flops is None:
        return None
    saved = {entry.trial.id: entry.trial.fidelity.flops - entry.measurement.flops for entry in history.stopped}
    spent = sum(trial.fidelity.flops - saved.get(trial.id, 0.0) for trial in history.trials if is_of_search(trial.seed))
    return plan.file.budget.flops - plan.confirmation_flops - spent


def _cost(trials: Counter[Fidelity]) -> float:
    return sum(fidelity.flops * count for fidelity, count in trials.items())


def _each(trials: Counter[Fidelity]) -> Iterator[float]:
    """The FLOPs of each, in the order in which a search asks for them: the cheap ones first."""
    for fidelity in sorted(trials, key=lambda each: each.flops):
        yield from [fidelity.flops] * trials[fidelity]
