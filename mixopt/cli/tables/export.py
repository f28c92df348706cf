"""What `mixopt export` shows a person beside the file: the formats, and what each domain gives in the run."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from mixopt.cli.tables.table import epochs_of, plain_table
from mixopt.exports.formats import EXPORTERS
from mixopt.results.export import ExportFormat, Supply
from mixopt.settings.units import show_count


def formats() -> list[ExportFormat]:
    """What `mixopt export --list` says, for programs."""
    return [
        ExportFormat(
            format=each.name,
            weights_count=each.draws,
            read_back_by="places" if each.by_place else "domains",
            suffix=each.suffix,
            describes=each.describes,
        )
        for each in EXPORTERS.values()
    ]


def formats_table() -> Table:
    table = plain_table("format", "weights count", "for")
    for each in EXPORTERS.values():
        table.add_row(each.name, " or ".join(each.draws), each.describes)
    return table


def supplies_table(supplies: Sequence[Supply]) -> Table:
    table = plain_table("domain", ">weight", ">tokens", ">there are", ">epochs")
    for each in supplies:
        table.add_row(
            *(each.domain, f"{each.share:.2%}", show_count(each.taken), show_count(each.there)),
            epochs_of(each.epochs, each.max_epochs),
        )
    return table
