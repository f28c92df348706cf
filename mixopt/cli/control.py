"""The commands for a study that runs: pause, resume, stop, cancel; here, or on a cluster."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mixopt.base.console import err
from mixopt.base.errors import ConfigError
from mixopt.cli.arguments import STUDY, Address, Json, print_result
from mixopt.cli.cluster import StudyOrName, name_and_file, now, the_cluster
from mixopt.settings.schema import STUDY_FILE

if TYPE_CHECKING:
    from mixopt.cluster.jobs import Cluster, StudyJob
    from mixopt.settings.schema import StudyFile
    from mixopt.study.requests import Wish

app = typer.Typer()

CANCELLED_WITHIN_SECONDS = 60.0
ANSWER_WITHIN_SECONDS = 900.0
LOOK_AGAIN_SECONDS = 0.2


@app.command(epilog="Example: mixopt pause study.yaml     (then: mixopt resume study.yaml)", rich_help_panel=STUDY)
def pause(study: StudyOrName = str(STUDY_FILE), address: Address = None, json: Json = False) -> None:
    """Train what runs to its end, begin nothing new, and wait for mixopt resume; the study's time stands still."""
    from mixopt.study.requests import Wish

    _ask(study, address, json, "pause", Wish.PAUSE, "pauses once what runs has ended; mixopt resume goes on")


@app.command(epilog="Example: mixopt resume study.yaml", rich_help_panel=STUDY)
def resume(study: StudyOrName = str(STUDY_FILE), address: Address = None, json: Json = False) -> None:
    """Go on with a paused study; one that nobody runs goes on with mixopt run, or mixopt submit."""
    _ask(study, address, json, "resume", None, "goes on")


@app.command(
    epilog="Examples:\n\nmixopt stop study.yaml\n\nmixopt stop my-study --confirm --address http://head:8265",
    rich_help_panel=STUDY,
)
def stop(
    study: StudyOrName = str(STUDY_FILE),
    address: Address = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="First train what runs to its end, and confirm the answer.")
    ] = False,
    json: Json = False,
) -> None:
    """End a study in good order: it trains nothing more, and answers from what is there. Run again, it goes on.

    With --confirm only the search ends, as by a spent budget.
    """
    from mixopt.study.requests import Wish

    if confirm:
        done = "ends its search once what runs has ended, then confirms its answer"
        _ask(study, address, json, "stop", Wish.CONFIRM, done)
        return
    there, file = _who_runs(study, address)
    if there is not None:
        _end_job(*there, "stop", json)
    else:
        assert file is not None
        said = f"has ended; mixopt best {file.file} shows its answer"
        _end(file, Wish.STOP, "stop", ANSWER_WITHIN_SECONDS, said, json)


@app.command(epilog="Example: mixopt cancel study.yaml", rich_help_panel=STUDY)
def cancel(study: StudyOrName = str(STUDY_FILE), address: Address = None, json: Json = False) -> None:
    """End a study at once, as Ctrl-C does: no answer is made, what was recorded is kept. Run again, it goes on."""
    from mixopt.study.requests import Wish

    there, file = _who_runs(study, address)
    if there is not None:
        _end_job(*there, "cancel", json)
    else:
        assert file is not None
        said = f"was cancelled; mixopt run {file.file} goes on with it where it is now"
        _end(file, Wish.CANCEL, "cancel", CANCELLED_WITHIN_SECONDS, said, json)


def _who_runs(study: str, address: str | None) -> tuple[tuple[Cluster, StudyJob] | None, StudyFile | None]:
    """The cluster and the job that runs a study, or None, where it is one of this machine; and its file.

    Raises:
        ConfigError: it is not known which study is meant, or the cluster has none of this name.
    """
    from mixopt.cluster.head import HeadAway
    from mixopt.study.requests import driver

    name, file = name_and_file(study)
    if address:
        cluster = the_cluster(address)
        try:
            job = cluster.find(name) if file else cluster.job(name)
        except HeadAway:
            if file is None or driver(file.work_directory) is None:
                raise
            job = None
        if job is not None and not (job.has_ended and file and driver(file.work_directory)):
            return (cluster, job), file
    if file is None:
        raise ConfigError(
            f"study {name}: one of this machine is known by its file, one of a cluster by its name",
            hint=f"give the file, such as {STUDY_FILE}, or the cluster with --address",
        )
    return None, file


