"""The commands on a table of finished runs."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from mixopt.base.console import err
from mixopt.base.errors import ConfigError
from mixopt.cli.arguments import RUNS, Json, check_output, print_result
from mixopt.cli.table_options import (
    READING,
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

if TYPE_CHECKING:
    from mixopt.runs.tables.reading import TableSource
    from mixopt.study.stages import Stages

app = typer.Typer()

# Exit status where a control of a backtest finds a leak.
LEAKED = 1

# Of the commands that read a table of runs.
RunsArgument = Annotated[
    Path | None,
    typer.Argument(
        help="A table of finished runs, .csv, .json, .jsonl or .parquet, as W&B, MLflow or a spreadsheet exports it: "
        "see docs/run-tables.md.",
        show_default=False,
    ),
]


Metrics = Annotated[list[str] | None, typer.Option("--metric", help="Only this metric; repeatable. Default: all.")]


ObjectiveKind = Annotated[
    str,
    typer.Option(
        help="mean, standardized, worst, no-worse, hinge or pareto, of the metrics; or a YAML file, such as a study's, "
        "whose section objective has weights or families."
    ),
]


Maximize = Annotated[list[str] | None, typer.Option(help="More of this metric is better; repeatable.")]


Minimize = Annotated[list[str] | None, typer.Option(help="Less of this metric is better; repeatable.")]


@app.command(
    epilog="Examples:\n\n"
    "mixopt fit runs.csv     (all metrics, the default surrogate and the few that it is compared with)\n\n"
    "mixopt fit wandb-export.csv --guess     (what it would take for what, and why; fits nothing)\n\n"
    "mixopt fit wandb-export.csv --weights 'mix/*' --metrics 'eval/*'\n\n"
    "mixopt fit --from-mlflow http://mlflow:5000 --experiment mixtures\n\n"
    "mixopt fit runs.csv --metric mmlu --metric gsm8k --objective standardized --space study.yaml\n\n"
    "mixopt fit small.csv --holdout large.csv --json     (how well do small runs rank large ones?)\n\n"
    "mixopt fit runs.csv --objective pareto --metric web_loss --metric code_loss\n\n"
    "mixopt fit old.csv --space new.yaml --split web=web_clean,web_rest     (domains have changed since)\n\n"
    "mixopt fit runs.csv --target-params 7B --target-tokens 1T     (for a run larger than all of these)",
    rich_help_panel=RUNS,
)
def fit(
    runs: RunsArgument = None,
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
    guess: Annotated[
        bool,
        typer.Option("--guess", help="Show what each column is taken for, and why, and end.", rich_help_panel=READING),
    ] = False,
    mapping_out: Annotated[
        Path | None,
        typer.Option(help="Write that into a mapping file, to be mended and read.", rich_help_panel=READING),
    ] = None,
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
    """Fit surrogates to finished runs, say how far they can be trusted, and recommend a mixture."""
    from mixopt.cli.tables.fit import first_answer_line, fit_view
    from mixopt.runs.domains import changes
    from mixopt.runs.fit import fit, save
    from mixopt.runs.objective import objective_option
    from mixopt.runs.request import FitRequest
    from mixopt.settings.space import read
    from mixopt.settings.units import count_of

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
    source = how.source(runs)
    if guess or mapping_out is not None:
        _say_what_is_what(source, mapping_out, guess, json)
        if guess:
            return
    kind, settings = objective_option(objective)
    folder = check_output(output or Path(f"{_stem(runs, how)}-fit"), folder=True)
    request = FitRequest(
        runs=source,
        objective_settings=settings,
        holdout=None if holdout is None else how.sources(holdout)[0],
        metrics=tuple(metrics or ()),
        objective=kind,
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
        list[Path] | None,
        typer.Argument(metavar="TABLES...", help="Tables of finished runs, each judged by itself.", show_default=False),
    ] = None,
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
    """Let surrogates that know some of the runs predict the others: which to trust, and from how many runs on.

    Ends with exit status 1 where a control finds a leak.
    """
    from mixopt.cli.tables.backtest import backtest_view
    from mixopt.runs.backtest import backtest, save
    from mixopt.runs.objective import objective_option
    from mixopt.runs.request import BacktestRequest
    from mixopt.settings.space import read

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
    sources = how.sources(*(tables or ()))
    kind, settings = objective_option(objective)
    folder = check_output(output or Path(f"{_stem(tables[0] if tables else None, how)}-backtest"), folder=True)
    requests = [
        BacktestRequest(
            runs=table,
            objective_settings=settings,
            metrics=tuple(metrics or ()),
            objective=kind,
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
        for table in sources
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
    runs: RunsArgument = None,
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
    """Simulate strategies on finished runs: what it would have cost each to find the best of them."""
    from mixopt.cli.tables.replay import replay_view
    from mixopt.runs.objective import objective_option
    from mixopt.runs.replay import replay, save
    from mixopt.runs.request import ReplayRequest

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
    source = how.source(runs)
    kind, settings = objective_option(objective)
    folder = check_output(output or Path(f"{_stem(runs, how)}-replay"), folder=True)
    request = ReplayRequest(
        runs=source,
        objective_settings=settings,
        metrics=tuple(metrics or ()),
        objective=kind,
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


def _stem(runs: Path | None, how: How) -> str:
    """What the folders of an answer are called after."""
    return how.stem if runs is None else runs.stem


def _say_what_is_what(source: TableSource, mapping: Path | None, alone: bool, json: bool) -> None:
    """Print what a table is taken for; where nothing else is asked, questions that are left are a mistake.

    Raises:
        ConfigError: the first of these.
    """
    from mixopt.cli.tables.guess import guess_view
    from mixopt.runs.guess import guess

    found = guess(source, mapping)
    if not alone:
        err.print(f"wrote {mapping}", soft_wrap=True)
        return
    print_result(found, guess_view(found), json)
    if found.questions:
        what, _, hint = found.questions[0].rpartition("; ")
        raise ConfigError(what, hint)


def _stages(json: bool) -> Stages:
    """Bars for a person at a terminal, one line for a program."""
    from mixopt.study.stages import Stages

    return Stages(Console(stderr=True, force_terminal=False) if json else err)
