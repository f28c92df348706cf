"""What a study takes from others in the store, as a person sees it."""

from __future__ import annotations

from rich.console import RenderableType

from mixopt.cli.tables.table import plain_table
from mixopt.results.reused import MatchedPool, Reused


def reused_table(reused: Reused | None) -> list[RenderableType]:
    """A row for each other study: its pools that are known here, and the runs that count; nothing where none is."""
    if reused is None or not reused.studies:
        return []
    table = plain_table("other study", ">runs", "pools that are the same", title="\nFrom other studies in the store")
    for each in reused.studies:
        pools = ", ".join(map(_pool, each.pools))
        table.add_row(each.study, f"{each.runs} of {each.of}", pools if each.why_not is None else each.why_not)
    return [table]


def _pool(found: MatchedPool) -> str:
    name = found.pool if found.was == found.pool else f"{found.was} as {found.pool}"
    return name if found.alike == 1 else f"{name} ({found.alike:.0%})"
