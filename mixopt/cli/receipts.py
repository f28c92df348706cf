"""The commands for whoever doubts an export or a run; mixopt/cli/main.py takes them in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mixopt.base.console import err, say_note
from mixopt.base.errors import ConfigError
from mixopt.cli.arguments import STUDY, Json, print_result
from mixopt.cli.completion import study_files
from mixopt.results.drawn import SAMPLES, TOLERANCE, Drawn
from mixopt.settings.schema import STUDY_FILE

app = typer.Typer()

NOT_AS_ASKED = 1
NOT_TOLD = 2
Tolerance = Annotated[
    float,
    typer.Option(min=0, max=1, help="Share of the tokens by which a domain may be off beside rounding and chance."),
]


@app.command(
    epilog="Examples:\n\nmixopt check mixture.json --data '/data/{domain}.jsonl'\n\n"
    "mixopt check data-path.txt --samples 100000     (where the export says that the data are)",
    rich_help_panel=STUDY,
)
def check(
    export: Annotated[Path, typer.Argument(help="A file that mixopt export wrote.", show_default=False)],
    data: Annotated[
        str | None,
        typer.Option(help="Where the data are here: a pattern with {domain}, or a YAML file with `domain: place`."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="How many documents or sequences are drawn.")] = SAMPLES,
    tolerance: Tolerance = TOLERANCE,
    json: Json = False,
) -> None:
    """Let a trainer's own sampler draw from an export, and compare with its receipt.

    Status 1: they differ. Status 2: it cannot be checked, or too little was drawn to tell."""
    from mixopt.exports.checking import check

    with err.status("drawing"):
        found = check(export, data, samples, tolerance)
    _show(found, json)


@app.command(
    epilog="Examples:\n\nmixopt audit run.jsonl --export mixture.yaml\n\n"
    "mixopt audit counts.csv study.yaml --rows totals --columns 'tokens/*'",
    rich_help_panel=STUDY,
)
def audit(
    log: Annotated[
        Path,
        typer.Argument(help="What a run drew: CSV, TSV or JSON lines; see docs/exports.md.", show_default=False),
    ],
    study: Annotated[
        Path | None,
        typer.Argument(
            help=f"The study file, whose answer says what was asked. Default: {STUDY_FILE}.",
            autocompletion=study_files,
        ),
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="The export that the run was given, whose receipt says what was asked.")
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(help="Where a domain stands in several rows: totals (so far) or steps (since the last)."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="The columns that count, with * for the domain: 'tokens/*'. Default: by their names."),
    ] = None,
    unit: Annotated[
        str | None, typer.Option(help="What they count: tokens, documents or sequences. Default: by their names.")
    ] = None,
    tolerance: Tolerance = TOLERANCE,
    json: Json = False,
) -> None:
    """Compare what a run's log says that it drew with what was asked.

    Status 1: they differ. Status 2: it cannot be compared, or too little was drawn to tell."""
    from mixopt.exports.asked import asked_by_answer, asked_by_export
    from mixopt.exports.judging import judge
    from mixopt.exports.mixtures import known_now
    from mixopt.exports.run_log import read_log
    from mixopt.settings.reading import load

    if export is not None and study is not None:
        raise ConfigError(f"{study} and --export {export} both say what was asked", hint="leave one of them out")
    changed: tuple[str, ...] = ()
    if export is not None:
        asked, changed = asked_by_export(export)
    else:
        known, _ = known_now(load(study or STUDY_FILE), needs_answer=True)
        assert known.answer is not None
        asked = asked_by_answer(known.answer)
    counted, notes = read_log(log, asked, rows, columns, unit)
    _show(judge(asked, counted, str(log), tolerance, (*changed, *notes)), json)


def _show(found: Drawn, json: bool) -> None:
    from mixopt.cli.tables.drawn import drawn_view

    print_result(found, drawn_view(found), json)
    if not json:
        for note in found.notes:
            say_note(note)
    if not found.told:
        raise typer.Exit(NOT_TOLD)
    if not found.as_asked:
        raise typer.Exit(NOT_AS_ASKED)
