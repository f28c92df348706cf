"""From a study file to its answer: what stands around the loop of mixopt/study/loop.py."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from mixopt.base.errors import ConfigError
from mixopt.base.files import locked
from mixopt.base.interrupt import Interrupts
from mixopt.base.log import logging_to, others_to_log
from mixopt.base.version import VERSION
from mixopt.report.gather import summarise
from mixopt.report.kept import KeptReport, keep_report, stamp
from mixopt.report.page import render
from mixopt.results.answer import Answer
from mixopt.settings.environment import CAME_TO_ITS_END, DIRECTORY_VARIABLE, JOB_VARIABLE, JOURNAL_VARIABLE
from mixopt.settings.schema import StudyFile
from mixopt.study.checking import check_before_run, check_directory
from mixopt.study.corpus import find_corpus, prepare_corpus
from mixopt.study.exchange import check_reachable
from mixopt.study.from_store import planned
from mixopt.study.loop import Loop
from mixopt.study.notify import Notifier, notify_settings
from mixopt.study.now import Teller
from mixopt.study.plan import Plan
from mixopt.study.planning import as_begun, check_settings, require_levels
from mixopt.study.progress import Several, watcher_for
from mixopt.study.record import FROM_JOURNAL, check_begun, journal_path, reach_store
from mixopt.study.recording import begin
from mixopt.study.stages import Stages
from mixopt.study.wishes import Wish, Wishes
from mixopt.workers import executor
from proxies.data.corpus import Corpus, Progress
from proxies.errors import ProxyError
from search.errors import ExplainedError
from tracking import keys
from tracking.recorder import Recorder

log = logging.getLogger(__name__)


def prepare(file: StudyFile, console: Console, tell: Callable[[Progress], None] = lambda step: None) -> Corpus | None:
    """The study's tokens; None where another trainer has the text.

    Args:
        console: shows the stages.
        tell: hears how far each is.

    Raises:
        ConfigError, SearchError, ProxyError: the file, or the text, is wrong.
    """
    check_settings(file)
    if file.executor.is_foreign:
        return None
    with Stages(console) as stages:

        def advance(step: Progress) -> None:
            stages.advance(step.stage, step.done, step.total, step.unit)
            tell(step)

        return prepare_corpus(file, advance)


def prepared(file: StudyFile, console: Console) -> Corpus | None:
    """The study's tokens, for whoever does not run it: as they are, also while it runs; made where they are not there.

    Raises:
        ConfigError, SearchError, ProxyError: as `prepare`; or its text has changed, and the study is being run.
    """
    require_levels(file)
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
    is_program: bool = False,
) -> Answer:
    """Run a study to its answer and its report, or go on where it was left.

    Args:
        console: shows the progress.
        on_answer: told the answer when it is there, before MLflow has the last of the record.
        is_program: this process does nothing else, so whatever Ray prints may go to the study's log.

    Raises:
        ConfigError, SearchError, ProxyError, TrackingError: the study cannot be run, or has no answer.
        KeyboardInterrupt: somebody, by Ctrl-C, SIGTERM or `mixopt cancel`, ended it; what was recorded is kept.
    """
    _check(file)
    with ExitStack() as stack:
        stack.enter_context(locked(file.work_directory, f"study {file.study}"))
        stack.enter_context(logging_to(file.work_directory))
        stack.enter_context(_logged(file))
        interrupts = stack.enter_context(Interrupts())
        if journal := os.environ.get(JOURNAL_VARIABLE):
            stack.callback(Path(journal).with_suffix(CAME_TO_ITS_END).touch)
            Path(journal).write_text(str(journal_path(file).absolute()))
        # The signal cuts short whatever the driver is at; in another thread only the loop looks.
        end = partial(os.kill, os.getpid(), signal.SIGTERM) if interrupts.are_heard else lambda: None
        wishes = stack.enter_context(Wishes(file.work_directory, end))
        teller = Teller(file.work_directory)
        stack.enter_context(teller)
        stages = _Stages(file, console, interrupts, teller)

        def asked() -> Wish | None:
            return Wish.CANCEL if interrupts.came else wishes.latest

        plan, recorder = stages.begin(stack)
        told: Notifier | None = None
        if notify_settings(file) is not None:
            told = Notifier(file, plan.problem, recorder.begun.history)
            stack.enter_context(told)
        # Ray prints when a worker dies, some of it only as it ends; our own lines say what happened.
        apart = is_program and file.executor.kind == "ray"
        with others_to_log(file.work_directory, console) if apart else redirect_stdout(sys.stderr):
            study, answer = stages.train(plan, recorder, retry_failed, asked, told)
        if told is not None:
            told.answered(answer)
        on_answer(answer, recorder)
        stages.finish(plan, recorder, study, answer)
    return answer


def _check(file: StudyFile) -> None:
    """
    Raises:
        ConfigError: the study cannot be run here.
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


