"""The commands to begin with."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from mixopt.base.console import err, out
from mixopt.base.errors import ConfigError
from mixopt.cli.arguments import (
    BEGIN,
    Json,
    StudyArgument,
    headed,
    print_result,
)
from mixopt.cli.export import export
from mixopt.cli.schemas import NAMES, STUDY_SCHEMA, json_schema
from mixopt.cli.study import load_study, run_study
from mixopt.settings.schema import STUDY_FILE

app = typer.Typer()


@app.command(epilog="Example: mixopt init data/ --output study.yaml", rich_help_panel=BEGIN)
def init(
    data: Annotated[Path | None, typer.Argument(help="A folder: each folder or file in it becomes a domain.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the study file.")] = STUDY_FILE,
) -> None:
    """Write a commented study file, from a folder of data if one is given."""
    from mixopt.base.files import write_text
    from mixopt.settings.new_study import study_text

    if output.exists():
        raise ConfigError(f"{output} exists", hint="choose another name with --output, or remove it")
    write_text(output, study_text(data, output))
    out.print(
        f"wrote {output}; next: mixopt validate {output}, mixopt plan {output}, mixopt run {output}", soft_wrap=True
    )


@app.command(epilog="Example: mixopt validate study.yaml", rich_help_panel=BEGIN)
def validate(study: StudyArgument = STUDY_FILE, json: Json = False) -> None:
    """Check a study file, that its text can be read, and that its limits leave a mixture."""
    from mixopt.results.validity import Validity
    from mixopt.study.corpus import check_sources, find_corpus
    from mixopt.study.planning import check_settings, make_plan

    file = load_study(study)
    check_settings(file)
    foreign = file.executor.is_foreign
    corpus = None
    if not foreign:
        check_sources(file)
        corpus = find_corpus(file)
    if corpus is not None or foreign:
        make_plan(file, corpus)
    checked = "and its corpus" if corpus else "(the limits are checked against token counts after mixopt prepare)"
    if foreign:
        checked = "(its text and its proxies are your trainer's)"
    print_result(Validity(study=file.study, corpus_checked=corpus is not None), f"{study} is valid {checked}", json)


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

    with err.status("gathering text from this Python installation"):
        study = write_demo(directory)
    err.print(f"study file: {study}")
    run_study(load_study(study), retry_failed=False, json=json)
    if not json:
        out.print()
        formats = f"mixopt export {study} --list shows the formats"
        out.print(headed("Export", f"as a trainer's own file ({formats}):"), soft_wrap=True)
        export(study, format="yaml")
        export(study, format="megatron", location="/data/{domain}_text_document")
