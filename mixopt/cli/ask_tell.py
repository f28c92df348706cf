"""The commands of studies whose trials are trained by a trainer of one's own; mixopt/cli/main.py takes them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from mixopt.base.console import err
from mixopt.base.errors import ConfigError
from mixopt.cli.arguments import STUDY, Json, StudyArgument, check_output, print_result
from mixopt.cli.completion import format_names, trial_ids
from mixopt.cli.export import Drawn, Location, Locations
from mixopt.cli.table_options import (
    DecimalSign,
    ExperimentName,
    FromMlflow,
    How,
    Joined,
    KeepUnfinished,
    MappingFile,
    MetricColumns,
    Normalise,
    RoleColumns,
    TextEncoding,
    Weights,
    WeightUnits,
)
from mixopt.settings.schema import STUDY_FILE

if TYPE_CHECKING:
    from mixopt.exports.request import ExportRequest
    from mixopt.results.turns import AskedTrial
    from mixopt.runs.tables.numbers import Decimal
    from mixopt.settings.schema import StudyFile
    from mixopt.workers.foreign import Order

app = typer.Typer()


@app.command(
    epilog="Examples:\n\nmixopt ask study.yaml -n 8 --json\n\n"
    "mixopt ask study.yaml -n 8 -f megatron --location '/data/{domain}_text_document' --output trials/",
    rich_help_panel=STUDY,
)
def ask(
    study: StudyArgument = STUDY_FILE,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=10_000, help="How many trials.")] = 1,
    client: Annotated[
        str | None,
        typer.Option(
            help="Who trains them: asked again, it gets what it owes. A name for each of several workers. Default: "
            "user@machine."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder: write TRIAL.json, or a trainer's file, for each.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            help="With --output: a trainer's own. See mixopt export --list.",
            autocompletion=format_names,
        ),
    ] = None,
    location: Location = None,
    locations: Locations = None,
    draws: Drawn = None,
    again: Annotated[
        str | None,
        typer.Option(metavar="TRIAL", help="Give this one, which failed, once more.", autocompletion=trial_ids),
    ] = None,
    json: Json = False,
) -> None:
    """Ask for mixtures to train with a trainer of your own (executor.kind: external); tell their losses then."""
    from mixopt.cli.tables.turns import asked_table
    from mixopt.settings.reading import load
    from mixopt.turn import ask as take
    from mixopt.turn import ask_again as take_again
    from mixopt.turn import this_client

    if again is not None and count > 1:
        raise ConfigError(f"--again gives one trial, and --count {count} asks for several", hint="leave --count out")
    if output is not None:
        check_output(output, folder=True)  # a file for each trial
    file = load(study)
    if format is None and (location or locations or draws):
        raise ConfigError("--location, --locations and --draws are of a trainer's format", hint="name it: --format")
    if format is not None and output is None:
        raise ConfigError("--format writes a file for each trial", hint="say where: --output FOLDER")
    request = None
    if format is not None:
        from mixopt.exports.mixtures import Known
        from mixopt.exports.request import ExportRequest

        request = ExportRequest.of(
            file,
            format,
            location=location,
            locations=locations,
            draws=draws,
            allow_repeats=True,
            leave_out=True,
        )
        # Trials that are given are open: before that, whatever would leave them without their files.
        request.require_lengths(Known.before(file))
    if again is not None:
        asked = take_again(file, again, client or this_client(), err)
    else:
        asked = take(file, count, client or this_client(), err)
    print_result(asked, asked_table(asked), json)
    written = [] if output is None else [_write(trial, output, file, request) for trial in asked.trials]
    if written:
        err.print(f"wrote {', '.join(str(path) for path in written)}", soft_wrap=True)


def _write(trial: AskedTrial, folder: Path, file: StudyFile, request: ExportRequest | None) -> Path:
    """A file about a trial, for its trainer: as JSON, or in the trainer's own format."""
    from mixopt.base.files import write_text
    from mixopt.exports.mixtures import Known
    from search.mixture import Mixture

    folder.mkdir(parents=True, exist_ok=True)
    if request is None:
        path = folder / f"{trial.trial}.json"
        write_text(path, f"{trial.json_text()}\n")
    else:
        path = folder / f"{trial.trial}{request.exporter.suffix}"
        # A design may hold shares that are less than one document of so short a run.
        replace(request, tokens=trial.tokens).export(Known.before(file), Mixture.of(trial.weights)).write(path)
    return path


