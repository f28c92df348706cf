"""What `mixopt quality` shows a person."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from mixopt.cli.tables.keeping import show_bytes
from mixopt.cli.tables.table import plain_table
from mixopt.results.quality import Quality


def quality_table(quality: Quality) -> RenderableType:
    table = plain_table("level", ">documents", ">text", "scores")
    for pool in quality.pools:
        for level in pool.levels:
            scores = ", ".join(f"{name} {each.least:.3g} to {each.most:.3g}" for name, each in level.scores.items())
            table.add_row(level.name, f"{level.documents:,}", show_bytes(level.bytes), scores)
    new = quality.study_file
    return Group(table, Text(f"wrote {new}; next: mixopt plan {new}, mixopt run {new}", style="bold"))