@dataclass(frozen=True)
class _Stages:
    """What a run does one after the other, and who sees it."""

    file: StudyFile
    console: Console
    interrupts: Interrupts
    teller: Teller

    def begin(self, stack: ExitStack) -> tuple[Plan, Recorder]:
        """The study's plan, and its recorder, which ends with the stack.

        Raises:
            ConfigError, SearchError, ProxyError, TrackingError: the study cannot be run.
        """
        file = self.file
        # First, before any work: does the store answer, and is the study in it this file's?
        with self._stage("opening the record") as tell:
            check_reachable(file)
            store = reach_store(file, tell, self._say)
            begun = check_begun(file, store)
        self.teller.enters("preparing")
        corpus = prepare(file, self.console, self.teller.prepares)
        self.teller.enters("starting")
        with self._stage("planning") as tell:
            plan = as_begun(planned(file, corpus, store, tell), begun)
        with self._stage("opening the record") as tell:
            recorder = stack.enter_context(begin(plan, store, tell))
        self.teller.show_by(recorder.show_now)
        if store is not None and (since := recorder.trouble):
            self._say(f"{since}; {FROM_JOURNAL}")
        with Stages(self.console) as bars:
            handing = "hand the tokens to the workers"
            plan.exchange.publish(plan.corpus, lambda done, total: bars.advance(handing, done, total, "bytes"))
        self.interrupts.check()
        return plan, recorder

    def train(
        self,
        plan: Plan,
        recorder: Recorder,
        retry_failed: bool,
        asked: Callable[[], Wish | None],
        notifier: Notifier | None = None,
    ) -> tuple[Loop, Answer]:
        """The loop, to the study's answer.

        Raises:
            ConfigError, SearchError, TrackingError: there is none.
        """
        with ExitStack() as running:
            with self._stage("starting the workers"):
                name = f"{self.file.tracking.experiment}/{self.file.study}"
                workers = running.enter_context(executor(self.file.executor, name, self.file.file.parent))
            self.teller.expects(plan.confirmation_flops)
            others = [self.teller] if notifier is None else [self.teller, notifier]
            watcher = Several(running.enter_context(watcher_for(self.console)), *others)
            study = Loop(plan, recorder, workers, watcher, retry_failed, asked)
            answer = study.run()
        self.teller.enters("finishing")
        return study, answer

    def finish(self, plan: Plan, recorder: Recorder, study: Loop, answer: Answer) -> None:
        """The last of the record, and the report.

        Raises:
            TrackingAway: MLflow does not take the record; the journal keeps it.
        """
        if away := recorder.trouble:
            self.console.print(f"{away}; {recorder.unsent} records wait for it", soft_wrap=True)
        with self._shown("bringing the last records to MLflow"):
            study.finish()
        if away or study.mlflow_is_away:
            self._say("MLflow is back, and has every record")
        try:
            with self._shown("writing the report"):
                _write_report(plan, recorder, study, answer)
        except Exception as error:
            # Whatever it is, the study has its answer, and a report can be made again.
            log.exception("the report is not complete")
            reason = str(error) if isinstance(error, ExplainedError | OSError) else f"{type(error).__name__}: {error}"
            said = f"the report is not complete: {reason}; mixopt report {self.file.file}"
            self.console.print(said, soft_wrap=True)

    def _say(self, text: str) -> None:
        log.warning(text)
        self.console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def _stage(self, doing: str) -> Iterator[Callable[[str], None]]:
        """As `_shown`; who was interrupted meanwhile ends after it."""
        with self._shown(doing) as tell:
            yield tell
        self.interrupts.check()

    @contextmanager
    def _shown(self, doing: str) -> Iterator[Callable[[str], None]]:
        """A line for what takes a while; gives what puts in its place, or in a log below it, what that waits for."""
        said: set[str] = set()
        with self.console.status(doing) as status, self.teller.busy(doing):

            def tell(remark: str) -> None:
                status.update(Text(remark))
                self.teller.waits(remark)
                if remark in said:
                    return
                said.add(remark)
                log.info(remark)
                if not self.console.is_terminal:
                    self.console.print(remark, soft_wrap=True)

            yield tell
            self.teller.waits(None)


@contextmanager
def _logged(file: StudyFile) -> Iterator[None]:
    """How a run begins and ends."""
    log.info("mixopt %s runs %s as process %d of %s", VERSION, file.file, os.getpid(), socket.gethostname())
    try:
        yield
    except KeyboardInterrupt:
        log.warning("interrupted")
        raise
    except (ExplainedError, ProxyError) as mistake:
        log.error("the run ended: %s", mistake)
        log.debug("here", exc_info=True)
        raise
    except Exception:
        log.exception("the run ended")
        raise
    log.info("the study has ended")


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
