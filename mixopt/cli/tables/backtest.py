"""What `mixopt backtest` shows a person: its result as tables."""

from __future__ import annotations

import statistics

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mixopt.base.console import note
from mixopt.cli.tables.fit import objective_line
from mixopt.cli.tables.replay import replay_tables
from mixopt.cli.tables.table import plain_table
from mixopt.results.backtest import BacktestResult, Control, Spread, TableBacktest

LEGEND = (
    "pairs: of the best quarter, in their order; regret: of the pick, above the best left out; optimism: its predicted "
    "minus its measured gain; 80%, 95%: runs inside these intervals"
)


def backtest_view(result: BacktestResult) -> RenderableType:
    parts: list[RenderableType] = []
    for table in result.tables:
        parts += [*_table(table, result.subsets), Text()]
    if result.files:
        parts.append(Text("wrote " + ", ".join(result.files)))
    return Group(*parts)


def _table(table: TableBacktest, subsets: int) -> list[RenderableType]:
    runs = ", ".join(f"{count} at {fidelity}" for fidelity, count in table.runs.items())
    noise = table.noise
    said = (
        "no mixture was run often enough to tell a run's noise"
        if noise is None
        else f"a run's noise is {noise.sd:.3g}, from {noise.freedom} repeats"
    )
    return [
        Text(f"{table.table}: {runs}; predictions are for {table.target}, {said}", style="bold"),
        objective_line(table.objective),
        _curves(table, subsets),
        Text(LEGEND, style="dim"),
        *(Text(f"{name} is not fitted: {reason}", style="dim") for name, reason in table.skipped.items()),
        Text(f"gains are over {_reference(table)}\n", style="dim"),
        _control(table.controls.scrambled, "FAILED", "red"),
        _control(table.controls.permuted, "not shown", "yellow"),
        Text(f"\n{table.recommended.why}\n", style="bold"),
        *(() if table.replay is None else replay_tables(table.replay)),
        *(note(each) for each in table.notes),
    ]


def _curves(table: TableBacktest, subsets: int) -> Table:
    title = f"{table.left_out} mixtures left out, mean ± spread of {subsets} subsets"
    in_noise = [] if table.noise is None else [">/ noise"]
    columns = ("surrogate", ">known", ">Spearman", ">pairs", ">regret", *in_noise, ">optimism", ">80%", ">95%")
    found = plain_table(*columns, title=title)
    for name, curve in table.curves.items():
        for place, point in enumerate(curve.points):
            found.add_row(
                Text(name if place == 0 else "", style="bold" if name == table.recommended.surrogate else ""),
                str(point.known),
                f"{point.spearman.mean:.2f}±{_sd(point.spearman):.2f}",
                "-" if point.pairwise is None else f"{point.pairwise.mean:.0%}±{100 * _sd(point.pairwise):.0f}",
                f"{point.regret.mean:.2g}",
                *([_ratio(point.regret_in_noise)] if in_noise else []),
                f"{point.optimism.mean:+.2g}",
                f"{point.coverage_80.mean:.0%}",
                f"{point.coverage_95.mean:.0%}",
            )
    return found


def _ratio(number: float | None) -> str:
    return "-" if number is None else f"{number:.1f}"


def _sd(spread: Spread) -> float:
    """Standard deviation over the subsets."""
    return statistics.stdev(spread.by_subset)


def _reference(table: TableBacktest) -> str:
    reference = table.reference
    if reference.proportional:
        return f"the proportional mixture, {reference.run}"
    return f"{reference.run}, the run nearest to {reference.natural} ({reference.apart:.0%} of its tokens differ)"


def _control(control: Control, otherwise: str, colour: str) -> Text:
    passed = control.passed
    return Text(f"{'passed' if passed else otherwise}: {control.verdict}", style="" if passed else colour)
