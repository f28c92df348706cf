"""The commands of whoever keeps a machine or a service in order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mixopt.base.console import err, out
from mixopt.cli.arguments import KEEPING, Address, Json, print_result
from mixopt.results.doctor import Finding
from mixopt.settings.environment import DIRECTORY_VARIABLE, studies_folder

app = typer.Typer()

NOT_HEALTHY = 1  # exit status


@app.command(
    epilog="Examples:\n\nmixopt doctor\n\nmixopt doctor study.yaml --address http://head:8265", rich_help_panel=KEEPING
)
def doctor(
    study: Annotated[Path | None, typer.Argument(help="A study, whose folder and store are looked at too.")] = None,
    address: Address = None,
    json: Json = False,
) -> None:
    """Look at what studies need: this machine, the store, a study's folder, the cluster.

    Exit status 1 where something is bad.
    """
    from mixopt.cli.tables.keeping import finding_line, verdict_line
    from mixopt.doctor import diagnosis, findings
    from mixopt.settings.reading import load

    file, seen = None if study is None else load(study), list[Finding]()
    wrap = not out.is_terminal
    with err.status("looking") as asking:
        for each in findings(file, address, begins=lambda what: asking.update(f"looking at {what}")):
            seen.append(each)
            if not json:
                asking.stop()  # it would be in the line
                out.print(finding_line(each), soft_wrap=wrap)
                asking.start()
    found = diagnosis(seen)
    print_result(found, verdict_line(found), json)
    if not found.healthy:
        raise typer.Exit(NOT_HEALTHY)


@app.command(epilog="Examples:\n\nmixopt prune\n\nmixopt prune /shared/studies --yes", rich_help_panel=KEEPING)
def prune(
    directory: Annotated[
        Path | None, typer.Argument(help=f"Where studies are kept. Default: ${DIRECTORY_VARIABLE}, else .mixopt.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without, it is only shown.")] = False,
    json: Json = False,
) -> None:
    """Show what takes room and is needed no more, and why it is safe to remove."""
    from mixopt.cli.tables.keeping import pruned_table
    from mixopt.prune import prune

    folder = directory or studies_folder()
    found = prune(folder, remove=yes)
    print_result(found, pruned_table(found), json)