def _ask(
    study: str,
    address: str | None,
    json: bool,
    verb: Literal["pause", "resume", "stop"],
    wish: Wish | None,
    said: str,
) -> None:
    """Ask something of the driver, who will do it in its own time.

    Raises:
        ConfigError: nobody runs the study.
    """
    from mixopt.results.request import Asked
    from mixopt.study.requests import ask, driver

    there, file = _who_runs(study, address)
    if there is not None:
        cluster, job = there
        if job.has_ended:
            raise ConfigError(
                f"study {job.study} is not running: {job.id} is {now(job)}", hint="go on with it: mixopt submit"
            )
        with err.status(f"asking {job.id}"):
            cluster.ask(job, wish or "resume")
        asked = Asked(study=job.study, asked=verb, job=job.id, driver=None, ended=False)
    else:
        assert file is not None
        runs = driver(file.work_directory)
        if runs is None:
            raise ConfigError(_not_run(file), hint=f"go on with it: mixopt run {file.file}")
        ask(file.work_directory, wish)
        asked = Asked(study=file.study, asked=verb, job=None, driver=runs, ended=False)
    print_result(asked, f"study {asked.study} {said}", json)


def _end(
    file: StudyFile, wish: Wish, verb: Literal["stop", "cancel"], within_seconds: float, said: str, json: bool
) -> None:
    """Ask the driver on this machine to end, and wait until it has.

    Raises:
        ConfigError: it does not end.
    """
    from mixopt.results.request import Asked
    from mixopt.study.requests import ask, driver

    runs = driver(file.work_directory)
    if runs is None:
        said = f"{_not_run(file)}; mixopt best {file.file} shows what its trials say"
        print_result(Asked(study=file.study, asked=verb, job=None, driver=None, ended=True), said, json)
        return
    ask(file.work_directory, wish)
    deadline = time.monotonic() + within_seconds
    with err.status(f"waiting for {runs} to end"):
        while driver(file.work_directory) == runs:
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"study {file.study} is still being run by {runs} after {within_seconds:.0f} s",
                    hint=f"look there, or ask again: mixopt {verb} {file.file}",
                )
            time.sleep(LOOK_AGAIN_SECONDS)
    print_result(
        Asked(study=file.study, asked=verb, job=None, driver=runs, ended=True), f"study {file.study} {said}", json
    )


def _end_job(cluster: Cluster, job: StudyJob, verb: Literal["stop", "cancel"], json: bool) -> None:
    """End a submitted study, and wait until it has ended."""
    from mixopt.cluster.jobs import ANSWER_WITHIN_SECONDS
    from mixopt.results.jobs import StoppedJob
    from mixopt.study.requests import Wish

    if job.has_ended:
        said = f"study {job.study} is not running: {job.id} is {now(job)}"
    elif verb == "cancel":
        with err.status(f"cancelling {job.id}"):
            job = cluster.cancel(job)
        said = f"study {job.study} is {now(job)}; mixopt submit goes on with it where it is now"
    else:
        with err.status(f"stopping {job.id}"):
            cluster.ask(job, Wish.STOP)
            job = cluster.await_end(job, ANSWER_WITHIN_SECONDS)
        said = f"study {job.study} is {now(job)}; mixopt logs {job.study}{cluster.head.option} shows its answer"
    print_result(StoppedJob(**dict(job.summary)), said, json)


def _not_run(file: StudyFile) -> str:
    """Nobody runs the study on this machine."""
    from mixopt.study.record import is_submitted

    elsewhere = "; it was submitted to a cluster: give its --address" if is_submitted(file) else ""
    return f"study {file.study} is not being run on this machine{elsewhere}"
