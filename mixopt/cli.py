"""The command line: one short function a command. What takes time to load is loaded in the command that needs it."""

from __future__ import annotations

import json as json_format
import os
import signal
import sys
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from mixopt import __version__, cluster_cli, compare_cli, export_cli, report_cli
from mixopt.errors import ClusterLost, ConfigError
from mixopt.terminal import (
    BEGIN,
    INTERRUPTED,
    RUNS,
    STUDY,
    STUDY_FILE,
    Address,
    Json,
    RetryFailed,
    StudyArgument,
    err,
    headed,
    interrupt,
    out,
    print_answer,
)
from proxies.errors import ProxyError
from search.errors import SearchError
from tracking.errors import TrackingAway, TrackingError

if TYPE_CHECKING:
    from mixopt.config import StudyFile
    from mixopt.watch import Stages
    from tracking.recorder import Recorder

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Begin with [bold]mixopt demo[/], or [bold]mixopt init DATA_FOLDER[/] and [bold]mixopt run[/].",
)

app.add_typer(report_cli.app)
app.add_typer(export_cli.app)
app.add_typer(compare_cli.app)
app.add_typer(cluster_cli.app)

# Of the commands that read a table of runs.
RunsArgument = Annotated[
    Path, typer.Argument(help="A table of finished runs, .csv or .parquet: see docs/run-tables.md.")
]
Metrics = Annotated[list[str] | None, typer.Option("--metric", help="Only this metric; repeatable. Default: all.")]
ObjectiveKind = Annotated[str, typer.Option(help="mean, standardized, worst, no-worse or pareto, of the metrics.")]
Maximize = Annotated[list[str] | None, typer.Option(help="More of this metric is better; repeatable.")]
Minimize = Annotated[list[str] | None, typer.Option(help="Less of this metric is better; repeatable.")]

# Exit statuses. What supervises a submitted study starts it again after the second.
USER_MISTAKE, TRY_AGAIN = 2, 75


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"mixopt {__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find the share of each pool of text that a language model should be trained on."""


@app.command(epilog="Example: mixopt init data/ --output study.yaml", rich_help_panel=BEGIN)
def init(
    data: Annotated[Path | None, typer.Argument(help="A folder: each folder or file in it becomes a domain.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the study file.")] = STUDY_FILE,
) -> None:
    """Write a commented study file, from a folder of data if one is given."""
    from mixopt.init import study_text

    if output.exists():
        raise ConfigError(f"{output} exists", hint="choose another name with --output, or remove it")
    output.write_text(study_text(data, output), encoding="utf-8")
    out.print(
        f"wrote {output}; next: mixopt validate {output}, mixopt plan {output}, mixopt run {output}", soft_wrap=True
    )


@app.command(epilog="Example: mixopt validate study.yaml", rich_help_panel=BEGIN)
def validate(study: StudyArgument = STUDY_FILE, json: Json = False) -> None:
    """Check a study file, that its text can be read, and that its limits leave a mixture."""
    from mixopt.assemble import assemble, check, check_sources, find_corpus

    file = _load(study)
    check(file)
    check_sources(file)
    corpus = find_corpus(file)
    if corpus is not None:
        assemble(file, corpus)
    checked = "and its corpus" if corpus else "(the limits are checked against token counts after mixopt prepare)"
    print_answer(
        {"valid": True, "study": file.study, "corpus_checked": corpus is not None}, f"{study} is valid {checked}", json
    )


@app.command(epilog="Example: mixopt schema > study.schema.json", rich_help_panel=BEGIN)
def schema() -> None:
    """Print the JSON Schema of study files, for editors."""
    from mixopt.config import json_schema

    print(json_format.dumps(json_schema(), indent=2))


@app.command(epilog="Example: mixopt prepare study.yaml", rich_help_panel=STUDY)
def prepare(study: StudyArgument = STUDY_FILE, json: Json = False) -> None:
    """Read, split and tokenise the text; does nothing where that is done."""
    from mixopt.display import corpus_document, corpus_table
    from mixopt.files import locked
    from mixopt.running import prepare

    file = _load(study)
    with locked(file.work_directory, f"study {file.study}"):
        document = corpus_document(prepare(file, err))
    print_answer(document, corpus_table(document), json)


@app.command(epilog="Example: mixopt plan study.yaml", rich_help_panel=STUDY)
def plan(
    study: StudyArgument = STUDY_FILE,
    probe: Annotated[bool, typer.Option(help="Train each proxy for a moment to measure its speed.")] = True,
    json: Json = False,
) -> None:
    """Show what will run: trials, tokens, FLOPs, and the time it will take."""
    from mixopt.assemble import assemble
    from mixopt.display import plan_table
    from mixopt.estimate import estimate
    from mixopt.files import locked
    from mixopt.running import prepare

    file = _load(study)
    with locked(file.work_directory, f"study {file.study}"):
        plan = assemble(file, prepare(file, err))
    with err.status("measuring the speed of each proxy") if probe else err.status("counting"):
        document = estimate(plan, probe)
    print_answer(document, plan_table(document), json)


