"""What commands share: where they print, and the arguments that several of them take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from mixopt.base.console import out
from mixopt.base.files import check_file, check_folder
from mixopt.cli.completion import study_files
from mixopt.results.base import Result
from mixopt.settings.environment import ADDRESS_VARIABLE

StudyArgument = Annotated[Path, typer.Argument(help="The study file.", show_default=True, autocompletion=study_files)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Address = Annotated[
    str | None,
    typer.Option(envvar=ADDRESS_VARIABLE, help="The cluster's head: http://head:8265."),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Train failed trials again.")]

# Where `mixopt --help` lists a command.
BEGIN, STUDY, CLUSTER, RUNS = "To begin", "A study", "Studies on a cluster", "Finished runs"
KEEPING = "Keeping it in order"


def print_result(result: Result, view: RenderableType, as_json: bool) -> None:
    """Print a result: as JSON for a program, or what a person sees of it."""
    if as_json:
        print(result.json_text())
    else:
        out.print(view, soft_wrap=not out.is_terminal)


def named_path(given: str | Path) -> Path:
    """The parser of an option that names a file or folder: no name at all would be this folder.

    Args:
        given: a path where it is the default.

    Raises:
        BadParameter: there is none.
    """
    if not str(given).strip():
        raise typer.BadParameter("names nothing")
    return Path(given)


def check_output(path: Path, folder: bool = False, option: str = "--output") -> Path:
    """Where a command is to write: looked at before the work that would be lost.

    Args:
        folder: it is one, which need not be there yet.

    Raises:
        ConfigError: nothing can be written there.
    """
    check = check_folder if folder else check_file
    check(path, f"{option} {path}".lstrip())
    return path


def headed(head: str, text: str) -> Text:
    """A line whose head stands out."""
    return Text.assemble((head, "bold"), " ", text)
