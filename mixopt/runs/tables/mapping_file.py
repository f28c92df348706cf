"""The mapping file: which column of a table is what, as YAML that `mixopt fit --guess` proposes and a person mends.

runs.mapping.yaml beside runs.csv is used without being named
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mixopt.base.files import text_in
from mixopt.runs.tables.numbers import Decimal
from mixopt.runs.tables.reading import ROLES, Columns, Reading, Role, Units
from mixopt.settings.reading import validate

ENDING = ".mapping.yaml"

Patterns = str | Annotated[list[str], Field(min_length=1)] | dict[str, str]


class MappingFile(BaseModel):
    """What a mapping file may say."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    weights: Patterns | None = None
    """The columns of the mixture: a pattern such as mix/*, several, or the column of each domain."""
    metrics: Patterns | None = None
    """The columns of the measurements, in the same ways."""
    run: str | None = None
    """The column of the runs' names; "" for none, as in all that follow."""
    fidelity: str | None = None
    params: str | None = None
    tokens: str | None = None
    cost: str | None = None
    state: str | None = None
    """How a run ended."""
    step: str | None = None
    """The last step of a run."""
    last_step: str | None = None
    """The step that it was to end at."""
    id: str | None = None
    seed: str | None = None
    units: Units | None = None
    """Of the weights: share, percent or tokens."""
    normalise: bool = False
    """Divide weights by their sum, whatever it is."""
    keep_unfinished: bool = False
    """Keep runs that crashed, or go on."""
    decimal: Decimal | None = None
    """What parts decimals: point or comma."""
    encoding: str | None = None
    join: str | list[str] = []
    """Further tables of the same runs, relative to this file."""


def read_mapping(path: Path) -> Reading:
    """
    Raises:
        ConfigError: one line for each mistake.
    """
    text = text_in(path, "mapping file", "write one with: mixopt fit runs.csv --guess --mapping-out runs.mapping.yaml")
    file, _ = validate(text, path, MappingFile)
    join = [file.join] if isinstance(file.join, str) else file.join
    roles: dict[Role, str] = {role: column for role in ROLES if (column := getattr(file, role)) is not None}
    return Reading(
        weights=_patterns(file.weights),
        metrics=_patterns(file.metrics),
        columns=roles,
        units=file.units,
        normalise=file.normalise,
        keep_unfinished=file.keep_unfinished,
        decimal=file.decimal,
        encoding=file.encoding,
        join=tuple(path.parent / each for each in join),
    )


def mapping_beside(table: Path) -> tuple[Path, Reading] | None:
    """The mapping file of a table, where one lies beside it."""
    path = table.with_suffix(ENDING) if table.name not in ("", ".", "..") else table
    return (path, read_mapping(path)) if path != table and path.is_file() else None


def _patterns(given: str | list[str] | dict[str, str] | None) -> Columns:
    if given is None:
        return ()
    if isinstance(given, dict):
        return given
    return (given,) if isinstance(given, str) else tuple(given)
