"""The mapping file that reads a table as it was read, each line with the reason."""

from __future__ import annotations

import json
import os
from pathlib import Path

from mixopt.runs.tables.opening import Opened
from mixopt.runs.tables.reading import NO_COLUMN, ROLES


def mapping_text(opened: Opened, folder: Path) -> str:
    """
    Args:
        folder: where the file is to be, from which tables to be joined are named.
    """
    layout, said = opened.layout, opened.said
    lines = [f"# How mixopt reads {_commented(str(opened.sheet.source))}: what it took for what, and why."]
    for what, columns, option in (("weights", layout.weights, "weight"), ("metrics", layout.metrics, "metric")):
        if not columns:
            lines.append(f"# {what}: not told; write a pattern such as mix/*, or a line for each")
            continue
        why = {each.name: each.why for each in layout.columns if each.part == option}
        lines.append(f"{what}:")
        lines += [
            f"  {_quoted(called)}: {_quoted(name)}  # {_commented(why[name])}" for called, name in columns.items()
        ]
    for role in ROLES:
        known = layout.roles.get(role)
        if known is not None:
            lines.append(f"{role}: {_quoted(known.column)}  # {_commented(known.why)}")
        elif said.columns.get(role) == NO_COLUMN:
            lines.append(f'{role}: ""')
    for name in ("units", "decimal", "encoding"):
        if (value := getattr(said, name)) is not None:
            lines.append(f"{name}: {value}")
    lines += [f"{name}: true" for name in ("normalise", "keep_unfinished") if getattr(said, name)]
    if said.join:
        lines.append(f"join: [{', '.join(_quoted(_from(folder, path)) for path in said.join)}]")
    unused = [each for each in layout.columns if each.part == "nothing" and each.name]
    lines += [f"# not used: {_commented(each.name)} ({_commented(each.why)})" for each in unused]
    return "\n".join(lines) + "\n"


def _from(folder: Path, path: Path) -> str:
    """A path as a file in this folder names it, so that the two may move together."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _quoted(text: str) -> str:
    """In double quotes, in which YAML and JSON are alike; a mapping file has letters of any script."""
    return json.dumps(text, ensure_ascii=False)


def _commented(text: str) -> str:
    return " ".join(text.split())
