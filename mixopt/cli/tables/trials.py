"""The trials of a study as a person reads them: what fits into 80 columns, and more where there is room."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from mixopt.base.console import Hanging
from mixopt.cli.tables.table import asked_for_by, plain_table
from mixopt.results.trials import ListedTrial, TrialList
from mixopt.settings.units import show_count, show_duration
from search.objective import UNITS

# From so many columns on there is room for more of them.
WIDE = 110
# Of shares: as many as fit stand in a row, the largest first.
MOST_SHARES = 12


@dataclass(frozen=True)
class TrialTable:
    """
    Attributes:
        called: how the study is named to commands.
        failures: whether only what failed is listed, and so why, in the place of shares.
    """

    listed: TrialList
    called: str
    failures: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        listed = self.listed
        if not listed.trials:
            yield Text(f"study {listed.study}: no trial has {'failed' if self.failures else 'begun'} yet")
            return
        yield self._table(options.max_width)
        yield from self._below()

    def _table(self, width: int) -> Table:
        wide, last = width >= WIDE, "why" if self.failures else "largest shares"
        columns = ["trial", "asked for by", "proxy", *([">seed", ">tokens", "began (UTC)"] if wide else [])]
        columns += [">objective", ">took"]
        rows = [self._row(each, wide) for each in self.listed.trials]
        lengths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
        room = width - sum(lengths) - 2 * len(lengths)
        table = plain_table(*columns, last)
        for column in table.columns:
            column.no_wrap, column.overflow = True, "ellipsis"
        for each, row in zip(self.listed.trials, rows, strict=True):
            what = f"{each.kind}: {each.message}" if self.failures else shares(each, room)
            *before, objective, took = row
            table.add_row(*before, Text(objective, style=_style(each)), took, what)
        return table

    def _row(self, each: ListedTrial, wide: bool) -> list[str]:
        """All but the last cell."""
        began = (each.began or "")[: len("2026-01-31T12:00:00")].replace("T", " ")
        return [
            each.trial if wide else each.trial[:6],
            each.origin if wide else asked_for_by(each.origin),
            each.proxy,
            *([str(each.seed), show_count(each.tokens), began] if wide else []),
            each.state if each.objective is None else f"{each.objective:.4f}",
            "" if each.seconds is None else show_duration(each.seconds),
        ]

    def _below(self) -> Iterator[Text | Hanging]:
        listed = self.listed
        shown = f"{len(listed.trials)} of " if len(listed.trials) < listed.of else ""
        said = [f"{shown}{listed.of} trials"]
        if listed.unit is not None:
            said.append(f"objectives in {UNITS[listed.unit]}")
        if len({(each.proxy, each.purpose == "confirm") for each in listed.trials}) > 1:
            said.append("those of two proxies, or of search and confirmation, cannot be compared")
        yield Text()
        yield Hanging("", f"{'; '.join(said)}; more of one trial: mixopt logs {self.called} --trial ID")


def shares(trial: ListedTrial, room: int) -> str:
    """Of as many domains as there is room for, the largest first; of one at least."""
    said = ""
    for name, share in sorted(trial.mixture.items(), key=lambda each: -each[1])[:MOST_SHARES]:
        more = f"{said}  {name} {share:.0%}".strip()
        if said and (len(more) > room or share == 0):
            break
        said = more
    return said


def _style(trial: ListedTrial) -> str:
    return "red" if trial.state == "failed" or trial.allowed is False else ""
