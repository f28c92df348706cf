"""What `mixopt replay` shows a person: its document as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mixopt.cli.tables.fit import objective_line, remarks
from mixopt.cli.tables.table import plain_table
from search.replay import CONTROL


def replay_view(document: dict[str, Any]) -> RenderableType:
    runs = ", ".join(
        f"{count} at {proxy} (cost {document['costs'][proxy]:.3g})" for proxy, count in document["runs"].items()
    )
    return Group(
        Text(f"mixtures: {runs}; costs are in runs at {document['target']}"),
        objective_line(document["objective"]),
        _cost_to_best(document),
        _regret(document),
        *remarks(document),
    )


def _cost_to_best(document: dict[str, Any]) -> Table:
    columns = ("strategy", ">median", ">75%", ">found it", f">of {CONTROL}'s median")
    table = plain_table(*columns, title=f"Cost until the best mixture was trained, {document['seeds']} seeds")
    control = document["strategies"][CONTROL]["median"]
    for name, result in document["strategies"].items():
        median, found = result["median"], sum(cost is not None for cost in result["cost_to_best"])
        share = "-" if median is None or control is None else f"{median / control:.0%}"
        table.add_row(name, _number(median), _number(result["q75"]), f"{found} of {document['seeds']}", share)
    return table


def _regret(document: dict[str, Any]) -> Table:
    """In standard deviations, which can be compared between objectives."""
    sd = document["objective"]["sd"]
    costs = document["strategies"][CONTROL]["regret"]["costs"]
    title = f"\nMedian regret at a cost, in standard deviations of the objective ({sd:.3g})"
    table = plain_table("strategy", *(f">{cost}" for cost in costs), title=title)
    for name, result in document["strategies"].items():
        regrets = result["regret"]["median"]
        table.add_row(name, *("-" if regret is None else f"{regret / sd:.3f}" for regret in regrets))
    return table


def _number(number: float | None) -> str:
    return "never" if number is None else f"{number:.3g}"
