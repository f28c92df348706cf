"""What a study takes from others in the store, as a person sees it."""

from __future__ import annotations

from rich.console import RenderableType

from mixopt.cli.tables.table import plain_table
from mixopt.results.reused import NAMED, MatchedPool, Reused
from mixopt.runs.tables.sheet import some


def reused_table(reused: Reused | None) -> list[RenderableType]:
    """A row for each other study: its pools that are known here, the runs that count, and why others do not; nothing
    where there is none. Many of which nothing counts for one reason have a row together."""
    if reused is None or not reused.studies:
        return []
    columns = ("other study", ">runs", "pools that are the same", "what counts otherwise, or not")
    table = plain_table(*columns, title="\nFrom other studies in the store")
    for each in reused.together:
        pools = ", ".join(map(_pool, each[0].pools if len(each) == 1 else ()))
        runs = sum(one.runs for one in each), sum(one.of for one in each)
        table.add_row(some((one.study for one in each), NAMED), f"{runs[0]} of {runs[1]}", pools, each[0].said)
    return [table]


def _pool(found: MatchedPool) -> str:
    name = found.pool if found.was == found.pool else f"{found.was} as {found.pool}"
    return name if found.alike == 1 else f"{name} ({found.alike:.0%})"
