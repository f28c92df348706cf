"""What is wrong with how a command was called, in one line: `mixopt fit: --seed -1: must be at least 0; see ...`."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable
from typing import Any

import typer

from mixopt.base.shown import shown_name
from mixopt.settings.schema import StudyFile

# Typer raises those of a library that it carries with it, and names this one alone. All that tell of a wrong call.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

# What is said of values that do not fit, in fewer words.
SHORTER = (
    (r"^Input should be", "must be"),
    (r"^Value error, '.*' is not one of", "must be one of"),
    (r"greater than or equal to", "at least"),
    (r"less than or equal to", "at most"),
    (r"a valid integer, .*", "a whole number"),
    (r"a valid number, .*", "a number"),
)


def usage_mistake(error: Any, commands: Iterable[str]) -> tuple[str, str]:
    """What is wrong, and what to do about it.

    Args:
        error: a `UsageError`.
        commands: all that there are.
    """
    # Where an option lacks its value, the error does not know the command.
    command = next((word for word in sys.argv[1:] if word in commands), None)
    called = error.ctx.command_path if error.ctx is not None else " ".join(["mixopt", *([command] if command else [])])
    see = f"see {called} --help"
    match type(error).__name__:
        case "NoSuchOption":
            near = _nearest(error.option_name, _options(error.ctx))
            if not near and error.option_name.lstrip("-") in StudyFile.model_fields:
                see = f"{error.option_name.lstrip('-')} is a setting of the study file; {see}"
            return f"{called}: no option {shown_name(error.option_name)}", f"{near}{see}"
        case "MissingParameter":
            return f"{called}: {_name(error.param)} is missing", see
        case "BadParameter":
            return f"{called}: {_name(error.param)}{_given(error.param)}: {_in_fewer_words(error.message)}", see
        case "BadOptionUsage":
            return f"{called}: {shown_name(error.option_name)}: {_rest(error.message)}", see
    if (unknown := re.match(r"No such command '(.*?)'", error.message)) is not None:
        return f"{called}: no command {shown_name(unknown[1])}", f"{_nearest(unknown[1], commands)}{see}"
    if (more := re.match(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", error.message)) is not None:
        return f"{called}: too many arguments: {shown_name(more[1])}", see
    return f"{called}: {error.message.rstrip('.')}", see


def _nearest(given: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(given, [*known], n=1, cutoff=0.6)
    return f"did you mean {near[0]}? " if near else ""


def _options(ctx: Any) -> list[str]:
    return ["--help", *(name for param in ctx.command.params for name in param.opts if name.startswith("-"))]


def _name(param: Any) -> str:
    """As it stands in the usage: --seed, STUDY."""
    if param is None:
        return "a value"
    if param.param_type_name == "option":
        return str(max(param.opts, key=len))
    return str(param.metavar or param.name).strip("{}[].").upper()


def _given(param: Any) -> str:
    """The value of an option in this process's arguments, with a space before it; "" where it is not found."""
    if param is None or param.param_type_name != "option":
        return ""
    for place, word in enumerate(sys.argv):
        option, equals, value = word.partition("=")
        if option in param.opts:
            value = value if equals else " ".join(sys.argv[place + 1 : place + 2])
            return f" {shown_name(value) or repr(value)}"
    return ""


def _in_fewer_words(message: str) -> str:
    for pattern, words in SHORTER:
        message = re.sub(pattern, words, message)
    return message.rstrip(".")


def _rest(message: str) -> str:
    """Without the name of the option, which stands before it."""
    rest = re.sub(r"^Option '.*?' ", "", message).rstrip(".")
    return re.sub(r"^requires an argument", "needs a value", rest)
