"""The commands of one study: prepare, plan, run, and what is known of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mixopt.base.console import err, out, say_note
from mixopt.base.errors import ConfigError
from mixopt.base.interrupt import INTERRUPTED, interrupt, leaving_at_once
from mixopt.cli import cluster
from mixopt.cli.arguments import (
    STUDY,
    Address,
    Json,
    RetryFailed,
    StudyArgument,
    check_output,
    headed,
    print_result,
)
from mixopt.settings.environment import JOURNAL_VARIABLE
from mixopt.settings.schema import STUDY_FILE

if TYPE_CHECKING:
    from mixopt.results.answer import Answer
    from mixopt.settings.schema import StudyFile
    from tracking.recorder import Recorder

app = typer.Typer()


@app.command(epilog="Example: mixopt prepare study.yaml", rich_help_panel=STUDY)
def prepare(study: StudyArgument = STUDY_FILE, json: Json = False) -> None:
    """Read, split and tokenise the text; does nothing where that is done."""
    from mixopt.cli.tables.study import corpus_table
    from mixopt.run import prepared
    from mixopt.study.corpus import summarise_corpus
    from mixopt.study.notes import pool_notes
    from mixopt.study.objective import objective_of

    file = load_study(study)
    corpus = prepared(file, err)
    if corpus is None:
        raise ConfigError(
            f"{study}: executor.kind: {file.executor.kind} reads no text, so there is nothing to prepare",
            hint="go on with: mixopt plan",
        )
    summary = summarise_corpus(corpus)
    print_result(summary, corpus_table(summary), json)
    for each in pool_notes(file, corpus, objective_of(file)):
        say_note(each)
    _say_pool_changes(file, corpus.fingerprint)


def _say_pool_changes(file: StudyFile, prepared: str) -> None:
    """Of a study that has begun: whether what is prepared now is no longer what it measured.

    Args:
        prepared: fingerprint of the text as it is now.
    """
    from contextlib import suppress

    from mixopt.study.inventory import pool_changes, remember_pools
    from mixopt.study.record import journal_path, read_record
    from tracking.errors import TrackingError

    if not journal_path(file).exists():
        return
    with suppress(TrackingError):  # said by whoever goes on with the study
        record = read_record(file, apart_from="file")
        if record.subject.corpus == prepared:
            # The same text, whatever became of its files.
            remember_pools(file)
        for change in pool_changes(file, record):
            say_note(change)


@app.command(epilog="Examples:\n\nmixopt plan study.yaml\n\nmixopt plan study.yaml --gpu h100", rich_help_panel=STUDY)
def plan(
    study: StudyArgument = STUDY_FILE,
    probe: Annotated[bool, typer.Option(help="Train each proxy for a moment to measure its speed.")] = True,
    gpu: Annotated[
        str | None, typer.Option(metavar="NAME", help="GPU hours for one that is not here, by an assumed speed: h100.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what will run: trials, tokens, FLOPs, and the time it will take."""
    from mixopt.cli.tables.study import plan_table
    from mixopt.run import prepared
    from mixopt.study.estimate import estimate, measures
    from mixopt.study.from_store import planned
    from mixopt.study.wishes import driver

    file = load_study(study)
    measures(file, probe, gpu)
    plan = planned(file, prepared(file, err))
    if probe and (runs := driver(file.work_directory)) is not None:
        say_note(f"the study is being run by {runs}; speeds are those beside it")
    with err.status("measuring the speed of each proxy") if probe else err.status("counting"):
        estimated = estimate(plan, probe, gpu)
    print_result(estimated, plan_table(estimated), json)
    _say_pool_changes(file, plan.pools.fingerprint)


@app.command(epilog="Example: mixopt distances study.yaml", rich_help_panel=STUDY)
def distances(study: StudyArgument = STUDY_FILE, json: Json = False) -> None:
    """Show how far each pool's text is from each evaluation set, and the mixture nearest to all, before any run."""
    from mixopt.cli.tables.distances import distances_table
    from mixopt.run import prepared
    from mixopt.study.distances import distances_of
    from mixopt.study.planning import make_plan

    file = load_study(study)
    plan = make_plan(file, prepared(file, err))
    with err.status("comparing samples of the text"):
        found = distances_of(plan)
    print_result(found, distances_table(found), json)


@app.command(epilog="Example: mixopt run study.yaml     (again, to resume)", rich_help_panel=STUDY)
def run(
    study: StudyArgument = STUDY_FILE,
    retry_failed: RetryFailed = False,
    json: Json = False,
) -> None:
    """Run a study to its answer, or go on where it was left."""
    run_study(load_study(study), retry_failed, json)


