"""The command that opens a page to explore mixtures on; mixopt/cli/main.py takes it in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixopt.base.console import err
from mixopt.base.errors import ConfigError
from mixopt.cli.arguments import STUDY
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
    from mixopt.explore.subject import Subject
    from mixopt.runs.request import FitRequest

app = typer.Typer()


@app.command(
    epilog="Examples:\n\nmixopt explore study.yaml\n\n"
    "mixopt explore runs.csv --space study.yaml --metric mmlu --metric gsm8k --objective standardized\n\n"
    "mixopt explore study.yaml --port 9000     (on another machine: ssh -L 9000:127.0.0.1:9000 that-machine)",
    rich_help_panel=STUDY,
)
def explore(
    what: Annotated[
        Path | None,
        typer.Argument(
            metavar="STUDY_OR_RUNS",
            help=f"A study file, or a table of finished runs as of mixopt fit. Default: {STUDY_FILE}.",
            show_default=False,
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None, typer.Option("--metric", help="Of a table: only this metric; repeatable. Default: all.")
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            help="Of a table: mean, standardized, worst, no-worse, hinge or pareto, of the metrics; or a YAML file, "
            "such as a study's, whose section objective has weights or families."
        ),
    ] = "mean",
    maximize: Annotated[
        list[str] | None, typer.Option(help="Of a table: more of this metric is better; repeatable.")
    ] = None,
    minimize: Annotated[
        list[str] | None, typer.Option(help="Of a table: less of this metric is better; repeatable.")
    ] = None,
    space: Annotated[
        Path | None, typer.Option(help="Of a table: limits, the domains, groups and target of a study file.")
    ] = None,
    target_fidelity: Annotated[
        str | None, typer.Option(help="Of a table: predict this fidelity. Default: the dearest.")
    ] = None,
    target_params: Annotated[
        str | None, typer.Option(metavar="N", help="Of a table: parameters of the run that mixtures are for: 7B.")
    ] = None,
    target_tokens: Annotated[
        str | None, typer.Option(metavar="N", help="Of a table: training tokens of that run, such as 1T.")
    ] = None,
    surrogate: Annotated[
        list[str] | None, typer.Option(help="Of a table: only this one; repeatable. Default: as mixopt fit.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen at; others than this machine's are for all.")] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Default: 8899, or the next that is free; 0: any.")
    ] = None,
    open: Annotated[bool, typer.Option("--open", help="Open it in this machine's browser.")] = False,
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
) -> None:
    """Open a local page: move shares, and see predictions, limits, epochs and trials at once; compare, queue, export.

    It is shown to whoever has the printed address, with its token. Ctrl-C ends it.
    """
    try:
        import dash  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"mixopt explore needs {error.name}, which is not installed", hint="pip install 'mixopt[explore]'"
        ) from error
    from mixopt.runs.tables.sources import is_table

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
    if from_mlflow is not None or (what is not None and is_table(what)):
        from mixopt.runs.objective import objective_option
        from mixopt.runs.request import FitRequest
        from mixopt.settings.space import read
        from mixopt.settings.units import count_of

        kind, settings = objective_option(objective)
        request = FitRequest(
            runs=how.source(what),
            metrics=tuple(metrics or ()),
            objective=kind,
            objective_settings=settings,
            maximize=tuple(maximize or ()),
            minimize=tuple(minimize or ()),
            limits=read(space) if space else None,
            target=target_fidelity,
            goal_params=count_of("--target-params", target_params),
            goal_tokens=count_of("--target-tokens", target_tokens),
            surrogates=tuple(surrogate or ()),
        )
        subject = _of_runs(request)
    else:
        of_table = (metrics, maximize, minimize, space, target_fidelity, target_params, target_tokens, surrogate)
        if any(of_table) or objective != "mean" or how.is_said:
            raise ConfigError(
                f"{what or STUDY_FILE} is a study, which says its own metrics, objective and limits",
                hint="leave these options out, or give a table of runs",
            )
        subject = _of_study(what or STUDY_FILE)
    from mixopt.explore.server import serving
    from mixopt.explore.what_if import WhatIfs

    with err.status("looking what is possible"):
        what_ifs = WhatIfs(subject)
        what_ifs.of(next(iter(subject.mixtures.values())))
        _ = what_ifs.gain_reach
    with serving(what_ifs, host, port) as page:
        err.print("open this address; Ctrl-C ends it", soft_wrap=True)
        print(page.url, flush=True)
        if open:
            import webbrowser

            webbrowser.open(page.url)
        page.until_interrupted()


def _of_study(path: Path) -> Subject:
    from mixopt.explore.subject import of_study
    from mixopt.settings.reading import load

    file = load(path)
    with err.status("fitting the losses again"):
        return of_study(file)


def _of_runs(request: FitRequest) -> Subject:
    from mixopt.explore.subject import of_runs
    from mixopt.study.stages import Stages

    with Stages(err) as stages:
        return of_runs(
            request, lambda done, total: stages.advance(f"fit surrogates ({total} fits)", done, total, "fits")
        )
