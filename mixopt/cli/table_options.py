"""The options by which every command that reads a table of runs is told how: `fit`, `backtest`, `replay`.

A command that has `how: How` among its parameters, and is decorated with `reads_tables`, has them all.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from mixopt.base.errors import ConfigError

READING = "Reading a table of runs"


@dataclass(frozen=True)
class How:
    """How tables are to be read; what was said, as it was said, for the libraries that read it take time to load."""

    said: dict[str, Any]

    def sources(self, *paths: Path) -> tuple[Any, ...]:
        """The tables at these paths, or the experiment that was named in their place, to be read so.

        Raises:
            ConfigError: an option is wrong, or there is neither table nor experiment.
        """
        from mixopt.runs.tables.mapping_file import read_mapping
        from mixopt.runs.tables.reading import Described, Reading, columns_option
        from mixopt.runs.tables.sheet import Cells, Experiment

        said = self.said
        reading = Reading(
            weights=tuple(said["weights"] or ()),
            metrics=tuple(said["metric_columns"] or ()),
            columns=columns_option(tuple(said["column"] or ())),
            units=said["units"],
            normalise=said["normalise"],
            keep_unfinished=said["keep_unfinished"],
            decimal=said["decimal"],
            encoding=said["encoding"],
            join=tuple(said["join"] or ()),
        )
        if said["mapping"] is not None:
            reading = reading.over(read_mapping(said["mapping"]))
        cells: list[Cells] = list(paths)
        if said["from_mlflow"] is not None:
            if not said["experiment"]:
                raise ConfigError("--from-mlflow without an experiment", hint="name it: --experiment NAME")
            cells.append(Experiment(said["from_mlflow"], said["experiment"]))
        elif said["experiment"]:
            raise ConfigError("--experiment without a store", hint="say where it is: --from-mlflow URI")
        if not cells:
            raise ConfigError("no table of runs", hint="name a file, or --from-mlflow URI --experiment NAME")
        return tuple(Described(each, reading, said["mapping"]) for each in cells)

    def source(self, path: Path | None) -> Any:
        """The one table that there is.

        Raises:
            ConfigError: as `sources`, or there are two.
        """
        if path is not None and self.said["from_mlflow"] is not None:
            raise ConfigError(f"{path} and --from-mlflow are two tables", hint="leave one of them out")
        [only] = self.sources(*([] if path is None else [path]))
        return only

    @property
    def stem(self) -> str:
        """What files are called that are written for an experiment."""
        return "".join(
            letter if letter.isalnum() or letter in "-_." else "-" for letter in self.said["experiment"] or ""
        )


def _options(
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Columns of the mixture, such as 'mix/*'; !PATTERN leaves some out; repeatable. Default: told from "
            "names and sums.",
            rich_help_panel=READING,
        ),
    ] = None,
    metric_columns: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="PATTERN",
            help="Columns of what was measured, such as 'eval/*'; repeatable. Default: told from names.",
            rich_help_panel=READING,
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE=NAME",
            help="The column that is run, fidelity, params, tokens, cost, state, step, last_step, id or seed; ROLE= "
            "for none; repeatable.",
            rich_help_panel=READING,
        ),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(help="A mapping file. Default: RUNS.mapping.yaml beside the table.", rich_help_panel=READING),
    ] = None,
    join: Annotated[
        list[Path] | None,
        typer.Option(help="A table with other columns of the same runs; repeatable.", rich_help_panel=READING),
    ] = None,
    units: Annotated[
        str | None, typer.Option(help="Of the weights: share, percent or tokens.", rich_help_panel=READING)
    ] = None,
    normalise: Annotated[
        bool, typer.Option("--normalise", help="Divide weights by their sum, whatever it is.", rich_help_panel=READING)
    ] = False,
    keep_unfinished: Annotated[
        bool,
        typer.Option("--keep-unfinished", help="Keep runs that crashed, or go on.", rich_help_panel=READING),
    ] = False,
    decimal: Annotated[
        str | None, typer.Option(help="What parts decimals: point or comma.", rich_help_panel=READING)
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of a text file, such as cp1252.", rich_help_panel=READING)
    ] = None,
    from_mlflow: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Read an MLflow experiment instead of a file.", rich_help_panel=READING),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(metavar="NAME", help="The MLflow experiment.", rich_help_panel=READING)
    ] = None,
) -> How:
    return How(dict(locals()))


def reads_tables(command: Callable[..., None]) -> Callable[..., None]:
    """The command with these options in the place of its parameter `how`, before --json."""
    own = _parameters(command)
    added = _parameters(_options)
    names = {each.name for each in added}

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        how = _options(**{name: value for name, value in given.items() if name in names})
        command(how=how, **{name: value for name, value in given.items() if name not in names})

    shown = [each for each in own if each.name != "how"]
    last = [each for each in shown if each.name == "json"]
    parameters = [*(each for each in shown if each.name != "json"), *added, *last]
    # What typer looks at, in the place of the command's own.
    vars(with_options)["__signature__"] = inspect.Signature(parameters)
    del vars(with_options)["__wrapped__"]
    with_options.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_options


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """A function's parameters with their types, which are text where annotations are put off."""
    types = get_type_hints(function, include_extras=True)
    return [
        each.replace(annotation=types[each.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for each in inspect.signature(function).parameters.values()
    ]
