"""The options by which every command that reads a table of runs is told how: `fit`, `backtest`, `explore`, ..."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from mixopt.base.errors import ConfigError

if TYPE_CHECKING:
    from mixopt.runs.tables.numbers import Decimal
    from mixopt.runs.tables.reading import Units

READING = "Reading a table of runs"

Weights = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Columns of the mixture, such as 'mix/*'; !PATTERN leaves some out; repeatable. Default: told from "
        "names and sums.",
        rich_help_panel=READING,
    ),
]
MetricColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--metrics",
        metavar="PATTERN",
        help="Columns of what was measured, such as 'eval/*'; repeatable. Default: told from names.",
        rich_help_panel=READING,
    ),
]
RoleColumns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ROLE=NAME",
        help="The column that is run, fidelity, params, tokens, cost, state, step, last_step, id or seed; ROLE= "
        "for none; repeatable.",
        rich_help_panel=READING,
    ),
]
MappingFile = Annotated[
    Path | None,
    typer.Option(help="A mapping file. Default: RUNS.mapping.yaml beside the table.", rich_help_panel=READING),
]
Joined = Annotated[
    list[Path] | None,
    typer.Option(help="A table with other columns of the same runs; repeatable.", rich_help_panel=READING),
]
WeightUnits = Annotated[
    str | None, typer.Option(help="Of the weights: share, percent or tokens.", rich_help_panel=READING)
]
Normalise = Annotated[
    bool, typer.Option("--normalise", help="Divide weights by their sum, whatever it is.", rich_help_panel=READING)
]
KeepUnfinished = Annotated[
    bool,
    typer.Option("--keep-unfinished", help="Keep runs that crashed, or go on.", rich_help_panel=READING),
]
DecimalSign = Annotated[str | None, typer.Option(help="What parts decimals: point or comma.", rich_help_panel=READING)]
TextEncoding = Annotated[str | None, typer.Option(help="Of a text file, such as cp1252.", rich_help_panel=READING)]
FromMlflow = Annotated[
    str | None,
    typer.Option(metavar="URI", help="Read an MLflow experiment instead of a file.", rich_help_panel=READING),
]
ExperimentName = Annotated[
    str | None, typer.Option(metavar="NAME", help="The MLflow experiment.", rich_help_panel=READING)
]


@dataclass(frozen=True, kw_only=True)
class How:
    """How tables are to be read: as it was said, for the libraries that read it take time to load."""

    weights: list[str] | None
    metric_columns: list[str] | None
    column: list[str] | None
    mapping: Path | None
    join: list[Path] | None
    units: str | None
    normalise: bool
    keep_unfinished: bool
    decimal: str | None
    encoding: str | None
    from_mlflow: str | None
    experiment: str | None

    def sources(self, *paths: Path) -> tuple[Any, ...]:
        """The tables at these paths, or the experiment that was named in their place, to be read so.

        Raises:
            ConfigError: an option is wrong, or there is neither table nor experiment.
        """
        from mixopt.runs.tables.mapping_file import read_mapping
        from mixopt.runs.tables.reading import Described, Reading, columns_option
        from mixopt.runs.tables.sheet import Cells, Experiment

        reading = Reading(
            weights=tuple(self.weights or ()),
            metrics=tuple(self.metric_columns or ()),
            columns=columns_option(tuple(self.column or ())),
            # Other words are refused there.
            units=cast("Units | None", self.units),
            normalise=self.normalise,
            keep_unfinished=self.keep_unfinished,
            decimal=cast("Decimal | None", self.decimal),
            encoding=self.encoding,
            join=tuple(self.join or ()),
        )
        if self.mapping is not None:
            reading = reading.over(read_mapping(self.mapping))
        cells: list[Cells] = list(paths)
        if self.from_mlflow is not None:
            if not self.experiment:
                raise ConfigError("--from-mlflow without an experiment", hint="name it: --experiment NAME")
            cells.append(Experiment(self.from_mlflow, self.experiment))
        elif self.experiment:
            raise ConfigError("--experiment without a store", hint="say where it is: --from-mlflow URI")
        if not cells:
            raise ConfigError("no table of runs", hint="name a file, or --from-mlflow URI --experiment NAME")
        return tuple(Described(each, reading, self.mapping) for each in cells)

    def source(self, path: Path | None) -> Any:
        """The one table that there is.

        Raises:
            ConfigError: as `sources`, or there are two.
        """
        if path is not None and self.from_mlflow is not None:
            raise ConfigError(f"{path} and --from-mlflow are two tables", hint="leave one of them out")
        [only] = self.sources(*([] if path is None else [path]))
        return only

    @property
    def is_said(self) -> bool:
        """Whether anything was said."""
        return any(getattr(self, each.name) for each in fields(self))

    @property
    def stem(self) -> str:
        """What files are called that are written for an experiment."""
        return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in self.experiment or "")
