"""The command that makes domains of a heap of documents; mixopt/cli/main.py takes it in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mixopt.base.console import err, say_note
from mixopt.cli.arguments import BEGIN, Json, print_result

app = typer.Typer()


@app.command(
    epilog="Examples:\n\nmixopt domains crawl/ -o pools/\n\n"
    "mixopt domains 's3://bucket/*.parquet' --text content --count 30 --drop-duplicates -o pools/",
    rich_help_panel=BEGIN,
)
def domains(
    data: Annotated[
        list[str],
        typer.Argument(metavar="DATA...", help="Files, folders, globs, URLs or hub names.", show_default=False),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder: pools, study file, page.")] = Path(
        "pools"
    ),
    count: Annotated[int, typer.Option(help="How many domains.")] = 20,
    text: Annotated[str | None, typer.Option(metavar="FIELD", help="The field of records that holds the text.")] = None,
    embedding: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Of a sentence-transformers model on this disk. Default: n-grams, learned here."
        ),
    ] = None,
    drop_duplicates: Annotated[
        bool, typer.Option("--drop-duplicates", help="Leave out what is there already, or nearly.")
    ] = False,
    sample: Annotated[int, typer.Option(help="Documents to learn from, at most.")] = 100_000,
    fine: Annotated[int, typer.Option(help="Fine clusters that are merged into domains, at most.")] = 1000,
    seed: Annotated[int, typer.Option(help="Another one gives other domains.")] = 0,
    workers: Annotated[int | None, typer.Option(help="Processes; default: one a core.")] = None,
    json: Json = False,
) -> None:
    """Sort documents into domains worth mixing: pools, each described, and a study file that uses them."""
    from mixopt.cli.tables.domains import domains_table, repeats_note
    from mixopt.domains.finding import find
    from proxies.domains.finding import Search

    search = Search(count, seed, embedding, sample, fine, drop_duplicates, workers)
    found = find(data, output, search, text, err)
    print_result(found, domains_table(found), json)
    if (note := repeats_note(found)) is not None:
        say_note(note)
