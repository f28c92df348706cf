"""The commands for a study that runs: pause, resume, stop, cancel; here, or on a cluster."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mixopt.base.console import err
from mixopt.base.errors import ConfigError
from mixopt.cli.arguments import STUDY, Address, Json, print_result
from mixopt.cli.cluster import StudyOrName, name_and_file, now, study_here, the_cluster
from mixopt.settings.schema import STUDY_FILE

if TYPE_CHECKING:
    from mixopt.cluster.jobs import Cluster, StudyJob
    from mixopt.results.asked import Asked
    from mixopt.settings.schema import StudyFile
    from mixopt.study.wishes import Wish

app = typer.Typer()

LOOK_AGAIN_SECONDS = 0.2
NO_ANSWER = 1  # exit status


@app.command(epilog="Example: mixopt pause study.yaml     (then: mixopt resume study.yaml)", rich_help_panel=STUDY)
def pause(study: StudyOrName = str(STUDY_FILE), address: Address = None, json: Json = False) -> None:
    """Train what runs to its end, begin nothing new, and wait for mixopt resume; the study's time stands still."""
    from mixopt.study.wishes import Wish

    asked = _who_runs(study, address).ask("pause", Wish.PAUSE)
    print_result(asked, f"study {asked.study} pauses once what runs has ended; mixopt resume goes on", json)


