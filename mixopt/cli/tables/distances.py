"""Distances of pools from evaluation sets, as a person sees them."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from mixopt.base.console import Hanging
from mixopt.cli.tables.table import plain_table
from mixopt.results.distances import Distances
from search.problem import PROPORTIONAL

# More columns are not taken in at a glance; --json has all.
MOST_SETS = 12


def distances_table(found: Distances) -> RenderableType:
    shown, left = found.evaluation_sets[:MOST_SETS], found.evaluation_sets[MOST_SETS:]
    table = plain_table("domain", *(f">{name}" for name in shown), "nearest pool", title="How far pools are from")
    for name, each in found.domains.items():
        near = min(each.distances.values())
        cells = [
            Text(f"{each.distances[judged]:.3f}", style="bold" if each.distances[judged] == near else "")
            for judged in shown
        ]
        table.add_row(name, *cells, each.nearest_pool)
    order = sorted(found.mixtures, key=lambda label: found.mixtures[label].distance)
    mixtures = plain_table("", *(f">{label}" for label in order), title="\nMixtures, and how far they are from all")
    for name in found.domains:
        mixtures.add_row(name, *(f"{found.mixtures[label].mixture[name]:.1%}" for label in order))
    mixtures.add_row("distance", *(f"{found.mixtures[label].distance:.4f}" for label in order))
    said = (
        f"transport is the mixture within the limits whose text is nearest to what the objective is measured on: a "
        f"guess before any run, which the search does not need. {PROPORTIONAL} changes nothing"
    )
    more = [Hanging("", f"{len(left)} more evaluation sets are in --json")] if left else []
    return Group(table, *more, mixtures, Hanging("", said))
