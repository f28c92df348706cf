"""What `mixopt doctor` and `mixopt prune` show a person."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from mixopt.cli.tables.table import plain_table
from mixopt.results.doctor import Diagnosis, Finding
from mixopt.results.prune import Pruned

STYLES = {"ok": "green", "warn": "yellow", "bad": "bold red"}
SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def finding_line(finding: Finding) -> Text:
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    state = (f"{finding.state:4}", STYLES[finding.state])
    return Text.assemble(state, f"  {finding.about} {finding.what}: {finding.found}{remedy}")


def verdict_line(diagnosis: Diagnosis) -> Text:
    bad = sum(each.state == "bad" for each in diagnosis.findings)
    return Text(f"{bad} to mend" if bad else "nothing stands in the way", style="bold")


def pruned_table(pruned: Pruned) -> RenderableType:
    table = plain_table(">size", "path", "why")
    for item in pruned.items:
        table.add_row(show_bytes(item.bytes), item.path, item.why)
    kept = [Text(f"left alone: {each.path}: {each.why}") for each in pruned.kept]
    if not pruned.items:
        return Group(*kept, Text("nothing to remove"))
    done = "removed" if pruned.removed else "can go; remove them with --yes"
    return Group(table, *kept, Text(f"{len(pruned.items)}, {show_bytes(pruned.bytes)}: {done}", style="bold"))


def show_bytes(count: int) -> str:
    return next((f"{count / size:.1f} {unit}" for size, unit in SIZES if count >= size), f"{count} B")
