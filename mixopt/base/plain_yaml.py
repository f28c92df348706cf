"""YAML that people write, read as plain data: text, numbers, true and false, lists and mappings; within bounds.

    text --events--> within bounds? --compose--> nodes with line numbers --construct--> plain data

The events come one after the other, so a file is measured before anything is built of it: how deep it goes, and how
much it is once every alias stands for what it repeats.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from mixopt.base.errors import ConfigError
from mixopt.base.shown import shown_name

DEEPEST = 50
MOST_VALUES = 200_000
LONGEST_NUMBER = 100  # digits

# What YAML 1.1 reads as another number than stands there: octal, binary, hexadecimal, and to the base of 60.
NO_DECIMAL = "!no-decimal"
TEXT = "tag:yaml.org,2002:str"
# A control character that no file of text holds; others may stand in quotes, written out.
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


class NotPlain(ConfigError):
    """The text is no YAML, or more than plain data.

    Attributes:
        line: where, counted from 1; 0 where that is not known.
    """

    def __init__(self, message: str, hint: str, line: int = 0) -> None:
        super().__init__(message, hint)
        self.line = line


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Dates stay text, and so do numbers that are not decimal, under a tag of their own."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in ("bool", "null", "merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_DIGITS = list("-+0123456789.")
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9_]*)$"), _DIGITS)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?(?:(?:0|[1-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
        r"|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    _DIGITS,
)
_Loader.add_implicit_resolver(
    NO_DECIMAL,
    re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o[0-7_]+|0[0-9_]+|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)$"),
    _DIGITS,
)
_Loader.add_constructor(NO_DECIMAL, yaml.SafeLoader.construct_scalar)


def load(text: str) -> Any:
    """The data that a text is.

    Raises:
        NotPlain: it is no YAML, more than plain data, or too much.
    """
    return read(text)[1]


def read(text: str, strict: bool = False) -> tuple[yaml.Node | None, Any]:
    """The nodes of a text, which know their lines, and its data; None and None of an empty one.

    Args:
        strict: refuse what YAML readers accept without a word: a key that stands twice, `no:` read as false, `<<`, and
            numbers that are not decimal. A trainer's file may hold these where we do not look.

    Raises:
        NotPlain: as `load`.
    """
    text = text.removeprefix("\ufeff")
    if (odd := FORBIDDEN.search(text)) is not None:
        line = text.count("\n", 0, odd.start()) + 1
        raise NotPlain(f"a control character, U+{ord(odd[0]):04X}", "remove it: this is a file of text", line)
    try:
        _measure(text)
        loader = _Loader(text)
        try:
            root: yaml.Node | None = loader.get_single_node()
            if root is not None and strict:
                _check(root)
            return root, None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise NotPlain(
            f"not YAML: {getattr(error, 'problem', None) or error}",
            "check indentation, colons and quotes",
            mark.line + 1 if mark else 0,
        ) from error


@dataclass
class _Open:
    """A list or mapping that is being read: its anchor, and how many values are in it, as far as known."""

    anchor: str | None
    values: int = 1


def _measure(text: str) -> None:
    """
    Raises:
        NotPlain, yaml.YAMLError: as `load`.
    """
    whole = _Open(None)
    inside = [whole]
    size_of_anchor: dict[str | None, int] = {}
    event: Any  # of classes without types
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.CollectionEndEvent):
            done = inside.pop()
            inside[-1].values += done.values
            if done.anchor is not None:
                size_of_anchor[done.anchor] = done.values
        elif isinstance(event, yaml.AliasEvent):
            if any(each.anchor == event.anchor for each in inside):
                raise NotPlain("an anchor refers to itself", "write it out", line)
            inside[-1].values += size_of_anchor.get(event.anchor, 1)
        elif isinstance(event, yaml.NodeEvent):
            _check_tag(event, line)
            if isinstance(event, yaml.ScalarEvent):
                inside[-1].values += 1
                if event.anchor is not None:
                    size_of_anchor[event.anchor] = 1
            else:
                inside.append(_Open(event.anchor))
        if len(inside) > DEEPEST:
            raise NotPlain(f"nested more than {DEEPEST} deep", "write lists and settings side by side", line)
        if inside[-1].values > MOST_VALUES:
            raise NotPlain(
                f"more than {MOST_VALUES:,} values, each alias counted as what it repeats",
                "shorten the lists; a glob such as data/*.jsonl names many files",
                line,
            )


def _check_tag(event: Any, line: int) -> None:
    """A tag says what a value is, which the schema knows; and a number of more digits than any number has."""
    if event.tag is not None and event.tag != TEXT:
        raise NotPlain(f"the tag {shown_name(event.tag)}", "write the value without a tag", line)
    if isinstance(event, yaml.ScalarEvent) and not event.style and len(event.value) > LONGEST_NUMBER:
        digits = event.value.lstrip("+-")
        if digits[0].isdigit() and not digits.strip("0123456789_.:"):
            raise NotPlain(
                f"a number of {len(digits):,} digits", "write one such as 2B or 1e15, or text in quotes", line
            )


def _check(node: yaml.Node) -> None:
    """
    Raises:
        NotPlain: as `read`, strictly.
    """
    if node.tag == NO_DECIMAL:
        number = shown_name(node.value)
        raise NotPlain(
            f"YAML may read {number} as another number",
            f'write decimal numbers, without zeros in front; text in quotes: "{number}"',
            node.start_mark.line + 1,
        )
    if isinstance(node, yaml.MappingNode):
        first_line: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise NotPlain("a key that is no name", "write key: value", line)
            name = shown_name(key.value)
            if key.tag != TEXT:
                kind = "number" if key.tag == NO_DECIMAL else key.tag.rpartition(":")[2]
                raise NotPlain(f"YAML reads the key {name} as {kind}, not text", f'put it in quotes: "{name}"', line)
            if key.value in first_line:
                first = first_line[key.value]
                raise NotPlain(f"{name} stands here a second time (first: line {first})", "keep one of the two", line)
            first_line[key.value] = line
            _check(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check(item)
