"""The command that cuts pools into levels of quality."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mixopt.base.console import err, say_note
from mixopt.cli.arguments import BEGIN, Json, StudyArgument, check_output, named_path, print_result
from mixopt.settings.schema import STUDY_FILE

app = typer.Typer()


@app.command(
    epilog="Example: mixopt quality study.yaml -o pools     (then: mixopt run study-levels.yaml)", rich_help_panel=BEGIN
)
def quality(
    study: StudyArgument = STUDY_FILE,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            parser=named_path,
            help="A folder, which gets one for each domain with a file for each level.",
        ),
    ] = Path("pools"),
    study_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The study file over the levels, beside STUDY. Default: STUDY-levels.yaml."),
    ] = None,
    json: Json = False,
) -> None:
    """Score every document of the domains that ask for it, and cut them into levels of quality."""
    from mixopt.cli.study import load_study
    from mixopt.cli.tables.quality import quality_table
    from mixopt.quality import cut_pools
    from mixopt.study.stages import Stages

    file = load_study(study)
    check_output(output, folder=True)
    new = study.with_name(study_file.name) if study_file and study_file.parent == Path() else study_file
    new = new or study.with_name(f"{study.stem}-levels{study.suffix}")
    check_output(new, option="--study-file")
    with Stages(err) as stages:
        found = cut_pools(file, output, new, lambda step: stages.advance(step.stage, step.done, step.total, step.unit))
    print_result(found, quality_table(found), json)
    for each in found.notes:
        say_note(each)
