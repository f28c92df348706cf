"""From a study file to its answer: what stands around the loop of mixopt/study/loop.py."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from mixopt.base.errors import ConfigError
from mixopt.base.files import locked
from mixopt.base.interrupt import interrupt
from mixopt.base.log import logging_to
from mixopt.base.version import VERSION
from mixopt.report.gather import summarise
from mixopt.report.kept import KeptReport, keep_report, stamp
from mixopt.report.page import render
from mixopt.results.answer import Answer
from mixopt.settings.environment import DIRECTORY_VARIABLE, JOB_VARIABLE, JOURNAL_VARIABLE
from mixopt.settings.schema import StudyFile
from mixopt.study.checking import check_before_run, check_directory
from mixopt.study.corpus import find_corpus, prepare_corpus
from mixopt.study.exchange import check_reachable
from mixopt.study.loop import Loop
from mixopt.study.plan import Plan
from mixopt.study.planning import as_begun, check_settings, make_plan
from mixopt.study.progress import watcher_for
from mixopt.study.record import await_store, check_begun, goes_on_without_store, journal_path
from mixopt.study.recording import begin
from mixopt.study.stages import Stages
from mixopt.study.wishes import Wishes
from mixopt.workers import executor
from proxies.data.corpus import Corpus
from search.errors import ExplainedError
from tracking import keys
from tracking.errors import TrackingAway
from tracking.recorder import Recorder

if TYPE_CHECKING:
    from tracking.mlflow_store import Store

log = logging.getLogger(__name__)

FROM_JOURNAL = "the study goes on from its journal, and MLflow gets it later"


def prepare(file: StudyFile, console: Console) -> Corpus | None:
    """The study's tokens; `console` shows the stages. None where another trainer has the text.

    Raises:
        ConfigError, SearchError, ProxyError: the file, or the text, is wrong.
    """
    check_settings(file)
    if file.executor.is_foreign:
        return None
    with Stages(console) as stages:
        return prepare_corpus(file, lambda step: stages.advance(step.stage, step.done, step.total, step.unit))


def prepared(file: StudyFile, console: Console) -> Corpus | None:
    """The study's tokens, for whoever does not run it: as they are, also while it runs; made where they are not there.

    Raises:
        ConfigError, SearchError, ProxyError: as `prepare`; or its text has changed, and the study is being run.
    """
    check_settings(file)
    if file.executor.is_foreign:
        return None
    with console.status("looking for the prepared text"):
        corpus = find_corpus(file)
    if corpus is None:
        check_directory(file)
        with locked(file.work_directory, f"study {file.study}"):
            corpus = prepare(file, console)
    return corpus


def run(
    file: StudyFile,
    retry_failed: bool,
    console: Console,
    on_answer: Callable[[Answer, Recorder], None] = lambda answer, recorder: None,
) -> Answer:
    """Run a study to its answer and its report, or go on where it was left.

    Args:
        console: shows the progress.
        on_answer: told the answer when it is there, before MLflow has the last of the record.

    Raises:
        ConfigError, SearchError, ProxyError, TrackingError: the study cannot be run, or has no answer.
        KeyboardInterrupt: somebody, by Ctrl-C, SIGTERM or `mixopt cancel`, ended it; what was recorded is kept.
    """
    if file.executor.kind == "external":
        raise ConfigError(
            f"{file.file}: executor.kind is external: trials are trained elsewhere",
            hint="ask for some: mixopt ask, and tell what they measured: mixopt tell; or set executor.kind: command",
        )
    if JOB_VARIABLE in os.environ and not file.home.is_absolute():
        raise ConfigError(
            f"the cluster does not say where studies are kept: {DIRECTORY_VARIABLE} is not set",
            hint="its nodes are started with it: a folder that all of them share; or give it as `directory`",
        )
    if JOB_VARIABLE not in os.environ:  # where a volume that is away may come back, and is waited for
        check_before_run(file)
    # Only the main thread may handle signals.
    handles_signals = threading.current_thread() is threading.main_thread()
    with ExitStack() as stack:
        stack.enter_context(locked(file.work_directory, f"study {file.study}"))
        stack.enter_context(logging_to(file.work_directory))
        stack.enter_context(_logged(file))
        if handles_signals:
            stack.callback(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)
            signal.signal(signal.SIGTERM, interrupt)
        if told := os.environ.get(JOURNAL_VARIABLE):
            Path(told).write_text(str(journal_path(file).absolute()))
        # The signal cuts short whatever the driver is at; in another thread only the loop looks.
        end = partial(os.kill, os.getpid(), signal.SIGTERM) if handles_signals else lambda: None
        wishes = stack.enter_context(Wishes(file.work_directory, end))
        # First, before any work: does the store answer, and is the study in it this file's?
        with _status(console, "opening the record") as tell:
            check_reachable(file)
            store = _store(file, console, tell)
            begun = check_begun(file, store)
        plan = as_begun(make_plan(file, prepare(file, console)), begun)
        with _status(console, "opening the record") as tell:
            recorder = stack.enter_context(begin(plan, store, tell))
        if store is not None and (since := recorder.trouble):
            _say(console, f"{since}; {FROM_JOURNAL}")
        with Stages(console) as stages:
            handing = "hand the tokens to the workers"
            plan.exchange.publish(plan.corpus, lambda done, total: stages.advance(handing, done, total, "bytes"))
        # Ray prints to standard output when a worker dies, some of it only as it ends.
        with redirect_stdout(sys.stderr), ExitStack() as running:
            with console.status("starting the workers"):
                name = f"{file.tracking.experiment}/{file.study}"
                workers = running.enter_context(executor(file.executor, name, file.file.parent))
            # Once more after Ray has started, which answers the signal with a stack trace.
            if handles_signals:
                signal.signal(signal.SIGTERM, interrupt)
            with watcher_for(console) as watcher:
                study = Loop(plan, recorder, workers, watcher, retry_failed, lambda: wishes.latest)
                answer = study.run()
        on_answer(answer, recorder)
        if away := recorder.trouble:
            console.print(f"{away}; {recorder.unsent} records wait for it", soft_wrap=True)
        with console.status("bringing the last records to MLflow"):
            study.finish()
        if away:
            console.print("MLflow is back, and has every record")
        try:
            with console.status("writing the report"):
                _write_report(plan, recorder, study, answer)
        except Exception as error:
            # Whatever it is, the study has its answer, and a report can be made again.
            log.exception("the report is not complete")
            reason = str(error) if isinstance(error, ExplainedError | OSError) else f"{type(error).__name__}: {error}"
            console.print(f"the report is not complete: {reason}; mixopt report {file.file}", soft_wrap=True)
    return answer


def _store(file: StudyFile, console: Console, tell: Callable[[str], None]) -> Store | None:
    """The store of the study; None where it is away, and the study goes on from its journal.

    Raises:
        TrackingError: it cannot be used, and nothing else can.
    """
    try:
        return await_store(file, tell)
    except TrackingAway as away:
        if not goes_on_without_store(file):
            raise
        _say(console, f"{away.message}; {FROM_JOURNAL}")
        return None


def _say(console: Console, text: str) -> None:
    log.warning(text)
    console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _logged(file: StudyFile) -> Iterator[None]:
    """How a run begins and ends."""
    log.info("mixopt %s runs %s as process %d of %s", VERSION, file.file, os.getpid(), socket.gethostname())
    try:
        yield
    except KeyboardInterrupt:
        log.warning("interrupted")
        raise
    except Exception:
        log.exception("the run ended")
        raise
    log.info("the study has ended")


@contextmanager
def _status(console: Console, doing: str) -> Iterator[Callable[[str], None]]:
    """A line for what takes a while; gives what puts a remark in its place, and in a log below what came before."""
    said: set[str] = set()
    with console.status(doing) as status:

        def tell(remark: str) -> None:
            status.update(Text(remark))
            if remark in said:
                return
            said.add(remark)
            log.info(remark)
            if not console.is_terminal:
                console.print(remark, soft_wrap=True)

        yield tell


def _write_report(plan: Plan, recorder: Recorder, study: Loop, answer: Answer) -> None:
    """Leave the report with the study, here and in MLflow.

    Raises:
        ConfigError, SearchError, TrackingError, OSError: it cannot be made, or cannot be kept.
    """
    made_from = stamp(plan.file)
    content = summarise(plan, study.history, answer, study.predictor)
    report = KeptReport(render(content), content.json_text(), attached=False)
    keep_report(plan.file, report, made_from)
    recorder.attach(report.page, keys.REPORT_FILE)
    keep_report(plan.file, replace(report, attached=True), made_from)
