"""How a table is to be read, as far as somebody said it: on the command line, in Python, or in a mapping file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from mixopt.base.errors import ConfigError
from mixopt.base.shown import shown_name
from mixopt.runs.tables.numbers import DECIMALS, Decimal
from mixopt.runs.tables.sheet import Cells, Experiment, Frame, some

Units = Literal["share", "percent", "tokens"]
WEIGHT_UNITS: tuple[Units, ...] = ("share", "percent", "tokens")

# What a column can be, besides a weight and a metric.
Role = Literal["run", "fidelity", "params", "tokens", "cost", "state", "step", "last_step", "id", "seed"]
ROLES: tuple[Role, ...] = ("run", "fidelity", "params", "tokens", "cost", "state", "step", "last_step", "id", "seed")
# Says of a role that no column has it.
NO_COLUMN = ""

# Columns by name, or by patterns of names such as mix/*; those with ! before them are left out.
Columns = Mapping[str, str] | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What somebody said of a table; what is not said is told from the table.

    Attributes:
        weights: the columns of the mixture: patterns, or the column of each domain.
        metrics: those of the measurements: patterns, or the column of each metric.
        columns: the column of each role; NO_COLUMN where none has it.
        units: of the weights.
        normalise: divide weights by their sum, whatever that is.
        keep_unfinished: keep runs that crashed, or go on.
        decimal: what parts decimals.
        encoding: of a file of text.
        join: further tables with other columns of the same runs.
    """

    weights: Columns = ()
    metrics: Columns = ()
    columns: Mapping[Role, str] = field(default_factory=dict)
    units: Units | None = None
    normalise: bool = False
    keep_unfinished: bool = False
    decimal: Decimal | None = None
    encoding: str | None = None
    join: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.units is not None and self.units not in WEIGHT_UNITS:
            raise ConfigError(f"--units {self.units} does not exist", hint=f"choose from {', '.join(WEIGHT_UNITS)}")
        if self.decimal is not None and self.decimal not in DECIMALS:
            raise ConfigError(f"--decimal {self.decimal} does not exist", hint=f"choose from {', '.join(DECIMALS)}")
        for role in self.columns:
            if role not in ROLES:
                raise ConfigError(f"--column {role}=...: no such thing", hint=f"choose from {', '.join(ROLES)}")

    def over(self, other: Reading) -> Reading:
        """What is said here, and what `other` says besides."""
        told = {each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name)}
        return replace(other, **{**told, "columns": {**other.columns, **self.columns}})


@dataclass(frozen=True, eq=False)
class Described:
    """A table, and what somebody said of it.

    Attributes:
        mapping: the mapping file that is part of what was said, and takes the place of one beside the table.
    """

    cells: Cells
    said: Reading
    mapping: Path | None = None

    @property
    def name(self) -> str:
        return self.cells.name

    def __str__(self) -> str:
        return str(self.cells)


# Where a table of runs is, and how it is to be read.
TableSource = Path | Frame | Experiment | Described


def cells_of(source: TableSource) -> Cells:
    return source.cells if isinstance(source, Described) else source


def columns_option(options: tuple[str, ...]) -> dict[Role, str]:
    """From options `ROLE=NAME`.

    Raises:
        ConfigError: one has another form, or a role is given twice.
    """
    found: dict[Role, str] = {}
    for text in options:
        role, sign, name = text.partition("=")
        known = next((each for each in ROLES if each == role.strip()), None)
        if not sign or known is None or known in found:
            raise ConfigError(
                f"--column {shown_name(text)} does not give one column its role",
                hint=f"write --column ROLE=NAME, once for each of {', '.join(ROLES)}; --column state= for none",
            )
        found[known] = name.strip()
    return found


def chosen(patterns: Columns, names: list[str], option: str, table: str) -> dict[str, str]:
    """The columns that patterns choose, by the name of what is in them: what the patterns have in common is left out.

    Raises:
        ConfigError: a pattern fits no column, or all of them only leave columns out.
    """
    if isinstance(patterns, Mapping):
        for what, name in patterns.items():
            if name not in names:
                raise ConfigError(
                    f"{table}: no column {shown_name(name)}, which {option} has for {shown_name(what)}",
                    hint=f"choose from {some(map(shown_name, names))}",
                )
        return dict(patterns)
    against = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    if not wanted:
        raise ConfigError(
            f"{option} {shown_name(patterns[0])} leaves columns out, and says none that counts",
            hint=f"say which do as well: {option} 'PREFIX/*'",
        )
    found: dict[str, str] = {}
    for pattern in wanted:
        fitting = [name for name in names if _fits(name, pattern) and not any(_fits(name, each) for each in against)]
        if not fitting:
            raise ConfigError(
                f"{table}: {option} {shown_name(pattern)} fits no column",
                hint=f"choose from {some(map(shown_name, names))}; the pattern may have * in it",
            )
        for name in fitting:
            found.setdefault(name, _part_that_varies(name, pattern))
    # Two patterns may leave the same of two names, which both go by their whole names then.
    twice = {short for short, count in Counter(found.values()).items() if count > 1}
    return {
        name if short in twice or (short in found and short != name) else short: name for name, short in found.items()
    }


def _fits(name: str, pattern: str) -> bool:
    # A name as it stands, also one that has brackets in it.
    return name == pattern or fnmatchcase(name, pattern.replace("[", "[[]"))


# What stands between the words of a column's name.
PARTING = "/._-: "


def _part_that_varies(name: str, pattern: str) -> str:
    """What the stars of a pattern stand for; the whole name, where there is none."""
    if "*" not in pattern or name == pattern:
        return name
    start, end = pattern.index("*"), len(pattern) - 1 - pattern.rindex("*")
    part = name[start : len(name) - end].strip()
    # Of `loss*` and loss/web the slash is no part of the name.
    return (part.lstrip(PARTING) if pattern[:start][-1:].isalnum() else part) or name