@app.command(epilog="Example: mixopt resume study.yaml", rich_help_panel=STUDY)
def resume(study: StudyOrName = str(STUDY_FILE), address: Address = None, json: Json = False) -> None:
    """Go on with a paused study; one that nobody runs goes on with mixopt run, or mixopt submit."""
    asked = _who_runs(study, address).ask("resume", None)
    was_halted = asked.before is not None or asked.job is not None  # a cluster does not tell
    said = "goes on" if was_halted else "was not paused, and goes on as before"
    print_result(asked, f"study {asked.study} {said}", json)


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

    With --confirm only the search ends, as by a spent budget. Without, exit status 1 where it ended without an answer.
    """
    from mixopt.study.wishes import Wish

    runner = _who_runs(study, address)
    if confirm:
        asked = runner.ask("stop", Wish.CONFIRM)
        said = f"study {asked.study} ends its search once what runs has ended, then confirms its answer"
        print_result(asked, said, json)
        return
    ended = runner.end("stop")
    print_result(ended.asked, ended.said, json)
    if not ended.has_answer:
        raise typer.Exit(NO_ANSWER)


@app.command(epilog="Example: mixopt cancel study.yaml", rich_help_panel=STUDY)
def cancel(study: StudyOrName = str(STUDY_FILE), address: Address = None, json: Json = False) -> None:
    """End a study at once, as Ctrl-C does: no answer is made, what was recorded is kept. Run again, it goes on."""
    ended = _who_runs(study, address).end("cancel")
    print_result(ended.asked, ended.said, json)


@dataclass(frozen=True)
class Ended:
    """A study that nobody runs any more.

    Attributes:
        said: what people are told of it.
        has_answer: whether it ended with one.
    """

    asked: Asked
    said: str
    has_answer: bool


@dataclass(frozen=True)
class OnThisMachine:
    """A study whose folder this machine sees, whoever runs it there."""

    file: StudyFile

    def ask(self, verb: Literal["pause", "resume", "stop"], wish: Wish | None) -> Asked:
        """Ask something of the driver, who will do it in its own time.

        Raises:
            ConfigError: nobody runs the study.
        """
        from mixopt.results.asked import Asked
        from mixopt.study.wishes import ask, asked, runner

        runs = runner(self.file.work_directory)
        if runs is None:
            raise ConfigError(self._not_run, hint=f"go on with it: {self.file.goes_on_by}")
        before = asked(self.file.work_directory)
        ask(self.file.work_directory, wish)
        return Asked(study=self.file.study, asked=verb, before=before, job=None, driver=runs, ended=False)

    def end(self, verb: Literal["stop", "cancel"]) -> Ended:
        """Ask the driver to end, and wait until it has.

        Raises:
            ConfigError: it does not end, or its answer cannot be read.
            TrackingError: its journal is damaged.
        """
        from mixopt.results.asked import Asked
        from mixopt.study.record import has_ended_with_answer, is_submitted
        from mixopt.study.wishes import Wish, ask, runner

        study, file = self.file.study, self.file.file
        runs = runner(self.file.work_directory)
        if runs is not None:
            ask(self.file.work_directory, Wish(verb))
            self._await_end(runs, verb)
        # Of a study that went on elsewhere the journal here does not have the last word.
        has_answer = (runs is not None or not is_submitted(self.file)) and has_ended_with_answer(self.file)
        if runs is None:
            said = f"{self._not_run}; mixopt best {file} shows what its trials say"
        elif verb == "cancel":
            said = f"study {study} was cancelled; mixopt run {file} goes on with it where it is now"
        elif has_answer:
            said = f"study {study} has ended; mixopt best {file} shows its answer"
        else:
            said = f"study {study} has ended without an answer; mixopt logs {file} shows what happened"
        return Ended(Asked(study=study, asked=verb, job=None, driver=runs, ended=True), said, has_answer)

    def _await_end(self, runs: str, verb: Literal["stop", "cancel"]) -> None:
        from mixopt.study.wishes import ANSWER_WITHIN_SECONDS, CANCELLED_WITHIN_SECONDS, has_ended

        within_seconds = ANSWER_WITHIN_SECONDS if verb == "stop" else CANCELLED_WITHIN_SECONDS
        deadline = time.monotonic() + within_seconds
        with err.status(f"waiting for {runs} to end"):
            while not has_ended(self.file.work_directory, runs):
                if time.monotonic() > deadline:
                    raise ConfigError(
                        f"study {self.file.study} is still being run by {runs} after {within_seconds:.0f} s",
                        hint=f"look there, or ask again: mixopt {verb} {self.file.file}",
                    )
                time.sleep(LOOK_AGAIN_SECONDS)

    @property
    def _not_run(self) -> str:
        from mixopt.study.record import is_submitted

        elsewhere = "; it was submitted to a cluster: give its --address" if is_submitted(self.file) else ""
        return f"study {self.file.study} is not being run on this machine{elsewhere}"


@dataclass(frozen=True)
class InTurns:
    """A study whose trials are trained elsewhere (executor.kind: external): the next turn heeds what is asked."""

    file: StudyFile

    def ask(self, verb: Literal["pause", "resume", "stop"], wish: Wish | None) -> Asked:
        """Ask something of whoever asks for trials from now on.

        Raises:
            ConfigError: the study has not begun.
        """
        from mixopt.results.asked import Asked
        from mixopt.study.wishes import ask, asked

        self._check_begun()
        before = asked(self.file.work_directory)
        ask(self.file.work_directory, wish)
        return Asked(study=self.file.study, asked=verb, before=before, job=None, driver=None, ended=False)

    def end(self, verb: Literal["stop", "cancel"]) -> Ended:
        """Answer from what was told.

        Raises:
            ConfigError: the study has not begun; or it is to be cancelled, and nothing of it runs here.
            SearchError: what was told is not enough for an answer.
        """
        from mixopt.results.asked import Asked
        from mixopt.turn import stop

        study, file = self.file.study, self.file.file
        if verb == "cancel":
            raise ConfigError(
                f"nothing of study {study} runs here: its trials are trained elsewhere (executor.kind: external)",
                hint="mixopt pause gives out no more of them, mixopt stop answers from those that were told",
            )
        self._check_begun()
        answer = stop(self.file, err)
        said = f"study {study} has ended, and gives out no more trials; mixopt best {file} shows its answer"
        asked = Asked(study=study, asked=verb, job=None, driver=None, ended=True)
        return Ended(asked, said, answer is not None)

    def _check_begun(self) -> None:
        from mixopt.study.record import journal_path

        if not journal_path(self.file).exists():
            raise ConfigError(f"study {self.file.study} has not begun here", hint=f"begin it: {self.file.goes_on_by}")


@dataclass(frozen=True)
class OnCluster:
    """A study that was submitted, and its latest job."""

    cluster: Cluster
    job: StudyJob

    def ask(self, verb: Literal["pause", "resume", "stop"], wish: Wish | None) -> Asked:
        """As of one on this machine.

        Raises:
            ConfigError: its job has ended, or nobody heard it.
        """
        if self.job.has_ended:
            raise ConfigError(self._not_run, hint="go on with it: mixopt submit")
        with err.status(f"asking {self.job.id}"):
            self.cluster.ask(self.job, wish or "resume")
        return _asked(self.job, verb)

    def end(self, verb: Literal["stop", "cancel"]) -> Ended:
        """As of one on this machine.

        Raises:
            ConfigError: it does not end, or nobody heard it.
        """
        from mixopt.study.wishes import ANSWER_WITHIN_SECONDS, Wish

        job = self.job
        if job.has_ended:
            return Ended(_asked(job, verb), self._not_run, _succeeded(job))
        if verb == "cancel":
            with err.status(f"cancelling {job.id}"):
                job = self.cluster.cancel(job)
            then = "mixopt submit goes on with it where it is now"
        else:
            with err.status(f"stopping {job.id}"):
                self.cluster.ask(job, Wish.STOP)
                job = self.cluster.await_end(job, ANSWER_WITHIN_SECONDS)
            shows = "its answer" if _succeeded(job) else "what happened"
            then = f"mixopt logs {job.study}{self.cluster.head.option} shows {shows}"
        return Ended(_asked(job, verb), f"study {job.study} is {now(job)}; {then}", _succeeded(job))

    @property
    def _not_run(self) -> str:
        return f"study {self.job.study} is not running: {self.job.id} is {now(self.job)}"


def _asked(job: StudyJob, verb: Literal["pause", "resume", "stop", "cancel"]) -> Asked:
    from mixopt.results.asked import Asked

    return Asked(study=job.study, asked=verb, job=job.id, state=job.state, driver=None, ended=job.has_ended)


def _succeeded(job: StudyJob) -> bool:
    """Whether its driver ended with an answer."""
    return job.state == "SUCCEEDED"


def _who_runs(study: str, address: str | None) -> OnThisMachine | InTurns | OnCluster:
    """
    Raises:
        ConfigError: it is not known which study is meant, or the cluster has none of this name.
    """
    from mixopt.cluster.head import HeadAway
    from mixopt.study.wishes import runner

    name, file = name_and_file(study)
    if address:
        cluster = the_cluster(address)
        try:
            job = cluster.find(name) if file else cluster.job(name)
        except HeadAway:
            if file is None or runner(file.work_directory) is None:
                raise
            job = None
        if job is not None and not (job.has_ended and file and runner(file.work_directory)):
            return OnCluster(cluster, job)
    here = study_here(name, file)
    return InTurns(here) if here.executor.kind == "external" else OnThisMachine(here)
