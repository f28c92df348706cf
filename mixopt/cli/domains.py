"""The command that makes domains of a heap of documents; mixopt/cli/main.py takes it in."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mixopt.base.console import err, say_note
from mixopt.base.errors import ConfigError
from mixopt.cli.arguments import BEGIN, Json, named_path, print_result

app = typer.Typer()


@app.command(
    epilog="Examples:\n\nmixopt domains crawl/ -o pools/\n\n"
    "mixopt domains 's3://bucket/*.parquet' --text content --count 30 --drop-duplicates -o pools/\n\n"
    "mixopt domains study.yaml --split web=6 --merge news,blogs=press -o finer/",
    rich_help_panel=BEGIN,
)
def domains(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA...",
            help="Files, folders, globs, URLs or hub names; or a study file, whose pools are refined.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="PATH", parser=named_path, help="A new folder: pools, study file, page."
        ),
    ] = Path("pools"),
    split: Annotated[
        list[str] | None,
        typer.Option(metavar="DOMAIN=PARTS", help="Of a study: how many parts a domain is to have; repeatable."),
    ] = None,
    merge: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD,OLD=NEW", help="Of a study: domains that are to be one; repeatable."),
    ] = None,
    count: Annotated[int | None, typer.Option(help="How many domains; default: 20, fewer of a small heap.")] = None,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="The field of records that holds the text. Default: text, or what it is called in the first file.",
        ),
    ] = None,
    embedding: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER|STUDY",
            help="A sentence-transformers model on this disk; or a study file: the hidden states of its proxy, trained "
            "once more. Default: n-grams, learned here.",
        ),
    ] = None,
    drop_duplicates: Annotated[
        bool, typer.Option("--drop-duplicates", help="Leave out what is there already, or nearly.")
    ] = False,
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad", help="Leave out bad records, links to nothing and what of a file cannot be read, and say so."
        ),
    ] = False,
    sample: Annotated[int, typer.Option(help="Documents to learn from, at most.")] = 100_000,
    fine: Annotated[int, typer.Option(help="Fine clusters that are merged into domains, at most.")] = 1000,
    seed: Annotated[int, typer.Option(help="Another one gives other domains; 0 to 4294967295.")] = 0,
    workers: Annotated[int | None, typer.Option(help="Processes; default: one a core.")] = None,
    json: Json = False,
) -> None:
    """Sort documents into domains worth mixing: pools, each described, and a study file that uses them.

    Of a study file: split some of its domains or merge them, for a study that goes on from its runs.
    """
    study = _study_in(data, split or merge, count is not None, text is not None or drop_duplicates or skip_bad)

    from mixopt.cli.tables.domains import (
        domains_table,
        fewer_note,
        refined_view,
        repeats_note,
        skipped_note,
        unread_note,
    )
    from mixopt.domains.finding import find
    from proxies.domains.finding import Search

    search = partial(
        Search,
        seed=seed,
        embedding=embedding,
        sample=sample,
        fine=fine,
        drop_duplicates=drop_duplicates,
        workers=workers,
        skip_bad=skip_bad,
    )
    if study is not None:
        from mixopt.domains.refining import refine, refinement
        from mixopt.settings.reading import load

        refined = refine(load(study), refinement(split or [], merge or []), output, search, err)
        print_result(refined, refined_view(refined), json)
        return
    found = find(data, output, search(count), text, err)
    print_result(found, domains_table(found), json)
    notes = [
        unread_note(found),
        skipped_note(found),
        fewer_note(found, count, fine),
        repeats_note(found),
    ]
    for note in notes:
        if note is not None:
            say_note(note)


def _study_in(data: list[str], asked: object, counts: bool, changes_text: bool) -> Path | None:
    """The study file that is to be refined; None where documents are to be sorted.

    Raises:
        ConfigError: options of the one were given with the other.
    """
    is_study = len(data) == 1 and data[0].endswith((".yaml", ".yml")) and (bool(asked) or Path(data[0]).is_file())
    if not is_study:
        if asked:
            raise ConfigError("--split and --merge refine the pools of a study", hint="name a study file alone")
        return None
    if not asked:
        raise ConfigError(
            f"{data[0]} is a study file, and nothing says what is to become of its domains",
            hint="write --split web=6 or --merge news,blogs=press; to sort its text anew, name the text",
        )
    if counts or changes_text:
        raise ConfigError(
            "--count, --text, --drop-duplicates and --skip-bad are for documents, not for a study",
            hint="say how many parts in --split; the study file says the field",
        )
    return Path(data[0])