@app.command(
    epilog="Examples:\n\nmixopt status study.yaml\n\nmixopt status my-study --address http://head:8265",
    rich_help_panel=STUDY,
)
def status(study: cluster.StudyOrName = str(STUDY_FILE), address: Address = None, json: Json = False) -> None:
    """Show how far a study is: what runs now, time left, the best so far, failures; of a submitted one its job."""
    from mixopt.cli.tables.status import status_table
    from mixopt.study.status import status_of

    if address and cluster.status(study, address, json):
        return
    file = cluster.study_here(*cluster.name_and_file(study))
    found = status_of(file)
    print_result(found, status_table(found, study), json)


@app.command(
    epilog="Examples:\n\nmixopt trials study.yaml --sort objective --limit 10\n\nmixopt trials study.yaml --failed\n\n"
    "mixopt trials my-study --csv trials.csv     (of a submitted study)",
    rich_help_panel=STUDY,
)
def trials(
    study: cluster.StudyOrName = str(STUDY_FILE),
    address: Address = None,
    sort: Annotated[
        Literal["began", "ended", "objective", "seconds"],
        typer.Option(help="The oldest first, or the best of the last proxy, or the longest."),
    ] = "began",
    failed: Annotated[bool, typer.Option("--failed", help="Those that failed alone, and why.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="So many: the first; of those in time the latest.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write them to this file, with every share.")] = None,
    json: Json = False,
) -> None:
    """List a study's trials: what for, what they measured, what they took, and their mixtures."""
    from mixopt.base.files import write_text
    from mixopt.cli.tables.trials import TrialTable
    from mixopt.study.trials import csv_text, list_trials

    if csv is not None and csv.suffix != ".csv":
        raise ConfigError(f"{csv}: the trials are written as CSV", hint="choose a name that ends in .csv")
    if csv is not None:
        check_output(csv, option="--csv")
    record, file = cluster.recorded(study, address)
    listed = list_trials(record, file, sort, failed, limit)
    if csv is not None:
        write_text(csv, csv_text(listed))
    if csv is None or json:
        print_result(listed, TrialTable(listed, study, failures=failed), json)
    else:
        out.print(f"wrote {csv}: {len(listed.trials)} trials", soft_wrap=True)


@app.command(epilog="Example: mixopt best study.yaml --json", rich_help_panel=STUDY)
def best(study: StudyArgument = STUDY_FILE, json: Json = False) -> None:
    """Show the answer with its evidence; before the study's end, the answer so far."""
    from mixopt.cli.tables.study import answer_table
    from mixopt.study.answer import answer_so_far
    from mixopt.study.record import read_record

    file = load_study(study)
    answer = answer_so_far(file, read_record(file, apart_from="inventory"))
    print_result(answer, answer_table(answer), json)


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
    from mixopt.base.files import write_text
    from mixopt.results.run_table import RunTable
    from mixopt.runs.trials import csv_text, run_rows
    from mixopt.study.record import read_record

    if output is not None:
        check_output(output)
        if output.suffix != ".csv":
            raise ConfigError(f"{output}: the table is written as CSV", hint="choose a name that ends in .csv")
    file = load_study(study)
    rows = run_rows(read_record(file, apart_from="file").history, unit)
    if not rows:
        raise ConfigError(f"study {file.study} has no completed trial yet", hint=f"run it: {file.goes_on_by}")
    if output is not None:
        write_text(output, csv_text(rows))
    if json:
        print(RunTable(study=file.study, unit=unit, runs=tuple(rows)).json_text())
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
    from mixopt.study.mlflow_page.dashboard import links, serve

    file = load_study(study)
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


def load_study(study: Path) -> StudyFile:
    from mixopt.settings.reading import load

    return load(study)


def run_study(file: StudyFile, retry_failed: bool, json: bool) -> None:
    if file.executor.kind == "ray" and file.executor.address and JOURNAL_VARIABLE not in os.environ:
        # Ray ends a process whose cluster gets another head. So that is one that can be started again.
        from mixopt.supervise import supervise_here

        options = {"--retry-failed": retry_failed, "--json": json}
        raise typer.Exit(supervise_here([str(file.file), *(name for name, given in options.items() if given)]))
    with leaving_at_once():
        from mixopt.cli.tables.study import answer_table
        from mixopt.report.kept import page_path
        from mixopt.run import run
        from mixopt.study.mlflow_page.views import study_page

    def show(answer: Answer, recorder: Recorder) -> None:
        print_result(answer, answer_table(answer), json)
        if not json:
            served = file.tracking_uri.startswith(("http://", "https://"))
            address = file.tracking_uri.rstrip("/") if served else "http://127.0.0.1:5000"
            how = "" if served else f"   (served by: mixopt dashboard {file.file})"
            page = study_page(recorder.experiment_id, recorder.run_id)
            out.print(headed("Dashboard", f"{address}/{page}{how}"), soft_wrap=True)

    try:
        run(file, retry_failed, err, show, is_program=True)
    except KeyboardInterrupt:
        err.print("interrupted; what was recorded is kept: run the same command again to go on")
        raise typer.Exit(INTERRUPTED) from None
    if not json:
        out.print(headed("Report   ", str(page_path(file))), soft_wrap=True)
