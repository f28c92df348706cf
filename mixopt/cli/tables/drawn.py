"""What `mixopt check` and `mixopt audit` show a person: what was drawn beside what was asked."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text

from mixopt.cli.tables.table import plain_table
from mixopt.results.drawn import DomainDrawn, Drawn


def drawn_view(found: Drawn) -> Group:
    table = plain_table("domain", ">asked", ">drawn", ">difference", f">{found.counted}", "")
    for row in found.domains:
        table.add_row(
            row.domain,
            f"{row.asked:.2%}",
            f"{row.drawn:.2%}",
            f"{100 * row.difference:+.2f}",
            f"{row.count:,.0f}",
            _judged(row),
        )
    lines = [Text(f"asked by {found.asked_by}{f', answer {found.answer}' if found.answer else ''}", style="dim")]
    if found.chi_square is not None and found.p_value is not None:
        lines.append(Text(f"chi-square {found.chi_square:.3g}, p {found.p_value:.2g}", style="dim"))
    style = "yellow" if not found.told else "green" if found.as_asked else "bold red"
    return Group(table, *lines, Text(found.verdict, style=style))


def _judged(row: DomainDrawn) -> Text:
    if not row.as_asked:
        return Text("differs", style="bold red")
    return Text("" if row.told else "too little to tell", style="yellow")
