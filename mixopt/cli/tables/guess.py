"""What `mixopt fit --guess` shows a person: each column that counts, what it is taken for, and why."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from mixopt.base.shown import shown_name
from mixopt.cli.tables.table import plain_table
from mixopt.results.table_guess import TableGuess
from mixopt.runs.table import ONLY_FIDELITY


def guess_view(guess: TableGuess) -> RenderableType:
    table = plain_table("column", "taken for", "why", title=f"{guess.table}: {guess.rows} runs")
    used = [each for each in guess.columns if each.taken_for != "nothing"]
    for each in sorted(used, key=lambda each: (each.taken_for == "metric", each.taken_for == "weight")):
        table.add_row(shown_name(each.column), f"{each.taken_for} {shown_name(each.called)}".strip(), each.why)
    parts: list[RenderableType] = [table]
    by_reason: dict[str, list[str]] = {}
    for each in guess.columns:
        if each.taken_for == "nothing":
            by_reason.setdefault(each.why, []).append(shown_name(each.column or "(without a name)"))
    if by_reason:
        parts.append(Text("\nnot used", style="bold"))
        parts += [Text(f"{why}: {', '.join(names)}", style="dim") for why, names in by_reason.items()]
    parts.append(Text())
    if guess.runs:
        at = {name: "runs" if name == ONLY_FIDELITY else f"at {name}" for name in guess.runs}
        parts.append(Text("counted: " + ", ".join(f"{count} {at[name]}" for name, count in guess.runs.items())))
    parts += [Text(f"left out: {each.rows} {each.why}", style="yellow") for each in guess.left_out]
    parts += [Text(f"note: {note}", style="yellow") for note in guess.notes]
    if guess.mapping is not None:
        parts.append(Text(f"wrote {guess.mapping}; mend it, then: mixopt fit {guess.table} --mapping {guess.mapping}"))
    return Group(*parts)
