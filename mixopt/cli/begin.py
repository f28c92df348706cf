"""The commands to begin with."""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mixopt.base.console import err, out, say_note
from mixopt.base.errors import ConfigError
from mixopt.cli.arguments import (
    BEGIN,
    Json,
    StudyArgument,
    check_output,
    headed,
    print_result,
)
from mixopt.cli.cluster import the_cluster
from mixopt.cli.export import export
from mixopt.cli.schemas import NAMES, STUDY_SCHEMA, json_schema
from mixopt.cli.study import load_study, run_study
from mixopt.settings.schema import STUDY_FILE

app = typer.Typer()


@app.command(
    epilog="Examples:\n\nmixopt init data/ --output study.yaml     (asks, in a terminal)\n\n"
    "mixopt init data/ --for pretraining --target-params 7B --target-tokens 100B --budget 2h",
    rich_help_panel=BEGIN,
)
def init(
    data: Annotated[Path | None, typer.Argument(help="A folder: each folder or file in it becomes a domain.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the study file.")] = STUDY_FILE,
    purpose: Annotated[
        Literal["pretraining", "continued", "fine-tuning"] | None,
        typer.Option("--for", help="What the mixture is for."),
    ] = None,
    target_params: Annotated[
        str | None, typer.Option(metavar="COUNT", help="Parameters of the final run, such as 7B.")
    ] = None,
    target_tokens: Annotated[
        str | None, typer.Option(metavar="COUNT", help="Training tokens of the final run, such as 100B.")
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT",
            help="What counts: a domain, or a file to judge by, each perhaps with =WEIGHT; or worst_case, no_worse, "
            "hinge, pareto; repeatable. Default: all domains alike.",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="What the study may take: 2h here, 1e18 FLOPs or 20gpuh. Its size is chosen by it."),
    ] = None,
    gpu: Annotated[
        str | None, typer.Option(metavar="NAME", help="The GPU that it will run on, where that is not here: h100.")
    ] = None,
    probe: Annotated[bool, typer.Option(help="Train a proxy for a moment, to size the study by its speed.")] = True,
) -> None:
    """Write a commented study file, from a folder of data if one is given; asks what it is for, or is told."""
    from mixopt.base.files import write_text
    from mixopt.settings.new_study import Wanted
    from mixopt.settings.sizing import parse_budget
    from mixopt.settings.units import count_of
    from mixopt.study.first import first_study

    if output.exists():
        raise ConfigError(f"{output} exists", hint="choose another name with --output, or remove it")
    check_output(output)
    wanted = Wanted(
        purpose,
        count_of("--target-params", target_params),
        count_of("--target-tokens", target_tokens),
        tuple(part.strip() for given in objective or () for part in given.split(",") if part.strip()),
    )
    spending = None if budget is None else parse_budget(budget)
    if wanted == Wanted() and spending is None and gpu is None and sys.stdin.isatty() and err.is_terminal:
        from mixopt.cli.questions import ask_for_study

        wanted, spending = ask_for_study(data, output)
    with err.status("looking at the text") as status:
        first = first_study(data, output, wanted, spending, gpu, probe, status.update)
    write_text(output, first.text)
    for each in first.notes:
        say_note(each)
    out.print(
        f"wrote {output}; next: mixopt validate {output}, mixopt plan {output}, mixopt run {output}", soft_wrap=True
    )


@app.command(
    epilog="Examples:\n\nmixopt validate study.yaml\n\n"
    "mixopt validate study.yaml --address http://head:8265     (to be submitted there)",
    rich_help_panel=BEGIN,
)
def validate(
    study: StudyArgument = STUDY_FILE,
    address: Annotated[
        str | None, typer.Option(help="Check what mixopt submit would, at this cluster's head: http://head:8265.")
    ] = None,
    json: Json = False,
) -> None:
    """Check a study file, and that what it names is there: text, tokenizer, folders, GPUs, MLflow. Changes nothing."""
    from mixopt.results.validity import Validity
    from mixopt.study.checking import check_study, known_later
    from mixopt.study.corpus import find_corpus
    from mixopt.study.planning import make_plan

    file = load_study(study)
    corpus, notes, foreign = None, known_later(file), file.executor.is_foreign
    if address is not None:
        cluster = the_cluster(address)
        cluster.check(file)
        notes = (f"{cluster.head.address} has {cluster.room}", *notes)
    else:
        check_study(file)
        corpus = None if foreign else find_corpus(file)
        if corpus is not None or foreign:
            make_plan(file, corpus)
    checked = "its limits are checked against token counts after mixopt prepare"
    if corpus:
        checked = "its text is prepared, which mixopt run compares with its digests"
    elif foreign:
        checked = "its text and its proxies are your trainer's"
    found = Validity(study=file.study, corpus_checked=corpus is not None, notes=notes)
    print_result(found, f"{study} is valid; {checked}", json)
    for note in notes if not json else ():
        say_note(note)


@app.command(
    epilog="Examples:\n\nmixopt schema > study.schema.json     (for editors)\n\n"
    "mixopt schema answer     (for programs)",
    rich_help_panel=BEGIN,
)
def schema(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"Of what: {', '.join(NAMES)}.")] = STUDY_SCHEMA,
) -> None:
    """Print the JSON Schema of study files, or of what a command prints with --json."""
    print(json_format.dumps(json_schema(name), indent=2))


@app.command(epilog="Example: mixopt demo --directory demo", rich_help_panel=BEGIN)
def demo(
    directory: Annotated[Path, typer.Option(help="Where to put text, study file and results.")] = Path("demo"),
    json: Json = False,
) -> None:
    """Run a whole study, on text that this Python installation carries, in a few minutes."""
    from mixopt.settings.demo import write_demo

    check_output(directory, folder=True, option="--directory")
    with err.status("gathering text from this Python installation"):
        study = write_demo(directory)
    err.print(f"study file: {study}")
    run_study(load_study(study), retry_failed=False, json=json)
    if not json:
        out.print()
        formats = f"mixopt export {study} --list shows the formats"
        out.print(headed("Export", f"as a trainer's own file ({formats}):"), soft_wrap=True)
        export(study, format="megatron", location="/data/{domain}_text_document")
