"""The command that compares predictions with what was confirmed; mixopt/cli/main.py takes it in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mixopt.cli.arguments import STUDY, Json, print_result
from mixopt.settings.schema import STUDY_FILE

app = typer.Typer()


@app.command(
    epilog="Examples:\n\nmixopt calibration     (all studies beside study.yaml)\n\n"
    "mixopt calibration one.yaml two.yaml --json\n\nmixopt calibration /shared/mixopt",
    rich_help_panel=STUDY,
)
def calibration(
    studies: Annotated[
        list[Path] | None,
        typer.Argument(help="Study files, or folders that hold studies. Default: all studies of the one here."),
    ] = None,
    json: Json = False,
) -> None:
    """Show how predictions turned out: the optimism of gains and the coverage of intervals, by study and together."""
    from mixopt.cli.tables.calibration import calibration_view
    from mixopt.settings.reading import load
    from mixopt.study.calibration import calibration

    if studies is None and STUDY_FILE.exists():
        studies = [load(STUDY_FILE).home]
    found = calibration(studies or [Path()])
    print_result(found, calibration_view(found), json)