@app.command(
    epilog="Examples:\n\nmixopt attach study.yaml runs.csv\n\nmixopt attach study.yaml wandb.csv --proxy small",
    rich_help_panel=STUDY,
)
def attach(
    study: Annotated[Path, typer.Argument(help="The study file.", show_default=False)],
    runs: Annotated[Path | None, typer.Argument(help="A table of runs, as for mixopt fit.", show_default=False)] = None,
    proxy: Annotated[str | None, typer.Option(help="Whose runs they are. Default: the last of the study.")] = None,
    weights: Weights = None,
    metric_columns: MetricColumns = None,
    column: RoleColumns = None,
    mapping: MappingFile = None,
    join: Joined = None,
    units: WeightUnits = None,
    normalise: Normalise = False,
    keep_unfinished: KeepUnfinished = False,
    decimal: DecimalSign = None,
    encoding: TextEncoding = None,
    from_mlflow: FromMlflow = None,
    experiment: ExperimentName = None,
    json: Json = False,
) -> None:
    """Take runs that your trainer has trained before as trials of the study."""
    from mixopt.cli.tables.turns import attached_table
    from mixopt.settings.reading import load
    from mixopt.turn import attach as take

    how = How(
        weights=weights,
        metric_columns=metric_columns,
        column=column,
        mapping=mapping,
        join=join,
        units=units,
        normalise=normalise,
        keep_unfinished=keep_unfinished,
        decimal=decimal,
        encoding=encoding,
        from_mlflow=from_mlflow,
        experiment=experiment,
    )
    attached = take(load(study), how.source(runs), proxy, err)
    print_result(attached, attached_table(attached), json)


@app.command(
    epilog="Examples:\n\nmixopt tell study.yaml 3f0c1d2e4a5b --losses losses.json\n\n"
    "mixopt tell study.yaml 3f0c1d2e4a5b --loss web=3.1 --loss code=1.2\n\n"
    "mixopt tell study.yaml --table runs.csv     (an export of W&B, or any table that names trials)",
    rich_help_panel=STUDY,
)
def tell(
    study: StudyArgument = STUDY_FILE,
    trial: Annotated[
        str | None, typer.Argument(help="Its id, as mixopt ask gave it.", autocompletion=trial_ids)
    ] = None,
    losses: Annotated[Path | None, typer.Option(help='A JSON file: {"web": 3.1, "code": 1.2}.')] = None,
    loss: Annotated[list[str] | None, typer.Option(metavar="METRIC=NUMBER", help="A loss; may be repeated.")] = None,
    failed: Annotated[str | None, typer.Option(metavar="REASON", help="It has no losses, and why.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="How long it was trained.")] = None,
    table: Annotated[
        Path | None, typer.Option(help="Many trials: a .csv that names them, as an export of W&B does.")
    ] = None,
    from_mlflow: Annotated[
        str | None, typer.Option(metavar="URI", help="Many trials: the runs of an MLflow store, with --experiment.")
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="With --from-mlflow: its experiment.")] = None,
    decimal: DecimalSign = None,
    encoding: TextEncoding = None,
    json: Json = False,
) -> None:
    """Tell what became of trials that mixopt ask gave."""
    from mixopt.cli.tables.turns import told_table
    from mixopt.runs.tables.reading import Reading
    from mixopt.runs.tables.sheet import Experiment
    from mixopt.settings.reading import load
    from mixopt.study import telling
    from mixopt.turn import tell as take

    if trial is None and telling.is_trial_id(str(study)) and not study.exists():
        study, trial = STUDY_FILE, str(study)  # `mixopt tell TRIAL`: of the study that is here
    ways = {
        "--losses": losses,
        "--loss": loss,
        "--failed": failed,
        "--table": table,
        "--from-mlflow": from_mlflow,
    }
    given = [way for way, value in ways.items() if value]
    if len(given) != 1:
        said = f"{' and '.join(given)} both say" if given else "nothing says"
        raise ConfigError(f"{said} what became of the trial", hint=f"give one of {', '.join(ways)}")
    many = given[0] in ("--table", "--from-mlflow")
    if many == (trial is not None):
        raise ConfigError(
            f"{given[0]} tells of many trials, and {trial} is one" if many else "which trial is it?",
            hint="leave the id out" if many else f"mixopt tell {study} TRIAL {given[0]} ...",
        )
    if many and seconds is not None:
        raise ConfigError(f"--seconds is of one trial, and {given[0]} tells of many", hint="put a column `seconds` in")
    if (from_mlflow is None) != (experiment is None):
        raise ConfigError("--from-mlflow and --experiment go together", hint="give both")
    if table is None and (decimal or encoding):
        raise ConfigError("--decimal and --encoding say how a table is read", hint="name it: --table runs.csv")
    reading = Reading(decimal=cast("Decimal | None", decimal), encoding=encoding)  # which looks at it
    file = load(study)
    one: object = None
    if losses is not None:
        one = telling.told_in_file(losses)
    elif loss:
        one = {"losses": telling.told_as_pairs(loss)}
    elif failed:
        one = {"failed": failed}
    if isinstance(one, dict) and seconds is not None:
        one = {**one, "seconds": seconds} if {"losses", "failed"} & one.keys() else {"losses": one, "seconds": seconds}

    def hear(orders: Mapping[str, Order]) -> telling.Heard:
        if table is not None:
            return telling.told_in_table(table, orders, reading)
        if from_mlflow is not None and experiment is not None:
            return telling.told_in_table(Experiment(from_mlflow, experiment), orders)
        return telling.Heard({trial or "": one})

    told = take(file, hear, err)
    print_result(told, told_table(told), json)
