"""The commands that write a trainer's configuration and read one; mixopt/cli.py takes them in."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from mixopt.terminal import STUDY, STUDY_FILE, Json, StudyArgument, err, print_answer

app = typer.Typer()

Format = Annotated[str, typer.Option("--format", "-f", help="See mixopt export --list.")]
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
    typer.Option(help="What the trainer draws: documents or sequences. Default: as --list says first."),
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
        float | None, typer.Option(min=0, help="How often a domain may be repeated. Default: target.max_epochs.")
    ] = None,
    mixture: Annotated[
        Path | None, typer.Option(help="Another mixture than the answer: a .yaml, .json or .csv that mixopt wrote.")
    ] = None,
    list_formats: Annotated[bool, typer.Option("--list", help="List the formats, and what weights count.")] = False,
    json: Json = False,
) -> None:
    """Write the answer as a trainer's own configuration."""
    from mixopt import exporting

    if list_formats:
        print_answer(exporting.formats(), exporting.formats_table(), json)
        return
    from mixopt.answer import answer_so_far
    from mixopt.config import load
    from mixopt.files import write_text
    from mixopt.recording import recorded

    file = load(study)
    order = exporting.Order.of(file, format, location, locations, draws, tokens, max_epochs)
    document = answer_so_far(file, recorded(file))
    weights = exporting.mixture_of(document, mixture)
    if (epochs := order.epochs(document, weights)) is not None:
        err.print(epochs)
    text = order.text(document, weights)
    if json:
        text = json_format.dumps({"format": format, "weights_count": order.draws, "text": text}, indent=2) + "\n"
    if output is None:
        print(text, end="")
    else:
        write_text(output, text)
        err.print(f"wrote {output}; its weights count {order.draws}", soft_wrap=True)


@app.command(
    "import",
    epilog="Example: mixopt import args.txt study.yaml --format megatron --location '/data/{domain}_text_document'",
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

    from mixopt import exporting
    from mixopt.config import load
    from mixopt.exporters import exporter

    chosen = exporter(format)
    drawn = exporting.drawn(chosen, draws)
    file = load(study)
    places = exporting.places(file.domains, location, locations)
    mixture = exporting.imported(chosen, config, file, drawn, places)
    if not chosen.by_place and (location or locations):
        err.print(f"{format} files name the domains: the places were not looked at", soft_wrap=True)
    if len(chosen.draws) > 1:
        others = " or ".join(each for each in chosen.draws if each != drawn)
        err.print(f"read as weights that count {drawn}; if they count {others}: --draws {others}", soft_wrap=True)
    document = {"weights_mean": "shares of training tokens", "weights": mixture.as_dict()}
    # What `mixopt export --mixture` and `mixopt compare` read.
    print(json_format.dumps(document, indent=2) if json else yaml.safe_dump(document, sort_keys=False).rstrip())
