"""The command that writes a study's report; mixopt/cli/main.py takes it in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mixopt.base.console import err, out
from mixopt.cli.arguments import STUDY, Json, StudyArgument, check_output
from mixopt.settings.schema import STUDY_FILE

app = typer.Typer()


@app.command(epilog="Example: mixopt report study.yaml --output report.html", rich_help_panel=STUDY)
def report(
    study: StudyArgument = STUDY_FILE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="An .html file. Default: STUDY-report.html.")
    ] = None,
    attach: Annotated[bool, typer.Option(help="Keep the page with the study in MLflow, too.")] = True,
    json: Json = False,
) -> None:
    """Write the answer and all its evidence as one HTML page, which opens anywhere; also before the study's end."""
    from contextlib import suppress
    from dataclasses import replace

    from mixopt.base.errors import ConfigError
    from mixopt.base.files import write_text
    from mixopt.report.kept import KeptReport, find_report, keep_report, stamp
    from mixopt.settings.reading import load
    from mixopt.study.inventory import pool_changes
    from mixopt.study.record import open_store, read_record
    from tracking import keys
    from tracking.errors import TrackingError

    file = load(study)
    if output is None:
        output = Path(f"{file.study}-report.html")
    check_output(output)
    report, made_from = find_report(file), stamp(file)
    record = read_record(file)  # which also says whether the study is still this file's
    for change in pool_changes(file, record):
        err.print(change, style="yellow", soft_wrap=True, markup=False)
    if report is None:
        from mixopt.report.gather import report_content
        from mixopt.report.page import render

        with err.status("fitting the losses again, drawing"):
            content = report_content(file, record)
            report = KeptReport(render(content), content.json_text(), attached=False)
    write_text(output, report.page)
    if attach and not report.attached:
        try:
            run = open_store(file).find(file.study)
            if run is not None:
                run.attach(report.page, keys.REPORT_FILE)
                report = replace(report, attached=True)
        except TrackingError as error:
            err.print(f"{error.message}; the report is at {output} alone", soft_wrap=True)
    # For the next time; where the study's folder cannot be written to, it is made again.
    with suppress(ConfigError, OSError):
        keep_report(file, report, made_from)
    if json:
        print(report.content)
    else:
        kept = f", and with the study in MLflow as {keys.REPORT_FILE}" if attach and report.attached else ""
        out.print(f"wrote {output}{kept}", soft_wrap=True)