@app.command(epilog="Example: mixopt run study.yaml     (again, to resume)", rich_help_panel=STUDY)
def run(
    study: StudyArgument = STUDY_FILE,
    retry_failed: RetryFailed = False,
    json: Json = False,
) -> None:
    """Run a study to its answer, or go on where it was left."""
    _run(_load(study), retry_failed, json)


@app.command(
    epilog="Examples:\n\nmixopt status study.yaml\n\nmixopt status my-study --address http://head:8265",
    rich_help_panel=STUDY,
)
def status(study: cluster_cli.StudyOrName = str(STUDY_FILE), address: Address = None, json: Json = False) -> None:
    """Show how far a study is: trials by state, every failure; of a submitted study, also its job."""
    from mixopt.display import status_document, status_table
    from mixopt.recording import known, recorded

    if address and cluster_cli.status(study, address, json):
        return
    file = _load(Path(study))
    record = recorded(file)
    document = status_document(record, known(file, record))
    print_answer(document, status_table(document), json)


@app.command(epilog="Example: mixopt best study.yaml --json", rich_help_panel=STUDY)
def best(study: StudyArgument = STUDY_FILE, json: Json = False) -> None:
    """Show the answer with its evidence; before the study's end, the answer so far."""
    from mixopt.answer import answer_so_far
    from mixopt.display import answer_table
    from mixopt.recording import recorded

    file = _load(study)
    document = answer_so_far(file, recorded(file))
    print_answer(document, answer_table(document), json)


@app.command(
    epilog="Example: mixopt runs study.yaml --output runs.csv     (then: mixopt fit runs.csv)", rich_help_panel=STUDY
)
def runs(
    study: StudyArgument = STUDY_FILE,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A .csv; default: standard output.")] = None,
    unit: Annotated[Literal["nats_per_token", "bits_per_byte"], typer.Option(help="Of the losses.")] = "nats_per_token",
    json: Json = False,
) -> None:
    """Write a study's completed trials as a table of runs, for mixopt fit and for other studies to reuse."""
    from mixopt.files import write_text
    from mixopt.recording import known, recorded
    from mixopt.study_runs import csv_text, run_rows

    file = _load(study)
    rows = run_rows(known(file, recorded(file)), unit)
    if not rows:
        raise ConfigError(f"study {file.study} has no completed trial yet", hint=f"run it: mixopt run {file.file}")
    if output is not None:
        if output.suffix != ".csv":
            raise ConfigError(f"{output}: the table is written as CSV", hint="choose a name that ends in .csv")
        write_text(output, csv_text(rows))
    if json:
        print(json_format.dumps({"study": file.study, "unit": unit, "runs": rows}, indent=2))
    elif output is None:
        print(csv_text(rows), end="")
    else:
        out.print(f"wrote {output}: {len(rows)} runs; next: mixopt fit {output}", soft_wrap=True)


@app.command(epilog="Example: mixopt dashboard study.yaml --port 5000", rich_help_panel=STUDY)
def dashboard(
    study: StudyArgument = STUDY_FILE,
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Port on this machine.")] = 5000,
) -> None:
    """Serve the MLflow dashboard on this machine until Ctrl-C, and print links into it."""
    from mixopt.dashboard import links, serve

    file = _load(study)
    if file.tracking_uri.startswith(("http://", "https://")):
        out.print("\n".join(links(file, file.tracking_uri)), soft_wrap=True)
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        with err.status("starting the dashboard") as waiting, serve(file, port) as server:
            waiting.stop()
            out.print("\n".join(links(file, server.address)), soft_wrap=True)
            err.print("Ctrl-C ends it")
            server.process.wait()
    except KeyboardInterrupt:
        err.print("dashboard ended")


