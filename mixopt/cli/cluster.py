"""The commands for studies on a cluster; mixopt/cli/main.py takes them in."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixopt.base.console import err
from mixopt.base.errors import ConfigError
from mixopt.base.interrupt import INTERRUPTED
from mixopt.base.log import Excerpt, Level
from mixopt.cli.arguments import (
    CLUSTER,
    Address,
    Json,
    RetryFailed,
    StudyArgument,
    check_output,
    print_result,
)
from mixopt.cli.completion import study_files, trial_ids
from mixopt.settings.environment import ADDRESS_VARIABLE
from mixopt.settings.schema import STUDY_FILE, store_of_this_machine
from search.urls import fit_to_show
from tracking.address import may_exist
from tracking.errors import TrackingError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mixopt.cluster.head import HeadAway
    from mixopt.cluster.jobs import Cluster, StudyJob
    from mixopt.results.jobs import JobAlone, JobWithTrials
    from mixopt.results.status import Status
    from mixopt.settings.schema import StudyFile
    from tracking.record import Record

app = typer.Typer()

StudyOrName = Annotated[
    str, typer.Argument(metavar="STUDY", help="The study file, or the study's name.", autocompletion=study_files)
]

NOT_SUCCEEDED = 1  # exit status
NAME_IT = f"name the study's file, such as {STUDY_FILE}, or another study"
WITHOUT_HEAD = "what is known without it:"
WHICH_CLUSTER = f"give --address http://head:8265, or set {ADDRESS_VARIABLE} to it"


@app.command(
    epilog="Example: mixopt submit study.yaml --address http://head:8265     (again, to resume)",
    rich_help_panel=CLUSTER,
)
def submit(
    study: StudyArgument = STUDY_FILE, address: Address = None, retry_failed: RetryFailed = False, json: Json = False
) -> None:
    """Run a study on a cluster, or go on with it; where it is already running, only say so."""
    from mixopt.results.jobs import SubmittedJob
    from mixopt.settings.reading import load
    from mixopt.study.record import mark_submitted

    cluster = the_cluster(address)
    file = load(study)
    try:
        # First: whoever interrupts this does not know whether it was submitted.
        mark_submitted(file, cluster.head.address)
        with err.status("submitting"):
            job, new = cluster.submit(file, retry_failed)
    except KeyboardInterrupt:
        err.print(f"interrupted; whether study {file.study} was submitted shows: mixopt list{cluster.head.option}")
        raise typer.Exit(INTERRUPTED) from None
    said = f"study {job.study} is submitted as {job.id}" if new else f"study {job.study} is already {now(job)}"
    if not new and not job.tells_settings:
        unknown = "by an earlier version of mixopt: whether with the settings of this file is not known"
        err.print(f"note: it was submitted {unknown}", style="yellow", soft_wrap=True)
    which = f"{job.study}{cluster.head.option}"
    commands = ", ".join(f"mixopt {command} {which}" for command in ("logs -f", "status", "pause", "stop"))
    print_result(SubmittedJob(**dict(job.summary), submitted=new), f"{said}; next: {commands}", json)


def status(study: str, address: str, json: bool) -> bool:
    """The command's part that asks a cluster; false where a study file is given of which that knows no job now."""
    from mixopt.cli.tables.status import job_status_table
    from mixopt.cluster.head import HeadAway

    name, file = name_and_file(study)
    cluster = the_cluster(address)
    try:
        job = _job(cluster, name, file)
    except HeadAway as away:
        if store_of_this_machine() is None:
            raise
        err.print(f"{away.message}; {WITHOUT_HEAD}", soft_wrap=True)
        print_result(*_recorded(name, away), json)
        return True
    if job is None:
        return False
    result = _job_with_trials(job, file)
    print_result(result, job_status_table(result, study), json)
    return True


