"""The command that puts two studies or mixtures side by side; mixopt/cli/main.py takes it in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mixopt.base.console import err
from mixopt.cli.arguments import STUDY, Json, print_result

app = typer.Typer()

IS_ONE_OF = (
    "A study file, for its answer; a .yaml, .json or .csv with a mixture, that mixopt wrote; or, of the judging study, "
    "the name of a baseline or the id of a trial."
)


@app.command(
    epilog="Examples:\n\nmixopt compare study.yaml proportional\n\nmixopt compare small/study.yaml large/study.yaml\n\n"
    "mixopt compare old.yaml new.yaml --study study.yaml     (two mixtures, judged by a study)",
    rich_help_panel=STUDY,
)
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=IS_ONE_OF, show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="As A.", show_default=False)],
    study: Annotated[
        Path | None,
        typer.Option(help="Whose surrogate and trials judge. Default: the studies among A and B, else study.yaml."),
    ] = None,
    json: Json = False,
) -> None:
    """Show two studies or mixtures side by side, with the trials behind the difference."""
    from mixopt.cli.tables.compare import compare_view
    from mixopt.comparison import compare

    with err.status("fitting the losses"):
        comparison = compare(a, b, study)
    print_result(comparison, compare_view(comparison), json)
