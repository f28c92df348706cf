"""What `mixopt compare` shows a person: its result as tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from pydantic import JsonValue
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mixopt.base.console import Hanging, note
from mixopt.cli.tables.table import epochs_of, plain_table
from mixopt.results.comparison import (
    ComparedEpochs,
    ComparedStudies,
    Comparison,
    DifferingSetting,
    Judgement,
    JudgingSurrogate,
    MeasuredMixture,
    Predictions,
    Side,
)
from mixopt.results.recommendation import Interval
from mixopt.settings.levels import in_levels
from mixopt.settings.units import show_count, show_duration

HEADS: Mapping[Side, str] = {"a": "A", "b": "B"}
# Of a trial's id; mixopt compare takes so many.
DIGITS = 6
# A setting that takes more characters is cut.
LONGEST_SETTING = 48


def compare_view(comparison: Comparison) -> RenderableType:
    sides = (("A", comparison.a), ("B", comparison.b))
    heads = [Hanging(f"{head}  ", f"{each.name}: {each.what}") for head, each in sides]
    parts: list[RenderableType] = [*heads, _shares(comparison)]
    parts.append(Text(f"{comparison.total_variation:.1%} of the tokens change domain from one to the other"))
    for judged in comparison.judged:
        parts += _judged(judged)
    if comparison.studies:
        parts += [_studies(comparison.studies), _settings(comparison.studies.settings)]
    return Group(*parts, *_notes(comparison.notes))


def _shares(comparison: Comparison) -> Table:
    table = plain_table("domain", ">A", ">B", ">B - A", title="\nShares of training tokens")
    for row in in_levels(comparison.shares, {name: level.domains for name, level in comparison.levels.items()}):
        share = comparison.levels[row.name] if row.is_level else comparison.shares[row.name]
        table.add_row(row.label, _share(share.a), _share(share.b), f"{share.difference:+.1%}")
    return table


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _judged(judged: Judgement) -> list[RenderableType]:
    objective = judged.objective
    unit = objective.unit.replace("_", " ")
    head = f"\nStudy {judged.study}, {judged.file}: {objective.kind} objective in {unit}, lower is better"
    parts: list[RenderableType] = [Text(head, style="bold")]
    if judged.surrogate and judged.predicted:
        parts.append(_predicted(judged.predicted, judged.surrogate, objective.proxy))
    if any(judged.measured.values()):
        parts.append(_measured(judged.measured))
    if judged.target_tokens is not None and judged.epochs:
        parts.append(_epochs(judged.epochs, judged.target_tokens))
    for each in judged.measured_difference:
        seeds = f"{len(each.seeds)} seeds" if len(each.seeds) > 1 else "one seed, which gives no interval"
        margin = "" if each.margin is None else f" ± {each.margin:.4f}"
        parts.append(
            Text(f"measured at {each.proxy}: B - A is {each.difference:+.4f}{margin} (95%, {seeds})", style="bold")
        )
    return [*parts, *_notes(judged.notes)]


def _predicted(predicted: Predictions, surrogate: JudgingSurrogate, proxy: str) -> Table:
    trust = "trusted" if surrogate.trusted else "not trusted"
    title = f"\nPredicted of one new run at {proxy} by {surrogate.name}, {trust} (± 95%)"
    table = plain_table("", ">A", ">B", ">B - A", title=title)
    for name, estimates in (("objective", predicted.objective), *predicted.losses.items()):
        table.add_row(
            name,
            *(_estimate(estimates.get(side)) for side in HEADS),
            _estimate(estimates.get("difference"), "+"),
            style="bold" if estimates is predicted.objective else "",
        )
    return table


def _estimate(estimate: Interval | None, sign: str = "") -> str:
    return "-" if estimate is None else f"{estimate.mean:{sign}.4f} ± {estimate.upper - estimate.mean:.4f}"


def _measured(measured: Mapping[Side, Sequence[MeasuredMixture]]) -> Table:
    """A row per mixture and proxy: that of the side itself, then those nearest to it."""
    columns = ("of", "trained as", "proxy", ">differs", ">objective", "seeds", "trials")
    table = plain_table(
        *columns, title="\nMeasured: each mixture itself, and those nearest to it (in tokens that differ)"
    )
    for side, rows in measured.items():
        for row in rows:
            table.add_row(
                HEADS[side],
                row.origin,
                row.proxy,
                f"{row.total_variation:.1%}",
                "-" if row.objective is None else f"{row.objective:.4f}",
                _seeds(row),
                " ".join(trial[:DIGITS] for trial in row.trials),
            )
    return table


def _epochs(epochs: Mapping[str, ComparedEpochs], tokens: int) -> Table:
    table = plain_table("domain", ">A", ">B", title=f"\nEpochs in a run of {show_count(tokens)} tokens")
    for name, each in epochs.items():
        table.add_row(name, *("-" if of is None else epochs_of(of, each.max_epochs) for of in (each.a, each.b)))
    return table


def _seeds(row: MeasuredMixture) -> str:
    """In parentheses where the shown objective is not over it."""
    shown = {str(seed) for seed in row.mean_over_seeds}
    return " ".join(seed if seed in shown else f"({seed})" for seed in row.objectives)


def _studies(studies: ComparedStudies) -> Table:
    table = plain_table("study", "A", "B", title="\nThe studies")
    both = (studies.a, studies.b)
    table.add_row("name", *(each.study for each in both))
    for state in studies.a.trials:
        table.add_row(f"{state} trials", *(str(each.trials[state]) for each in both))
    table.add_row("FLOPs", *(f"{each.flops:.3g}" for each in both))
    table.add_row("training", *(show_duration(each.training_seconds) for each in both))
    table.add_row("verdict", *(each.verdict for each in both))
    return table


def _settings(settings: Sequence[DifferingSetting]) -> RenderableType:
    if not settings:
        return Text("the settings that decide a study's numbers are the same in both")
    table = plain_table("setting", "A", "B", title="\nSettings that differ, of those that decide a study's numbers")
    for each in settings:
        table.add_row(each.setting, _setting(each.a), _setting(each.b))
    return table


def _setting(value: JsonValue) -> str:
    text = "-" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_SETTING else text[: LONGEST_SETTING - 1] + "…"


def _notes(notes: Iterable[str]) -> list[RenderableType]:
    return [note(each) for each in notes]