@app.command(
    epilog="Examples:\n\n"
    "mixopt fit runs.csv     (all metrics, all surrogates)\n\n"
    "mixopt fit runs.csv --metric mmlu --metric gsm8k --objective standardized --space study.yaml\n\n"
    "mixopt fit small.csv --holdout large.csv --json     (how well do small runs rank large ones?)\n\n"
    "mixopt fit runs.csv --objective pareto --metric web_loss --metric code_loss\n\n"
    "mixopt fit old.csv --space new.yaml --split web=web_clean,web_rest     (domains have changed since)",
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
    surrogate: Annotated[
        list[str] | None, typer.Option(help="Only this one; repeatable, the first gives the mixture. Default: all.")
    ] = None,
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
    from mixopt.changed_domains import changes
    from mixopt.fit_display import fit_view
    from mixopt.fitting import Wish, fit, save
    from mixopt.space_file import read

    folder = _folder(output or Path(f"{runs.stem}-fit"))
    wish = Wish(
        runs,
        holdout,
        metrics=tuple(metrics or ()),
        objective=objective,
        maximize=tuple(maximize or ()),
        minimize=tuple(minimize or ()),
        space=read(space) if space else None,
        target=target_fidelity,
        surrogates=tuple(surrogate or ()),
        changes=changes(renamed or (), split or ()),
        seed=seed,
    )
    with _stages(json) as stages:
        document = fit(wish, lambda done, total: stages.report(f"fit surrogates ({total} fits)", done, total, "fits"))
    save(document, folder)
    print_answer(document, fit_view(document), json)


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
    from mixopt.fitting import Wish
    from mixopt.replay_display import replay_view
    from mixopt.replaying import Options, replay, save

    folder = _folder(output or Path(f"{runs.stem}-replay"))
    wish = Wish(
        runs,
        metrics=tuple(metrics or ()),
        objective=objective,
        maximize=tuple(maximize or ()),
        minimize=tuple(minimize or ()),
        target=target_fidelity,
    )
    options = Options(tuple(strategy or ()), seeds, warm_start, acquisition, surrogate, batch, budget or inf)
    with _stages(json) as stages:
        document = replay(
            wish,
            options,
            lambda done, total: stages.report(f"replay strategies ({total} replays)", done, total, "replays"),
        )
    save(document, folder)
    print_answer(document, replay_view(document), json)


@app.command(epilog="Example: mixopt demo --directory demo", rich_help_panel=BEGIN)
def demo(
    directory: Annotated[Path, typer.Option(help="Where to put text, study file and results.")] = Path("demo"),
    json: Json = False,
) -> None:
    """Run a whole study, on text that this Python installation carries, in a few minutes."""
    from mixopt.demo import write_demo

    with err.status("gathering text from this Python installation"):
        study = write_demo(directory)
    err.print(f"study file: {study}")
    _run(_load(study), retry_failed=False, json=json)
    if not json:
        out.print()
        formats = f"mixopt export {study} --list shows the formats"
        out.print(headed("Export", f"as a trainer's own file ({formats}):"), soft_wrap=True)
        export_cli.export(study, format="yaml")
        export_cli.export(study, format="megatron", location="/data/{domain}_text_document")


def main() -> None:
    """The program `mixopt`: user mistakes are one line and exit status 2, never a traceback.

    A submitted study exits with 75 where the trouble may pass: the cluster, MLflow or a volume went away. Its
    supervisor then runs it again.
    """
    # Broken files are reported by us, with their place.
    os.environ.setdefault("DATASETS_VERBOSITY", "critical")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    # MLflow would tell its makers what it is used for.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        app()
    except (ConfigError, SearchError, ProxyError, TrackingError) as mistake:
        for line in mistake.message.splitlines():
            _complain(f"{line}; {mistake.hint}" if mistake.hint else line)
        sys.exit(_status_if_it_may_pass() if isinstance(mistake, ClusterLost | TrackingAway) else USER_MISTAKE)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        _complain(
            f"{error.filename or 'the system'}: {error.strerror}; check the path, its permissions and the free space"
        )
        sys.exit(_status_if_it_may_pass())


def _status_if_it_may_pass() -> int:
    from mixopt.config import JOB_VARIABLE

    return TRY_AGAIN if JOB_VARIABLE in os.environ else USER_MISTAKE


def _complain(line: str) -> None:
    err.print("error:", style="bold red", end=" ")
    err.print(line, soft_wrap=True)


def _folder(path: Path) -> Path:
    """A folder to write to, which need not exist.

    Raises:
        ConfigError: it cannot be made or written to; said before the work that would be lost.
    """
    there = next(each for each in (path.absolute(), *path.absolute().parents) if os.path.lexists(each))
    if not there.is_dir():
        raise ConfigError(f"--output {path}: {there} is not a folder", hint="choose another name")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"--output {path}: {there} cannot be written to", hint="choose another name")
    return path


def _stages(json: bool) -> Stages:
    """Bars for a person at a terminal, one line for a program."""
    from mixopt.watch import Stages

    return Stages(Console(stderr=True, force_terminal=False) if json else err)


def _load(study: Path) -> StudyFile:
    from mixopt.config import load

    return load(study)


def _run(file: StudyFile, retry_failed: bool, json: bool) -> None:
    from mixopt.display import answer_table
    from mixopt.running import report_path, run
    from mixopt.views import study_page

    def show(answer: dict[str, Any], record: Recorder) -> None:
        print_answer(answer, answer_table(answer), json)
        if not json:
            served = file.tracking_uri.startswith(("http://", "https://"))
            address = file.tracking_uri.rstrip("/") if served else "http://127.0.0.1:5000"
            how = "" if served else f"   (served by: mixopt dashboard {file.file})"
            page = study_page(record.experiment_id, record.run_id)
            out.print(headed("Dashboard", f"{address}/{page}{how}"), soft_wrap=True)

    try:
        run(file, retry_failed, err, show)
    except KeyboardInterrupt:
        err.print("interrupted; what was recorded is kept: run the same command again to go on")
        raise typer.Exit(INTERRUPTED) from None
    if not json:
        out.print(headed("Report   ", str(report_path(file))), soft_wrap=True)