def look(study: str, address: str | None, lately: int) -> Status | JobWithTrials | JobAlone:
    """What `mixopt status` shows, without a word where the head is away.

    Raises:
        ConfigError: the study has not run, or nobody who knows it is at hand.
        TrackingError: MLflow is needed and does not answer, or the study was begun with another file.
    """
    from mixopt.cluster.head import HeadAway
    from mixopt.study.status import build_status, status_of

    name, file = name_and_file(study)
    if address:
        try:
            job = the_cluster(address).find(name)
        except HeadAway:
            if file is None and store_of_this_machine() is None:
                raise
        else:
            if job is not None:
                return _job_with_trials(job, file, lately)
    if file is not None:
        return status_of(file, lately)
    record, _ = recorded(study, None)
    uri = store_of_this_machine()
    assert uri is not None, "it was read there"
    return build_status(record, uri, lately=lately)


@app.command(
    epilog="Examples:\n\nmixopt logs my-study --follow --address http://head:8265\n\n"
    "mixopt logs my-study --job 1     (before it was resumed)\n\n"
    "mixopt logs study.yaml -f --level warning     (what happens on this machine)\n\n"
    "mixopt logs study.yaml --trial 3f9a",
    rich_help_panel=CLUSTER,
)
def logs(
    study: StudyOrName = str(STUDY_FILE),
    address: Address = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the study ends.")] = False,
    tail: Annotated[
        int | None, typer.Option(min=1, help="Only the last so many lines; with -f, of those so far.")
    ] = None,
    level: Annotated[
        Level | None, typer.Option(help="Of a study on this machine: only what is at least so serious.")
    ] = None,
    number: Annotated[
        int | None, typer.Option("--job", min=1, help="Of an earlier submission: 1 is the first. Default: the last.")
    ] = None,
    trial: Annotated[
        str | None,
        typer.Option(
            help="What became of this trial, with its traceback; the beginning of its id will do.",
            autocompletion=trial_ids,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show what a submitted study prints, or what is logged of one that runs or ran here.

    With -f, exit status 1 where it did not end with an answer.
    """
    from mixopt.results.jobs import JobLog
    from mixopt.study.wishes import driver

    name, file = name_and_file(study)
    excerpt = Excerpt(level, tail)
    if trial is not None:
        options = {"--job": number is not None, "-f": follow, "--tail": tail is not None, "--level": level is not None}
        if given := [option for option, is_given in options.items() if is_given]:
            raise ConfigError(
                "--trial shows what is recorded of a trial, whichever submission trained it",
                hint=f"leave out {given[0]}",
            )
        _show_log_of_trial(name, file, trial, json)
        return
    if not address:
        if number is not None:
            raise ConfigError("--job is of studies that were submitted, and no cluster is named", hint=WHICH_CLUSTER)
        _show_log_of_here(name, file, excerpt, follow, json)
        return
    cluster = the_cluster(address)
    # What was logged here is not numbered, and followed only while it runs here: who follows a job waits for its end.
    runs_here = file is not None and driver(file.work_directory) is not None
    job = cluster.job(name, number) if number is not None or (follow and not runs_here) else _job(cluster, name, file)
    if job is None:
        _show_log_of_here(name, file, excerpt, follow, json)
        return
    if level is not None:
        raise ConfigError(f"{job.id} prints lines without levels", hint="leave out --level")
    if follow:
        log = cluster.log(job) if tail is not None and not json else ""
        _write(excerpt.of(log))
        try:
            job = cluster.follow(job, _discard if json else _write, err.print, len(log))
        except KeyboardInterrupt:
            which = f"{job.study}{cluster.head.option}"
            err.print(f"study {job.study} goes on without you; end it with: mixopt stop {which}", soft_wrap=True)
            raise typer.Exit(INTERRUPTED) from None
        err.print(f"{job.id} is {now(job)}")
    if json:
        print(JobLog(**dict(job.summary), log=excerpt.of(cluster.log(job))).json_text())
    elif not follow:
        _write(excerpt.of(cluster.log(job)))
    if follow and job.state != "SUCCEEDED":
        raise typer.Exit(NOT_SUCCEEDED)


def _show_log_of_trial(name: str, file: StudyFile | None, trial: str, json: bool) -> None:
    from mixopt.cli.tables.logs import trial_table
    from mixopt.study.logs import trial_log
    from mixopt.study.record import read_record

    if file is None:
        raise ConfigError(
            f"{name} is no study file, by which the record of a trial is found",
            hint=f"name the file, such as {STUDY_FILE}",
        )
    found = trial_log(read_record(file, apart_from="file"), trial)
    print_result(found, trial_table(found), json)


def _show_log_of_here(name: str, file: StudyFile | None, excerpt: Excerpt, follow: bool, json: bool) -> None:
    from mixopt.study.logs import follow_log, read_log
    from mixopt.study.record import has_ended_with_answer

    if file is None:
        raise ConfigError(
            f"no cluster is named, and {name} is no study file", hint=f"name the file, or {WHICH_CLUSTER}"
        )
    if follow:
        try:
            for part in follow_log(file, excerpt):
                (_discard if json else _write)(part)
        except KeyboardInterrupt:
            err.print(f"study {name} goes on without you; end it with: mixopt stop {file.file}", soft_wrap=True)
            raise typer.Exit(INTERRUPTED) from None
        err.print(f"nobody runs study {name} on this machine")
    log = read_log(file)
    if json:
        print(log.model_copy(update={"log": excerpt.of(log.log)}).json_text())
    elif not follow:
        _write(excerpt.of(log.log))
    if follow and not has_ended_with_answer(file):
        raise typer.Exit(NOT_SUCCEEDED)


@app.command("list", epilog="Example: mixopt list --address http://head:8265 --json", rich_help_panel=CLUSTER)
def list_studies(address: Address = None, json: Json = False) -> None:
    """List the studies that were submitted to a cluster."""
    from mixopt.cli.tables.status import jobs_table
    from mixopt.results.jobs import JobList

    found = JobList(studies=tuple(job.summary for job in the_cluster(address).jobs()))
    print_result(found, jobs_table(found), json)


@app.command(
    epilog="Example: mixopt metrics --address http://head:8265 > mixopt.prom     (by a timer)",
    rich_help_panel=CLUSTER,
)
def metrics(address: Address = None) -> None:
    """Print a cluster's state in numbers, as Prometheus reads them: nodes, and the state of each study."""
    from mixopt.cluster.metrics import metrics_text

    _write(metrics_text(the_cluster(address)))


@app.command(epilog="Example: mixopt secrets secrets/     (then: docker compose up)", rich_help_panel=CLUSTER)
def secrets(
    folder: Annotated[Path, typer.Argument(help="Where to write them; what is there already stays.")],
    json: Json = False,
) -> None:
    """Write the passwords and tokens that a new service needs, one to a file."""
    from mixopt.cluster.secrets import write_secrets
    from mixopt.results.secrets import SecretFiles

    check_output(folder, folder=True, option="")
    written = [str(path) for path in write_secrets(folder)]
    said = "\n".join(f"wrote {path}" for path in written) or f"{folder} has them all already"
    print_result(SecretFiles(files=tuple(written)), said, json)


def the_cluster(address: str | None) -> Cluster:
    from mixopt.cluster.jobs import Cluster

    if not address:
        raise ConfigError("no cluster is named", hint=WHICH_CLUSTER)
    return Cluster(address)


def _job(cluster: Cluster, name: str, file: StudyFile | None) -> StudyJob | None:
    """The study's latest job; None, which is said, where a study file is given of which the cluster knows none now.

    Raises:
        ConfigError: no file is given, and the cluster has none of this name, or does not answer.
    """
    from mixopt.cluster.head import HeadAway

    if file is None:
        return cluster.job(name)
    try:
        job = cluster.find(name)
    except HeadAway as away:
        err.print(f"{away.message}; {WITHOUT_HEAD}", soft_wrap=True)
        return None
    if job is None:
        err.print(f"study {name} was never submitted to {cluster.head.address}; on this machine:", soft_wrap=True)
    return job


def name_and_file(study: str) -> tuple[str, StudyFile | None]:
    """The name of a study, and its file where that was given."""
    from mixopt.settings.reading import load

    path = Path(study)
    if path.suffix not in (".yaml", ".yml") and not path.is_file():
        return study, None
    file = load(path)
    return file.study, file


def study_here(name: str, file: StudyFile | None) -> StudyFile:
    """The file of a study of this machine.

    Raises:
        ConfigError: only its name was given.
    """
    if file is None:
        raise ConfigError(
            f"study {name}: one of this machine is known by its file, one of a cluster by its name",
            hint=f"give the file, such as {STUDY_FILE}, or the cluster with --address",
        )
    return file


def _job_with_trials(job: StudyJob, file: StudyFile | None, lately: int | None = None) -> JobWithTrials | JobAlone:
    """The job, and how far the study is, where its MLflow store can be reached from here."""
    from mixopt.results.jobs import JobAlone, JobWithTrials
    from mixopt.settings.environment import DIRECTORY_VARIABLE, STORE_VARIABLE
    from mixopt.settings.schema import store_of_this_machine
    from mixopt.study.status import LATELY, build_status
    from tracking.mlflow_store import Store

    def alone(why: str) -> JobAlone:
        return JobAlone(**dict(job.summary), note=why)

    uri = store_of_this_machine()
    if file is not None and (file.tracking.uri or file.directory or DIRECTORY_VARIABLE in os.environ):
        uri = file.tracking_uri
    if uri is None:
        return alone(f"to see its trials from here, set {STORE_VARIABLE}")
    if not may_exist(uri):
        return alone(f"its trials cannot be seen from here: there is no {fit_to_show(uri)}")
    try:
        run = Store(uri, job.experiment).find(job.study)
        record = None if run is None else run.record()
        if record is None:
            return alone(f"no trial is recorded yet in {fit_to_show(uri)}")
        found = build_status(record, uri, job_has_ended=job.has_ended, lately=lately or LATELY)
        return JobWithTrials(**(dict(job.summary) | dict(found)))
    except TrackingError as error:
        return alone(f"its trials cannot be seen from here: {error.message}")


def recorded(study: str, address: str | None) -> tuple[Record, StudyFile | None]:
    """What is recorded of a study that is known by its file, or by its name alone; and the file.

    Raises:
        ConfigError: nothing is, or it is not known where.
        TrackingError: MLflow, where that is needed, does not answer.
    """
    from mixopt.settings.environment import STORE_VARIABLE
    from mixopt.settings.schema import TrackingSettings
    from mixopt.study.record import read_record

    name, file = name_and_file(study)
    if file is not None:
        return read_record(file, apart_from="file"), file
    uri = store_of_this_machine()
    if uri is None or not may_exist(uri):
        where = f"set {STORE_VARIABLE}" if uri is None else f"there is no {fit_to_show(uri)}"
        raise ConfigError(f"{name} is no study file, and its trials cannot be seen from here: {where}", hint=NAME_IT)
    from tracking.mlflow_store import Store

    experiment = the_cluster(address).job(name).experiment if address else TrackingSettings().experiment
    run = Store(uri, experiment).find(name)
    record = None if run is None else run.record()
    if record is None:
        raise ConfigError(f"nothing is recorded of study {name} in {fit_to_show(uri)}", hint=NAME_IT)
    return record, None


def _recorded(study: str, away: HeadAway) -> tuple[Status, RenderableType]:
    """What MLflow has of a study, whose head does not answer, and how that is shown.

    Raises:
        HeadAway: it has nothing of it.
        TrackingError: it does not answer either.
    """
    from mixopt.cli.tables.status import status_table
    from mixopt.settings.schema import TrackingSettings
    from mixopt.study.status import build_status
    from tracking.mlflow_store import Store

    uri = store_of_this_machine()
    assert uri is not None
    run = Store(uri, TrackingSettings().experiment).find(study)
    record = None if run is None else run.record()
    if record is None:
        raise away
    found = build_status(record, uri)
    return found, status_table(found, study)


def now(job: StudyJob) -> str:
    return job.state.lower()


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _discard(text: str) -> None:
    """Printed as a whole when the study has ended."""
