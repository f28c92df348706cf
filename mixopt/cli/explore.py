"""The command that opens a page to explore mixtures on; mixopt/cli/main.py takes it in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixopt.base.console import err
from mixopt.base.errors import ConfigError
from mixopt.cli.arguments import STUDY
from mixopt.settings.schema import STUDY_FILE

if TYPE_CHECKING:
    from mixopt.explore.subject import Subject

app = typer.Typer()

TABLES = (".csv", ".parquet")


@app.command(
    epilog="Examples:\n\nmixopt explore study.yaml\n\n"
    "mixopt explore runs.csv --space study.yaml --metric mmlu --metric gsm8k --objective standardized\n\n"
    "mixopt explore study.yaml --port 9000     (on another machine: ssh -L 9000:127.0.0.1:9000 that-machine)",
    rich_help_panel=STUDY,
)
def explore(
    what: Annotated[
        Path,
        typer.Argument(metavar="STUDY_OR_RUNS", help="A study file, or a table of finished runs as of mixopt fit."),
    ] = STUDY_FILE,
    metrics: Annotated[
        list[str] | None, typer.Option("--metric", help="Of a table: only this metric; repeatable. Default: all.")
    ] = None,
    objective: Annotated[
        str, typer.Option(help="Of a table: mean, standardized, worst, no-worse, hinge or pareto, of the metrics.")
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
    is_table = what.suffix in TABLES
    of_table = (metrics, maximize, minimize, space, target_fidelity, surrogate)
    if not is_table and (any(of_table) or objective != "mean"):
        raise ConfigError(
            f"{what} is a study, which says its own metrics, objective and limits",
            hint="leave these options out, or give a table of runs",
        )
    if is_table:
        subject = _of_runs(what, metrics, objective, maximize, minimize, space, target_fidelity, surrogate)
    else:
        subject = _of_study(what)
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


def _of_runs(
    runs: Path,
    metrics: list[str] | None,
    objective: str,
    maximize: list[str] | None,
    minimize: list[str] | None,
    space: Path | None,
    target: str | None,
    surrogate: list[str] | None,
) -> Subject:
    from mixopt.explore.subject import of_runs
    from mixopt.runs.request import FitRequest
    from mixopt.settings.space import read
    from mixopt.study.stages import Stages

    request = FitRequest(
        runs=runs,
        metrics=tuple(metrics or ()),
        objective=objective,
        maximize=tuple(maximize or ()),
        minimize=tuple(minimize or ()),
        limits=read(space) if space else None,
        target=target,
        surrogates=tuple(surrogate or ()),
    )
    with Stages(err) as stages:
        return of_runs(
            request, lambda done, total: stages.advance(f"fit surrogates ({total} fits)", done, total, "fits")
        )
