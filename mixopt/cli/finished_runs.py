"""The commands on a table of finished runs."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from mixopt.base.console import err
from mixopt.cli.arguments import RUNS, Json, check_output, print_result

if TYPE_CHECKING:
    from mixopt.study.stages import Stages

app = typer.Typer()

# Exit status where a control of a backtest finds a leak.
LEAKED = 1

# Of the commands that read a table of runs.
RunsArgument = Annotated[
    Path, typer.Argument(help="A table of finished runs, .csv or .parquet: see docs/run-tables.md.")
]


Metrics = Annotated[list[str] | None, typer.Option("--metric", help="Only this metric; repeatable. Default: all.")]


ObjectiveKind = Annotated[
    str, typer.Option(help="mean, standardized, worst, no-worse, hinge or pareto, of the metrics.")
]


Maximize = Annotated[list[str] | None, typer.Option(help="More of this metric is better; repeatable.")]


Minimize = Annotated[list[str] | None, typer.Option(help="Less of this metric is better; repeatable.")]


@app.command(
    epilog="Examples:\n\n"
    "mixopt fit runs.csv     (all metrics, the default surrogate and the few that it is compared with)\n\n"
    "mixopt fit runs.csv --metric mmlu --metric gsm8k --objective standardized --space study.yaml\n\n"
    "mixopt fit small.csv --holdout large.csv --json     (how well do small runs rank large ones?)\n\n"
    "mixopt fit runs.csv --objective pareto --metric web_loss --metric code_loss\n\n"
    "mixopt fit old.csv --space new.yaml --split web=web_clean,web_rest     (domains have changed since)\n\n"
    "mixopt fit runs.csv --target-params 7B --target-tokens 1T     (for a run larger than all of these)",
    rich_help_panel=RUNS,
)
def fit(
    runs: RunsArgument,
    metrics: Metrics = None,
    objective: ObjectiveKind = "mean",
    maximize: Maximize = None,
    minimize: Minimize = None,
    space: Annotated[Path | None, typer.Option(help="Limits: the domains, groups and target of a study file.")] = None,
    target_fidelity: Annotated[
        str | None, typer.Option(help="The fidelity, of either table, that the mixture is for. Default: the dearest.")
    ] = None,
    target_params: Annotated[
        str | None, typer.Option(metavar="N", help="Parameters of the run that the mixture is for, such as 7B.")
    ] = None,
    target_tokens: Annotated[
        str | None, typer.Option(metavar="N", help="Training tokens of the run that the mixture is for, such as 1T.")
    ] = None,
    surrogate: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this one; repeatable, the first gives the mixture. Default: blend, and log_linear, lightgbm and "
            "effective_data to compare; scaling_law where a scale that was never trained is asked for."
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Compare with every surrogate.")] = False,
    holdout: Annotated[Path | None, typer.Option(help="A table of further runs, to be predicted.")] = None,
    renamed: Annotated[
        list[str] | None, typer.Option(metavar="OLD=NEW", help="A domain has another name in --space; repeatable.")
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(metavar="OLD=PART,PART", help="A domain is several in --space; repeatable.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder for plots and mixture. Default: RUNS-fit.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Every random choice follows from it.")] = 0,
    json: Json = False,
) -> None:
    """Fit surrogates to finished runs, say how far they can be trusted, and recommend a mixture."""
    from mixopt.cli.tables.fit import first_answer_line, fit_view
    from mixopt.runs.domains import changes
    from mixopt.runs.fit import fit, save
    from mixopt.runs.request import FitRequest
    from mixopt.settings.space import read
    from mixopt.settings.units import count_of

    folder = check_output(output or Path(f"{runs.stem}-fit"), folder=True)
    request = FitRequest(
        runs=runs,
        holdout=holdout,
        metrics=tuple(metrics or ()),
        objective=objective,
        maximize=tuple(maximize or ()),
        minimize=tuple(minimize or ()),
        limits=read(space) if space else None,
        target=target_fidelity,
        goal_params=count_of("--target-params", target_params),
        goal_tokens=count_of("--target-tokens", target_tokens),
        surrogates=tuple(surrogate or ()),
        every=every,
        changes=changes(renamed or (), split or ()),
        seed=seed,
    )
    with _stages(json) as stages:
        found = fit(
            request,
            lambda done, total: stages.advance(f"fit surrogates ({total} fits)", done, total, "fits"),
            None if json else lambda first: stages.say(first_answer_line(first)),
        )
    found = save(found, folder)
    print_result(found, fit_view(found), json)


@app.command(
    epilog="Examples:\n\n"
    "mixopt backtest runs.csv     (the default surrogate and three others, on 16, 32, 64, ... known mixtures)\n\n"
    "mixopt backtest runs.csv --metric loss --runs 32 --runs 128 --seeds 10\n\n"
    "mixopt backtest spring.csv autumn.csv --all --strategy bayes --strategy regmix --json",
    rich_help_panel=RUNS,
)
def backtest(
    tables: Annotated[
        list[Path], typer.Argument(metavar="TABLES...", help="Tables of finished runs, each judged by itself.")
    ],
    surrogate: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this one; repeatable, the first is the one to beat. Default: blend, log_linear, lightgbm and "
            "effective_data."
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Compare every surrogate.")] = False,
    known: Annotated[
        list[int] | None,
        typer.Option("--runs", help="Mixtures that are known; repeatable. Default: 16, 32, 64, ... while 20 are left."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Random subsets of each size.")] = 5,
    metrics: Metrics = None,
    objective: ObjectiveKind = "mean",
    maximize: Maximize = None,
    minimize: Minimize = None,
    space: Annotated[
        Path | None, typer.Option(help="A study file, whose tokens say which mixture is proportional.")
    ] = None,
    target_fidelity: Annotated[str | None, typer.Option(help="Predict this fidelity. Default: the dearest.")] = None,
    strategy: Annotated[
        list[str] | None, typer.Option(help="Replay this one, too, beside random; repeatable. Default: none.")
    ] = None,
    replays: Annotated[int, typer.Option(min=1, help="Replays of each strategy.")] = 20,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder for plots. Default: FIRST-TABLE-backtest.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Every random choice follows from it.")] = 0,
    json: Json = False,
) -> None:
    """Let surrogates that know some of the runs predict the others: which to trust, and from how many runs on.

    Ends with exit status 1 where a control finds a leak.
    """
    from mixopt.cli.tables.backtest import backtest_view
    from mixopt.runs.backtest import backtest, save
    from mixopt.runs.request import BacktestRequest
    from mixopt.settings.space import read

    folder = check_output(output or Path(f"{tables[0].stem}-backtest"), folder=True)
    requests = [
        BacktestRequest(
            runs=table,
            metrics=tuple(metrics or ()),
            objective=objective,
            maximize=tuple(maximize or ()),
            minimize=tuple(minimize or ()),
            limits=read(space) if space else None,
            target=target_fidelity,
            surrogates=tuple(surrogate or ()),
            every=every,
            known=tuple(known or ()),
            seeds=seeds,
            strategies=tuple(strategy or ()),
            replays=replays,
            seed=seed,
        )
        for table in tables
    ]
    with _stages(json) as stages:
        found = backtest(requests, lambda stage, done, total: stages.advance(stage, done, total, "fits"))
    found = save(found, folder)
    print_result(found, backtest_view(found), json)
    if found.leaked:
        raise typer.Exit(LEAKED)


@app.command(
    epilog="Example: mixopt replay runs.csv --metric loss --strategy regmix --strategy bayes --seeds 20",
    rich_help_panel=RUNS,
)
def replay(
    runs: RunsArgument,
    strategy: Annotated[
        list[str] | None, typer.Option(help="Replay this one beside random; repeatable. Default: all.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Replays of each strategy.")] = 20,
    metrics: Metrics = None,
    objective: ObjectiveKind = "mean",
    maximize: Maximize = None,
    minimize: Minimize = None,
    target_fidelity: Annotated[
        str | None, typer.Option(help="Look for the best run of this fidelity. Default: the dearest.")
    ] = None,
    warm_start: Annotated[
        int | None, typer.Option(min=1, help="Cheap runs to open with. Default: by costs and domains.")
    ] = None,
    acquisition: Annotated[
        str | None, typer.Option(help="What bayes asks by. Default: log_ei, under pareto hypervolume.")
    ] = None,
    surrogate: Annotated[str, typer.Option(help="What regmix and climb predict with.")] = "blend",
    batch: Annotated[int, typer.Option(min=1, help="Runs that are asked for at a time.")] = 1,
    budget: Annotated[
        float | None,
        typer.Option(min=1, help="End each replay at this cost, in target runs. Default: at the best run."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder for the plot. Default: RUNS-replay.")
    ] = None,
    json: Json = False,
) -> None:
    """Simulate strategies on finished runs: what it would have cost each to find the best of them."""
    from mixopt.cli.tables.replay import replay_view
    from mixopt.runs.replay import replay, save
    from mixopt.runs.request import ReplayRequest

    folder = check_output(output or Path(f"{runs.stem}-replay"), folder=True)
    request = ReplayRequest(
        runs=runs,
        metrics=tuple(metrics or ()),
        objective=objective,
        maximize=tuple(maximize or ()),
        minimize=tuple(minimize or ()),
        target=target_fidelity,
        strategies=tuple(strategy or ()),
        seeds=seeds,
        warm_start=warm_start,
        acquisition=acquisition,
        surrogate=surrogate,
        batch=batch,
        budget=budget or inf,
    )
    with _stages(json) as stages:
        found = replay(
            request,
            lambda done, total: stages.advance(f"replay strategies ({total} replays)", done, total, "replays"),
        )
    found = save(found, folder)
    print_result(found, replay_view(found), json)


def _stages(json: bool) -> Stages:
    """Bars for a person at a terminal, one line for a program."""
    from mixopt.study.stages import Stages

    return Stages(Console(stderr=True, force_terminal=False) if json else err)
