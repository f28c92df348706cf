"""The commands that write a trainer's configuration and read one; mixopt/cli/main.py takes them in."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from mixopt.base.console import err, out, say_note
from mixopt.cli.arguments import STUDY, Json, StudyArgument, check_output
from mixopt.cli.completion import format_names
from mixopt.settings.schema import STUDY_FILE

app = typer.Typer()

Format = Annotated[str, typer.Option("--format", "-f", help="See mixopt export --list.", autocompletion=format_names)]
Location = Annotated[
    str | None,
    typer.Option(help="What the trainer reads; {domain} in it stands for the domain's name. Default: the name."),
]
Locations = Annotated[
    Path | None,
    typer.Option(help="In place of --location a YAML file: `domain: place`, or `domain: {place: size, ...}`."),
]
Drawn = Annotated[
    str | None,
    typer.Option(help="What the weights count: documents or sequences. Default: as --list says first."),
]


@app.command(
    epilog="Examples:\n\nmixopt export study.yaml --format megatron --location '/data/{domain}_text_document'\n\n"
    "mixopt export study.yaml --format olmo-core --locations places.yaml --tokens 100B -o mixture.yaml",
    rich_help_panel=STUDY,
)
def export(
    study: StudyArgument = STUDY_FILE,
    format: Format = "yaml",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; default: standard output.")] = None,
    location: Location = None,
    locations: Locations = None,
    draws: Drawn = None,
    tokens: Annotated[
        str | None, typer.Option(help="Of the final run, such as 100B. Default: target.tokens of the study.")
    ] = None,
    max_epochs: Annotated[
        float | None,
        typer.Option(min=0, help="How often any domain may be repeated. Default: as the study says by domain, else 4."),
    ] = None,
    allow_repeats: Annotated[
        bool, typer.Option("--allow-repeats", help="Export also where domains are repeated more often than they may.")
    ] = False,
    mixture: Annotated[
        Path | None, typer.Option(help="Another mixture than the answer: a .yaml, .json or .csv that mixopt wrote.")
    ] = None,
    front: Annotated[
        int | None, typer.Option(min=1, help="Another mixture than the answer: this number of the Pareto front.")
    ] = None,
    leave_out: Annotated[
        bool, typer.Option("--leave-out", help="Leave out domains whose share the trainer's grid rounds to nothing.")
    ] = False,
    sequence_length: Annotated[
        int | None, typer.Option(min=1, help="Of the trainer's sequences, in tokens: the receipt counts in these.")
    ] = None,
    list_formats: Annotated[bool, typer.Option("--list", help="List the formats, and what weights count.")] = False,
    json: Json = False,
) -> None:
    """Write the answer as a trainer's own configuration."""
    from mixopt.base.errors import ConfigError
    from mixopt.cli.tables.export import formats, formats_table, supplies_table
    from mixopt.exports.formats import Carries, looks_like_another
    from mixopt.exports.mixtures import known_now, mixture_in_file, on_front
    from mixopt.exports.request import ExportRequest
    from mixopt.results.export import ExportResult
    from mixopt.settings.reading import load
    from mixopt.study.inventory import pool_changes
    from search.mixture import Mixture

    if list_formats:
        if json:
            print(json_format.dumps([each.plain() for each in formats()], indent=2))
        else:
            out.print(formats_table(), soft_wrap=not out.is_terminal)
        return
    if output is not None:
        check_output(output)
    file = load(study)
    request = ExportRequest.of(
        file,
        format,
        location=location,
        locations=locations,
        draws=draws,
        tokens=tokens,
        max_epochs=max_epochs,
        allow_repeats=allow_repeats,
        leave_out=leave_out,
        sequence_length=sequence_length,
    )
    if mixture is not None and front is not None:
        raise ConfigError("mixture and front both say what to export", hint="give one of them")
    known, record = known_now(file, needs_answer=mixture is None)
    answer = known.answer
    if mixture is not None:
        weights = mixture_in_file(mixture, file.domains)
    else:
        assert answer is not None
        weights = on_front(answer, front) if front is not None else Mixture.of(answer.mixture)
    supplies = request.supplies(known, weights)
    if supplies and not json:
        err.print(supplies_table(supplies))
    export = request.export(known, weights)
    notes = (*request.cautions(known, weights), *(pool_changes(file, record) if record else ()))
    for each in notes if not json else ():
        say_note(each)
    if output is not None:
        export.write(output)
        err.print(f"wrote {output}; its weights count {request.draws}", soft_wrap=True)
        if looks_like_another(request.exporter, output):
            say_note(f"{output} is called {output.suffix}, and what {format} writes is {request.exporter.suffix}")
    elif export.carries is Carries.BESIDE and not json:
        say_note(f"{format} has no room for the receipt: --output FILE writes it beside, --json prints it")
    if json:
        result = ExportResult(
            format=format,
            weights_count=request.draws,
            text=export.text,
            supplies=tuple(supplies),
            inventory=answer.inventory if answer else None,
            notes=notes,
            receipt=export.receipt,
        )
        print(result.json_text())
    elif output is None:
        print(export.text, end="")


@app.command(
    "import",
    epilog="Example: mixopt import data-path.txt study.yaml -f megatron --location '/data/{domain}_text_document'",
    rich_help_panel=STUDY,
)
def import_(
    config: Annotated[Path, typer.Argument(help="A trainer's configuration.", show_default=False)],
    study: StudyArgument = STUDY_FILE,
    format: Format = "yaml",
    location: Location = None,
    locations: Locations = None,
    draws: Drawn = None,
    json: Json = False,
) -> None:
    """Read a trainer's configuration: the shares of training tokens that it means, over the domains of a study."""
    import yaml

    from mixopt.exports import request
    from mixopt.exports.formats import exporter
    from mixopt.exports.mixtures import read_trainer_file
    from mixopt.results.export import ImportedMixture
    from mixopt.settings.reading import load

    chosen = exporter(format)
    drawn = request.choose_draws(chosen, draws)
    file = load(study)
    where = request.resolve_locations(file.domains, location, locations)
    mixture = read_trainer_file(chosen, config, file, drawn, where)
    if not chosen.by_place and (location or locations):
        err.print(f"{format} files name the domains: the places were not looked at", soft_wrap=True)
    if len(chosen.draws) > 1 and draws is None:
        others = " or ".join(each for each in chosen.draws if each != drawn)
        err.print(f"read as weights that count {drawn}; if they count {others}: --draws {others}", soft_wrap=True)
    # What `mixopt export --mixture` and `mixopt compare` read.
    meant = ImportedMixture(weights=mixture.as_dict())
    print(meant.json_text() if json else yaml.safe_dump(meant.plain(), sort_keys=False).rstrip())
