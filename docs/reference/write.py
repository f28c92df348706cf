"""Writes the reference from what it is about: `make reference` after a command or a setting has changed.

python docs/reference/write.py           writes commands.md and settings.md beside this file
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperArgument, TyperGroup

from mixopt.cli.main import app
from mixopt.settings.schema import json_schema

HERE = Path(__file__).parent
NULL = {"type": "null"}


def commands() -> str:
    """Every command with its arguments, options and examples."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    parts = ["# Commands", f"{group.help} `mixopt COMMAND --help` says the same in the terminal."]
    for name, command in group.commands.items():
        parts += [f"## mixopt {name}", str(command.help)]
        if rows := [_row(parameter) for parameter in command.params if parameter.name != "help"]:
            parts.append("\n".join(["| | default | |", "|---|---|---|", *rows]))
        examples = re.findall(r"mixopt [^\n]+", command.epilog or "")
        parts.append("\n".join(["```", *examples, "```"]))
    return "\n\n".join(parts) + "\n"


def _row(parameter: Any) -> str:
    if isinstance(parameter, TyperArgument):
        names = f"`{parameter.metavar or str(parameter.name).upper()}`"
    else:
        names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    return f"| {names} | {_default(parameter.default)} | {_cell(parameter.help or '')} |"


def settings() -> str:
    """Every setting of the study file."""
    schema = json_schema()
    rows = "\n".join(_settings(schema, schema["$defs"], ""))
    return (
        "# Settings\n\nEvery key of the study file; [study-file.md](../study-file.md) explains them. "
        "`<name>` stands for a name that you choose.\n\n| key | default | allowed | meaning |\n|---|---|---|---|\n"
        + rows
        + "\n"
    )


def _settings(node: dict[str, Any], definitions: dict[str, Any], prefix: str) -> Iterator[str]:
    required = node.get("required", [])
    for key, given in node["properties"].items():
        name, setting = prefix + key, _resolved(given, definitions)
        default = "required" if key in required else _default(setting.get("default", given.get("default")))
        # Names of a certain form are a pattern's properties.
        inner = next(iter(setting.get("patternProperties", {}).values()), setting.get("additionalProperties"))
        inner = _resolved(inner, definitions) if isinstance(inner, dict) else {}
        if "properties" in setting:
            yield from _settings(setting, definitions, f"{name}.")
        elif "properties" in inner:
            described = given.get("description", "")
            yield f"| `{name}` | {default} | {{name: ...}} | {_cell(described)} |"
            yield from _settings(inner, definitions, f"{name}.<name>.")
        else:
            described = given.get("description") or setting.get("description", "")
            yield f"| `{name}` | {default} | {_allowed(setting, definitions)} | {_cell(described)} |"


def _resolved(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The node that a reference, or a choice between one thing and null, leads to."""
    choices = [choice for choice in node.get("anyOf", []) if choice != NULL]
    if len(choices) == 1:
        node = {**node, **choices[0]}
    if "$ref" not in node:
        return node
    found = {**node, **definitions[node["$ref"].rpartition("/")[2]]}
    del found["$ref"]
    return found


def _allowed(node: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    if "const" in node:
        return f"`{node['const']}`"
    if "anyOf" in node:
        allowed = (_allowed(_resolved(each, definitions), definitions) for each in node["anyOf"] if each != NULL)
        return " or ".join(dict.fromkeys(allowed))
    kind = node.get("type", "")
    if kind == "array":
        return f"list of {_allowed(_resolved(node['items'], definitions), definitions)}"
    if kind == "object":
        return "{name: value}"
    return {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true`, `false`"}.get(
        kind, kind
    )


def _default(value: Any) -> str:
    match value:
        case None | False:
            return ""
        case dict() | list() if not value:
            return ""
        case bool():
            return f"`{str(value).lower()}`"
        case list():
            return ", ".join(f"`{each}`" for each in value)
    return f"`{value}`"


def _cell(text: str) -> str:
    """One line that cannot end a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    (HERE / "commands.md").write_text(commands(), encoding="utf-8")
    (HERE / "settings.md").write_text(settings(), encoding="utf-8")
