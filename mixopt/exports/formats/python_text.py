"""What exports in Python share: mixtures as literals, which are read back without running the file."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any


def assignment(name: str, value: Mapping[str, Any]) -> str:
    """`NAME = {...}`, an item a line."""
    return f"{name} = {{\n" + "".join(f"    {key!r}: {item!r},\n" for key, item in value.items()) + "}\n"


def assigned(text: str, name: str) -> Any:
    """The literal that a file in Python assigns to a name.

    Raises:
        ValueError: none is; SyntaxError: this is not Python.
    """
    for statement in ast.parse(text).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                return ast.literal_eval(value)
    raise ValueError(f"it does not assign {name}")
