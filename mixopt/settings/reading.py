"""From the text of a study file to its settings; each mistake names its line and the remedy.

study.yaml --compose--> nodes with line numbers --construct--> plain data --validate--> StudyFile, its domains a tree
           --flatten--> StudyFile over the leaves
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args

import yaml
from pydantic import (
    BaseModel,
    ValidationError,
)

from mixopt.base import plain_yaml
from mixopt.base.errors import ConfigError, Mistakes
from mixopt.base.files import text_in
from mixopt.base.shown import MOST_LINES, shown, shown_name
from mixopt.settings.cross_checks import cross_checks, suggest
from mixopt.settings.levels import Found, Study, flattened, spelled_out, tree_mistakes
from mixopt.settings.passwords import passwords_in
from mixopt.settings.schema import StudyFile

# What editors of some systems begin a file with.
BYTE_ORDER_MARK = "\ufeff"
Schema = TypeVar("Schema", bound=BaseModel)


def load(path: Path) -> StudyFile:
    """Read and check a study file.

    Raises:
        ConfigError: one line for each mistake, `file:line: field: what is wrong; what to do`.
    """
    return parse(text_of(path), path)


def place_in(file: StudyFile, *location: str) -> str:
    """Where a setting, or its section, stands: `file:line: dotted.field`."""
    root, _ = plain_yaml.read(file.text, strict=True)
    assert root is not None, "it has settings"
    return _place(file.written(*location), root, file.file)


def text_of(path: Path) -> str:
    return text_in(path, "study file", "write one with: mixopt init")


def parse(text: str, path: Path) -> StudyFile:
    """As `load`, from text; `path` says where it stands, for messages and relative paths."""
    tree, root = validate(text, path, StudyFile)
    study = over_leaves(tree, root, path)
    _refuse(cross_checks(study), study, root, path)
    study = spelled_out(study)
    study._file, study._text = path, text.removeprefix(BYTE_ORDER_MARK)
    return study


def over_leaves(tree: Study, root: yaml.Node, path: Path) -> Study:
    """The study over the domains without parts.

    Raises:
        Mistakes: in the tree of its domains.
    """
    _refuse(tree_mistakes(tree), tree, root, path)
    return flattened(tree)


def _refuse(found: Iterator[Found], study: StudyFile, root: yaml.Node, path: Path) -> None:
    """
    Raises:
        Mistakes: as `load`.
    """
    # As many as are shown, and one: to look for all that a long file has would take long.
    problems = list(islice(found, MOST_LINES + 1))
    if problems:
        raise Mistakes([f"{_place(study.written(*location), root, path)}: {message}" for location, message in problems])


def validate(text: str, path: Path, schema: type[Schema]) -> tuple[Schema, yaml.Node]:
    """The file that the text is, each section right by itself, and its nodes with their lines.

    Raises:
        ConfigError: as `load`.
    """
    try:
        root, data = plain_yaml.read(text, strict=True)
    except plain_yaml.NotPlain as error:
        place = f"{path}:{error.line}" if error.line else str(path)
        raise ConfigError(f"{place}: {error.message}", error.hint) from error
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}: no settings in this file", hint="start from: mixopt init")
    _check_passwords(root, text, path)
    try:
        return schema.model_validate(data), root
    except ValidationError as error:
        problems = error.errors(include_url=False)
        raise Mistakes(
            [_explain(problem, root, path, schema) for problem in problems[:MOST_LINES]], len(problems)
        ) from error


def _check_passwords(root: yaml.Node, text: str, path: Path) -> None:
    found = [
        f"{path}:{line + 1}: {'.'.join(map(shown_name, location)) or 'this line'} holds a password in a URL, "
        f"which would be recorded; {remedy}"
        for location, line, remedy in passwords_in(root, text)
    ]
    if found:
        raise Mistakes(found)


def _explain(problem: Any, root: yaml.Node, path: Path, schema: type[BaseModel]) -> str:
    """One pydantic error as one line."""
    location = tuple(str(part) for part in problem["loc"] if part != "[key]")
    place = _place(location, root, path)
    match problem["type"]:
        case "extra_forbidden":
            parent = _fields_at(schema, location[:-1])
            return f"{place}: unknown key{suggest(location[-1], parent)}"
        case "missing":
            return f"{place}: missing; add it"
        case "value_error":
            return f"{place}: {problem['ctx']['error']}"
        case "string_type" if isinstance(problem["input"], int | float):
            node, _ = _deepest(location, root)
            written = node.value if isinstance(node, yaml.ScalarNode) else str(problem["input"])
            kind = "true or false" if isinstance(problem["input"], bool) else "a number"
            return f'{place}: {shown_name(written)} is read as {kind}; put it in quotes: "{shown_name(written)}"'
        case "string_pattern_mismatch":
            return f"{place}: {shown(problem['input'])} is not a name; use letters, digits, _ . and -"
        case "too_long" | "string_too_long":
            most = f"{problem['ctx']['max_length']:,}"
            return f"{place}: {shown(problem['input'])} is longer than {most}; shorten it"
        case "string_too_short":
            return f"{place}: {shown(problem['input'])} is empty; write something, or leave the setting out"
        case "too_short":
            return f"{place}: needs at least {problem['ctx']['min_length']}; add more"
        case "model_type" | "model_attributes_type" | "dict_type":
            fields = ", ".join(_fields_at(schema, location)[:4])
            settings = f"its settings, {{key: value}} of {fields}, ..." if fields else "{name: ...}"
            return f"{place}: {shown(problem['input'])} does not fit here; write {settings}"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            wanted = problem["msg"].replace("Input should be", "write a number")
            return f"{place}: {shown(problem['input'])} is out of range; {wanted}"
        case "int_type" | "int_from_float":
            return f"{place}: {shown(problem['input'])} does not fit here; write a whole number"
        case "literal_error":
            return f"{place}: {shown(problem['input'])} is unknown; choose {problem['ctx']['expected']}"
        case _:
            remedy = problem["msg"].replace("Input should be", "write").replace("a valid ", "a ")
            return f"{place}: {shown(problem['input'])} does not fit here; {remedy}"


def _fields_at(schema: type[BaseModel], location: tuple[str, ...]) -> list[str]:
    """The keys that the schema allows at a place of the file."""
    section: Any = schema
    for part in location:
        if isinstance(section, type) and issubclass(section, BaseModel) and part in section.model_fields:
            section = section.model_fields[part].annotation
            section = next((each for each in get_args(section) if NoneType in get_args(section)), section)
            section = getattr(section, "__origin__", section) if hasattr(section, "__metadata__") else section
        elif getattr(section, "__origin__", None) is dict:
            section = section.__args__[1]
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []


def _place(location: tuple[str, ...], root: yaml.Node, path: Path) -> str:
    """file:line: dotted.field, the line of the deepest part of the location that stands in the file."""
    _, line = _deepest(location, root)
    dotted = ".".join(map(shown_name, location))
    return f"{path}:{line + 1}: {dotted}" if location else f"{path}:{line + 1}"


def _deepest(location: tuple[str, ...], root: yaml.Node) -> tuple[yaml.Node, int]:
    """What stands in the file of a place, as deep as it goes, and on which line, from 0, that begins."""
    node, line = root, root.start_mark.line
    for part in location:
        if isinstance(node, yaml.MappingNode):
            entry = next((pair for pair in node.value if str(pair[0].value) == part), None)
            if entry is None:
                break
            line, node = entry[0].start_mark.line, entry[1]
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line
        else:
            break
    return node, line
