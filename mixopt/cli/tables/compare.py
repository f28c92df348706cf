"""What `mixopt compare` shows a person: its document as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mixopt.cli.tables.table import plain_table
from mixopt.settings.units import show_duration

SIDES = {"a": "A", "b": "B"}
# Of a trial's id; mixopt compare takes so many.
DIGITS = 6
# A setting that takes more characters is cut.
LONGEST_SETTING = 48


def compare_view(document: dict[str, Any]) -> RenderableType:
    heads = [Text(f"{head}  {document[side]['name']}: {document[side]['is']}") for side, head in SIDES.items()]
    parts: list[RenderableType] = [*heads, _shares(document["shares"])]
    parts.append(Text(f"{document['total_variation']:.1%} of the tokens change domain from one to the other"))
    for judged in document["judged"]:
        parts += _judged(judged)
    if document["studies"]:
        parts += [_studies(document["studies"]), _settings(document["studies"]["settings"])]
    return Group(*parts, *_notes(document["notes"]))


def _shares(shares: Mapping[str, Mapping[str, float | None]]) -> Table:
    table = plain_table("domain", ">A", ">B", ">B - A", title="\nShares of training tokens")
    for name, share in shares.items():
        table.add_row(name, _share(share["a"]), _share(share["b"]), f"{share['difference']:+.1%}")
    return table


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _judged(judged: dict[str, Any]) -> list[RenderableType]:
    objective = judged["objective"]
    unit = objective["unit"].replace("_", " ")
    head = f"\nStudy {judged['study']}, {judged['file']}: {objective['kind']} objective in {unit}, lower is better"
    parts: list[RenderableType] = [Text(head, style="bold")]
    if judged["predicted"]:
        parts.append(_predicted(judged))
    if any(judged["measured"].values()):
        parts.append(_measured(judged["measured"]))
    for each in judged["measured_difference"]:
        seeds = f"{len(each['seeds'])} seeds" if len(each["seeds"]) > 1 else "one seed, which gives no interval"
        margin = "" if each["margin"] is None else f" ± {each['margin']:.4f}"
        parts.append(
            Text(
                f"measured at {each['proxy']}: B - A is {each['difference']:+.4f}{margin} (95%, {seeds})", style="bold"
            )
        )
    return [*parts, *_notes(judged["notes"])]


def _predicted(judged: dict[str, Any]) -> Table:
    surrogate, predicted = judged["surrogate"], judged["predicted"]
    trust = "trusted" if surrogate["trusted"] else "not trusted"
    title = f"\nPredicted of one new run at {judged['objective']['proxy']} by {surrogate['name']}, {trust} (± 95%)"
    table = plain_table("", ">A", ">B", ">B - A", title=title)
    for name, estimates in (("objective", predicted["objective"]), *predicted["losses"].items()):
        shown = [_estimate(estimates.get(column)) for column in ("a", "b")]
        table.add_row(
            name,
            *shown,
            _estimate(estimates.get("difference"), "+"),
            style="bold" if estimates is predicted["objective"] else "",
        )
    return table


def _estimate(estimate: Mapping[str, float] | None, sign: str = "") -> str:
    return "-" if estimate is None else f"{estimate['mean']:{sign}.4f} ± {estimate['upper'] - estimate['mean']:.4f}"


def _measured(measured: Mapping[str, list[dict[str, Any]]]) -> Table:
    """A row a mixture and proxy: that of the side itself, then those nearest to it."""
    columns = ("of", "trained as", "proxy", ">differs", ">objective", "seeds", "trials")
    table = plain_table(
        *columns, title="\nMeasured: each mixture itself, and those nearest to it (in tokens that differ)"
    )
    for side, rows in measured.items():
        for row in rows:
            table.add_row(
                SIDES[side],
                row["origin"],
                row["proxy"],
                f"{row['total_variation']:.1%}",
                "-" if row["objective"] is None else f"{row['objective']:.4f}",
                _seeds(row),
                " ".join(trial[:DIGITS] for trial in row["trials"]),
            )
    return table


def _seeds(row: Mapping[str, Any]) -> str:
    """In parentheses where the shown objective is not over it."""
    shown = {str(seed) for seed in row["mean_over_seeds"]}
    return " ".join(seed if seed in shown else f"({seed})" for seed in row["objectives"])


def _studies(studies: Mapping[str, Any]) -> Table:
    table = plain_table("study", "A", "B", title="\nThe studies")
    both = [studies[side] for side in SIDES]
    table.add_row("name", *(each["study"] for each in both))
    for state in both[0]["trials"]:
        table.add_row(f"{state} trials", *(str(each["trials"][state]) for each in both))
    table.add_row("FLOPs", *(f"{each['flops']:.3g}" for each in both))
    table.add_row("training", *(show_duration(each["training_seconds"]) for each in both))
    table.add_row("verdict", *(each["verdict"] for each in both))
    return table


def _settings(settings: list[dict[str, Any]]) -> RenderableType:
    if not settings:
        return Text("the settings that decide a study's numbers are the same in both")
    table = plain_table("setting", "A", "B", title="\nSettings that differ, of those that decide a study's numbers")
    for each in settings:
        table.add_row(each["setting"], *(_setting(each[side]) for side in SIDES))
    return table


def _setting(value: Any) -> str:
    text = "-" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_SETTING else text[: LONGEST_SETTING - 1] + "…"


def _notes(notes: list[str]) -> list[RenderableType]:
    return [Text(f"note: {note}", style="yellow") for note in notes]
