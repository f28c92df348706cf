"""Writes the reference from what it is about: `make reference` after a command or a setting has changed.

python docs/reference/write.py           writes commands.md, settings.md and results.md beside this file
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperArgument, TyperGroup

from mixopt.cli import schemas
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
        if _is_of_its_own_kind(inner, node):
            yield f"| `{name}` | {default} | {{name: ...}}, each with the same keys | {_cell(given['description'])} |"
        elif "properties" in setting:
            yield from _settings(setting, definitions, f"{name}.")
        elif "properties" in inner:
            described = given.get("description", "")
            yield f"| `{name}` | {default} | {{name: ...}} | {_cell(described)} |"
            yield from _settings(inner, definitions, f"{name}.<name>.")
        else:
            described = given.get("description") or setting.get("description", "")
            yield f"| `{name}` | {default} | {_allowed(setting, definitions)} | {_cell(described)} |"


def _is_of_its_own_kind(inner: dict[str, Any], node: dict[str, Any]) -> bool:
    """Whether a section holds sections like itself, which would be written without end."""
    return bool(inner.get("properties") == node["properties"])


def results() -> str:
    """Every key of what commands print with --json."""
    parts = [
        "# Results",
        "What commands print with `--json`: each key, under the name by which `mixopt schema NAME` prints the whole as "
        "JSON Schema. `<name>` stands for any key, `[]` for each item of a list. No number is infinite or NaN. "
        "`schema_version` becomes higher whenever a key comes, goes or changes its meaning.",
    ]
    for name in schemas.RESULTS:
        schema = schemas.json_schema(name)
        rows = "\n".join(_keys(schema, schema.get("$defs", {}), ""))
        parts += [f"## {name}", _cell(schema["description"]), f"| key | holds | meaning |\n|---|---|---|\n{rows}"]
    return "\n\n".join(parts) + "\n"


def _keys(node: dict[str, Any], definitions: dict[str, Any], prefix: str) -> Iterator[str]:
    for key, given in node["properties"].items():
        found = _resolved(given, definitions)
        described = given.get("description") or ("" if "properties" in found else found.get("description", ""))
        yield f"| `{prefix}{key}` | {_held(given, definitions)} | {_cell(described)} |"
        yield from _keys_inside(given, definitions, prefix + key)


def _keys_inside(node: dict[str, Any], definitions: dict[str, Any], name: str) -> Iterator[str]:
    """The keys of the objects in a value: itself, what it may be, or the items of its list or map."""
    found = _resolved(node, definitions)
    if "properties" in found:
        yield from _keys(found, definitions, f"{name}.")
    else:
        for choice in found.get("anyOf", []):
            yield from _keys_inside(choice, definitions, name)
    for inner, suffix in ((found.get("items"), "[]"), (found.get("additionalProperties"), ".<name>")):
        if isinstance(inner, dict):
            yield from _keys_inside(inner, definitions, name + suffix)


def _held(node: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What stands at a key, in a few words."""
    if node == NULL:
        return "null"
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(_held(each, definitions) for each in node["anyOf"]))
    node = _resolved(node, definitions)
    if "enum" in node or "const" in node:
        return _allowed(node, definitions)
    match node.get("type"):
        case "array" if "prefixItems" in node:
            return f"[{', '.join(_held(each, definitions) for each in node['prefixItems'])}]"
        case "array":
            return f"list of {_held(node['items'], definitions)}"
        case "object":
            inner = node.get("additionalProperties")
            return f"{{name: {_held(inner, definitions)}}}" if isinstance(inner, dict) else "object"
        case None:
            return "any JSON"
    return _allowed(node, definitions)


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
    (HERE / "results.md").write_text(results(), encoding="utf-8")
