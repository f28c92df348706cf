"""What `mixopt replay` shows a person: its result as tables."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mixopt.cli.tables.fit import objective_line, remarks
from mixopt.cli.tables.table import plain_table
from mixopt.results.replay import ReplayResult
from search.replay import CONTROL


def replay_view(result: ReplayResult) -> RenderableType:
    runs = ", ".join(f"{count} at {proxy} (cost {result.costs[proxy]:.3g})" for proxy, count in result.runs.items())
    return Group(
        Text(f"mixtures: {runs}; costs are in runs at {result.target}"),
        objective_line(result.objective),
        *replay_tables(result),
        *remarks(result),
    )


def replay_tables(result: ReplayResult) -> tuple[Table, Table]:
    return _cost_to_best(result), _regret(result)


def _cost_to_best(result: ReplayResult) -> Table:
    columns = ("strategy", ">median", ">75%", ">found it", f">of {CONTROL}'s median")
    table = plain_table(*columns, title=f"Cost until the best mixture was trained, {result.seeds} seeds")
    control = result.strategies[CONTROL].median
    for name, played in result.strategies.items():
        share = "-" if played.median is None or control is None else f"{played.median / control:.0%}"
        table.add_row(name, _number(played.median), _number(played.q75), f"{played.found} of {result.seeds}", share)
    return table


def _regret(result: ReplayResult) -> Table:
    """In standard deviations, which can be compared between objectives."""
    sd = result.objective.sd
    costs = result.strategies[CONTROL].regret.costs
    title = f"\nMedian regret at a cost, in standard deviations of the objective ({sd:.3g})"
    table = plain_table("strategy", *(f">{cost}" for cost in costs), title=title)
    for name, played in result.strategies.items():
        table.add_row(name, *("-" if regret is None else f"{regret / sd:.3f}" for regret in played.regret.median))
    return table


def _number(number: float | None) -> str:
    return "never" if number is None else f"{number:.3g}"
