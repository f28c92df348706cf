"""Changes to the text of a study file that leave the rest of it, comments included, as somebody wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from textwrap import indent
from typing import Any

import yaml

from mixopt.base import plain_yaml
from mixopt.base.errors import ConfigError

# In a comment, as files that mixopt writes begin.
COMMAND = re.compile(r"#\s+mixopt \w+ (?P<file>\S+)")


def check_editable(text: str, path: Path) -> None:
    """Call before expensive work whose outcome is to be written into a study file.

    Args:
        path: of the file, for messages.

    Raises:
        ConfigError: a setting stands for another one (`*name`): what is changed in one place would change in both.
    """
    event: Any  # of classes without types
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(
                f"{path}:{line}: *{event.anchor} stands for what is written elsewhere, and so "
                "cannot be changed by itself",
                hint=f"write it out in place of *{event.anchor}",
            )


def with_setting(text: str, place: Sequence[str], value: Any) -> str:
    """The text with a setting, in place of what it has there; sections that are not there come at the end.

    Raises:
        ConfigError: a section above it is no section.
    """
    *above, key = place
    section = _section(text, above)
    if section is None:
        return with_setting(text, above, {key: value})
    entry = _entry(section, key)
    if section.flow_style:
        content = plain_yaml.load(text[section.start_mark.index : section.end_mark.index])
        return _replaced(text, section, _flow({**content, key: value}))
    column = section.start_mark.column
    written = indent(_block(key, value), " " * column).strip()
    if entry is not None:
        return text[: entry[0].start_mark.index] + written + text[_end_of(text, entry[1]) :]
    last = _end_of_line(text, _end_of(text, section.value[-1][1]))
    return text[:last].rstrip("\n") + f"\n{' ' * column}{written}\n" + text[last:].removeprefix("\n")


def with_commands_on(text: str, old: str, new: str) -> str:
    """The text whose first comment tells of commands on the file called `new`, where it did of the one called `old`."""
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if line.strip() and not line.startswith("#"):
            break
        if found := COMMAND.match(line):
            start, end = found.span("file")
            if PurePath(line[start:end]).name == old:
                lines[number] = line[:start] + str(PurePath(line[start:end]).with_name(new)) + line[end:]
    return "".join(lines)


def without_setting(text: str, place: Sequence[str]) -> str:
    """The text without a setting; as it is, where there is none.

    Raises:
        ConfigError: a section above it is no section.
    """
    *above, key = place
    section = _section(text, above)
    entry = None if section is None else _entry(section, key)
    if section is None or entry is None:
        return text
    if section.flow_style or len(section.value) == 1:
        content = plain_yaml.load(text[section.start_mark.index : _end_of(text, section)])
        return _replaced(text, section, _flow({name: each for name, each in content.items() if name != key}))
    start = text.rfind("\n", 0, entry[0].start_mark.index) + 1
    return text[:start] + text[_end_of_line(text, _end_of(text, entry[1])) :].removeprefix("\n")


def as_written(number: float) -> float:
    """A number as a person writes it into a study file: with six digits, and none after the point that says nothing."""
    return int(number) if number.is_integer() else float(f"{number:.6g}")


def _section(text: str, place: Sequence[str]) -> yaml.MappingNode | None:
    """The settings at a place; None where there are none."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode) or node.flow_style:
        raise ConfigError("the sections of the study file stand in braces", hint="begin a line with each of them")
    for name in place:
        entry = _entry(node, name)
        if entry is None or entry[1].tag.endswith(":null"):
            return None
        node = entry[1]
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{'.'.join(place)} is no section", hint="write key: value in it")
    return node


def _entry(section: yaml.MappingNode, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next((entry for entry in section.value if entry[0].value == key), None)


def _replaced(text: str, node: yaml.Node, written: str) -> str:
    return text[: node.start_mark.index] + written + text[_end_of(text, node) :]


def _end_of(text: str, node: yaml.Node) -> int:
    """Where what it says ends: a block is taken to reach to the next token, over line breaks, and comments that belong
    to that."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end_of(text, last[1] if isinstance(last, tuple) else last)
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    return start + len(text[start:end].rstrip())


def _end_of_line(text: str, place: int) -> int:
    found = text.find("\n", place)
    return len(text) if found < 0 else found


def _block(key: str, value: Any) -> str:
    """Key and value: a section that has sections inside, a line for each of them; else all in one line."""
    if not isinstance(value, Mapping) or not any(isinstance(each, Mapping) for each in value.values()):
        return f"{_flow(key)}: {_flow(value)}"
    inside = "\n".join(_block(name, each) for name, each in value.items())
    return f"{_flow(key)}:\n{indent(inside, '  ')}"


def _flow(value: Any) -> str:
    written = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10_000, default_flow_style=True)
    return re.sub(r"\n\.\.\.\n$", "", str(written)).strip()
