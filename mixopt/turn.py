"""One turn of a study that another trainer trains: somebody asks for trials, or tells what became of them.

No driver runs between turns. Each takes the study's lock, reads the journal, lets the loop of mixopt/study/loop.py go
on until it would wait for somebody, and lets go: what is recorded is whole whenever a client dies, and a turn that was
cut short is simply taken again.

What somebody asks of the study (`mixopt pause`, `stop`) is heeded by the turns that follow, until it is taken back.
"""

from __future__ import annotations

import getpass
import logging
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Literal

from rich.console import Console

from mixopt.base.errors import ConfigError
from mixopt.base.files import locked
from mixopt.base.log import logging_to
from mixopt.base.shown import shown_name
from mixopt.results.answer import Answer
from mixopt.results.turns import AskedTrial, AskedTrials, AttachedRuns, ToldTrials
from mixopt.runs.table import read_all
from mixopt.runs.tables.reading import TableSource
from mixopt.settings.schema import StudyFile
from mixopt.study import wishes
from mixopt.study.attaching import runs_as_trials
from mixopt.study.loop import Loop
from mixopt.study.plan import Plan
from mixopt.study.planning import check_settings, make_plan
from mixopt.study.progress import Watcher
from mixopt.study.queue import became_of, broken_by, confirmation_began, queued, trials_of
from mixopt.study.record import check_begun, reach_store
from mixopt.study.recording import begin
from mixopt.study.telling import Heard
from mixopt.study.wishes import Wish
from mixopt.workers.foreign import Order
from mixopt.workers.turn import Turn, TurnOver
from search.history import History
from search.seeds import is_of_search
from search.trial import Failure, Measurement
from tracking import keys
from tracking.record import Record
from tracking.recorder import Recorder

log = logging.getLogger(__name__)

# One after the other has its turn, and a turn may fit a surrogate.
TURN_WITHIN_SECONDS = 600.0
# MLflow has so long for what a turn recorded; the next one sends the rest.
SENT_WITHIN_SECONDS = 10.0
# Why a study gives out no new trials.
HALTED: Mapping[Wish | None, Literal["paused", "stopped"]] = MappingProxyType(
    {Wish.PAUSE: "paused", Wish.STOP: "stopped"}
)

Outcome = Measurement | Failure


def this_client() -> str:
    """Who asks, where nobody says: the user on this machine."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container's user may have no name
        return socket.gethostname()


def ask(file: StudyFile, count: int, client: str, console: Console) -> AskedTrials:
    """At most `count` trials for a client: those that it has not told of yet, then new ones.

    Asked twice, the same trials are given; fewer than `count` where nothing more is known to be worth training before
    others are told, or the study is paused; and none, with the answer, where nothing is left, or it was stopped.

    Raises:
        ConfigError, SearchError, TrackingError: the study cannot be taken up.
    """
    with _taken_up(file, console) as (plan, recorder):
        wish = wishes.asked(file.work_directory)
        open_now = {trial.id: trial for trial in recorder.begun.history.running}
        # In the order in which they were asked for.
        owed = [trial for trial, owner in recorder.begun.clients.items() if owner == client and trial in open_now]
        own = [open_now[trial] for trial in owed]
        turn, answer = Turn(open_now, max(0, count - len(own)), client=client), None
        if count > len(own) and wish in (None, Wish.CONFIRM):
            answer = _ended_before(plan, recorder.begun) or _take(turn, plan, recorder, console, wish)
        elif wish is Wish.STOP:
            own, answer = [], _written(recorder.begun)
        new = [order for trial_id, order in turn.orders.items() if trial_id not in open_now]
        orders = [plan.order(trial) for trial in own[:count]] + new
        return AskedTrials(
            study=file.study,
            client=client,
            trials=_asked(orders),
            new=len(new),
            others=len(open_now) - len(owed),
            ended=answer is not None or wish is Wish.STOP,
            verdict=None if answer is None else answer.verdict,
            halted=HALTED.get(wish),
        )


def ask_again(file: StudyFile, trial: str, client: str, console: Console) -> AskedTrials:
    """A trial that failed, to be trained once more by this client; one that is open already is given as it is.

    Raises:
        ConfigError: it was never asked for, or is measured; as `ask`.
    """
    with _taken_up(file, console) as (plan, recorder):
        history = recorder.begun.history
        known = {each.id: each for each in history.trials}
        if trial not in known:
            raise _unknown(trial)
        if trial in history.measured_ids:
            raise ConfigError(
                f"trial {trial} is measured already", hint="a record is not changed; ask for other trials"
            )
        is_open = known[trial] in history.running
        if not is_open:
            recorder.open(known[trial], plan.strategy.foreseen(known[trial]), client)
            recorder.tell(keys.ACTIVITY_WAITING)
        return AskedTrials(
            study=file.study,
            client=client,
            trials=_asked([plan.order(known[trial])]),
            new=0 if is_open else 1,
            others=sum(recorder.begun.clients.get(each.id) != client for each in history.running if each.id != trial),
            ended=False,
            verdict=None,
        )


def stop(file: StudyFile, console: Console) -> Answer | None:
    """Answer from what was told so far; until somebody asks the study to go on, it gives out no more trials.

    None where it ended without an answer.

    Raises:
        SearchError: what was told is not enough for one.
        ConfigError, TrackingError: the study cannot be taken up.
    """
    wishes.ask(file.work_directory, Wish.STOP)
    with _taken_up(file, console) as (plan, recorder):
        open_now = [trial.id for trial in recorder.begun.history.running]
        return _take(Turn(open_now), plan, recorder, console, Wish.STOP)


def _asked(orders: Iterable[Order]) -> tuple[AskedTrial, ...]:
    return tuple(AskedTrial.model_validate(order.plain()) for order in orders)


def tell(file: StudyFile, hear: Callable[[Mapping[str, Order]], Heard], console: Console) -> ToldTrials:
    """Record what became of trials that are open.

    Args:
        hear: what became of them; given all that were ever asked for, by id.

    Raises:
        ConfigError: a trial was never asked for, or has another outcome already; or what was told cannot be it.
    """
    with _taken_up(file, console) as (plan, recorder):
        history = recorder.begun.history
        orders = {trial.id: plan.order(trial) for trial in history.trials}
        heard = hear(orders)
        outcomes = {trial: _outcome(orders, trial, told) for trial, told in heard.told.items()}
        _check_unchanged(outcomes, history)
        open_now = {trial.id for trial in history.running}
        fresh = {trial: outcome for trial, outcome in outcomes.items() if trial in open_now}
        answer = None
        if fresh or not open_now:
            # What is told of a study that is paused, or stopped, is recorded all the same.
            wish = wishes.asked(file.work_directory)
            wish = wish if wish is Wish.CONFIRM else None
            answer = _take(Turn(open_now, told=fresh), plan, recorder, console, wish)
        return ToldTrials(
            study=file.study,
            recorded=tuple(fresh),
            failed={trial: why.message or why.kind for trial, why in fresh.items() if isinstance(why, Failure)},
            known=tuple(trial for trial in outcomes if trial not in open_now),
            left_out=heard.left_out,
            still_open=len(open_now) - len(fresh),
            ended=answer is not None,
            verdict=None if answer is None else answer.verdict,
        )


def _ended_before(plan: Plan, record: Record) -> Answer | None:
    """The answer in which the study ended, where nothing is left to train; None where there is more."""
    answer, history = _written(record), record.history
    if answer is None or history.running:
        return None
    if not confirmation_began(history) and _is_waited_for(plan, history):
        return None
    if not answer.ended or answer.trials.completed != len(history.completed) or plan.strategy.ask(history, 1):
        return None
    return answer if answer.confirmed or not plan.file.confirm.candidates else None


def _written(record: Record) -> Answer | None:
    """The answer that is recorded, whether the study has ended or not."""
    written = record.written.get(keys.ANSWER)
    return None if written is None else Answer.read(written)


def _is_waited_for(plan: Plan, history: History) -> bool:
    """Whether somebody has queued what is yet to be trained."""
    found = became_of(queued(plan.file.work_directory), history, plan.problem.target.proxy, broken_by(plan.problem))
    return bool(trials_of(found, plan.problem))


def attach(file: StudyFile, source: TableSource, proxy: str | None, console: Console) -> AttachedRuns:
    """Record runs that were trained before, as trials of the study: they count in its budget, and it goes on from them.

    Runs of one mixture are repeats, with seeds of their own; one with the losses of a trial is that trial.

    Args:
        proxy: whose they are, where the table's fidelities are not called as the proxies. Default: the last.

    Raises:
        ConfigError: the table has other domains than the study, or lacks a metric; or there is no such proxy.
    """
    runs, notes = read_all(source)
    with _taken_up(file, console, kinds=("external", "command")) as (plan, recorder):
        history, before = recorder.begun.history, recorder.begun.tags.get(keys.ACTIVITY)
        found = runs_as_trials(runs, plan.problem, history, proxy)
        for trial, losses in found.trials.items():
            outcome = plan.order(trial).outcome({"losses": losses})
            recorder.open(trial)
            history = history.opened(trial).closed(trial, outcome)
            standing = plan.problem.standing(trial, history)
            recorder.close_trial(trial, outcome, None if standing is None else standing.objective)
        if before is None and file.executor.kind == "external":
            recorder.tell(keys.ACTIVITY_WAITING)
        return AttachedRuns(
            study=file.study,
            attached=tuple(trial.id for trial in found.trials),
            known=found.known,
            left_out=(*found.left_out, *notes),
        )


def _outcome(orders: Mapping[str, Order], trial: str, told: object) -> Outcome:
    """
    Raises:
        ConfigError: what was told cannot be it; or nobody asked for such a trial.
    """
    if trial not in orders:
        raise _unknown(trial)
    try:
        return orders[trial].outcome(told)
    except ConfigError as error:
        raise ConfigError(f"trial {trial}: {error.message}", error.hint) from error


def _unknown(trial: str) -> ConfigError:
    return ConfigError(f"no trial {shown_name(trial)} was asked for", hint="mixopt trials lists them")


def _check_unchanged(outcomes: Mapping[str, Outcome], history: History) -> None:
    """
    Raises:
        ConfigError: something else was told of a trial before.
    """
    measured = {entry.trial.id: entry.measurement for entry in history.completed}
    failed = {entry.trial.id: entry.failure for entry in history.failed}
    for trial_id, outcome in outcomes.items():
        before = measured.get(trial_id) or failed.get(trial_id)
        if before is None:
            continue
        same = (
            isinstance(before, Measurement) and isinstance(outcome, Measurement) and before.losses == outcome.losses
        ) or (isinstance(before, Failure) and isinstance(outcome, Failure))
        if not same:
            raise ConfigError(
                f"trial {trial_id} is recorded already, with another outcome",
                hint=f"a record is not changed; to train it once more: mixopt ask --again {trial_id}"
                if isinstance(before, Failure)
                else "a record is not changed; ask for other trials",
            )


@contextmanager
def _taken_up(
    file: StudyFile, console: Console, kinds: tuple[str, ...] = ("external",)
) -> Iterator[tuple[Plan, Recorder]]:
    """The study, for this process alone, as it was left."""
    if file.executor.kind not in kinds:
        raise ConfigError(
            f"{file.file}: executor.kind is {file.executor.kind}: its trials are not asked for",
            hint="mixopt run trains them; set executor.kind: external for a trainer of your own",
        )
    check_settings(file)
    with (
        console.status("waiting for its turn"),
        locked(file.work_directory, f"study {file.study}", TURN_WITHIN_SECONDS),
        logging_to(file.work_directory),
    ):
        store = reach_store(file, log.warning, log.warning)
        check_begun(file, store)
        plan = make_plan(file, None)
        recorder = begin(plan, store, log.info)
        try:
            yield plan, recorder
        finally:
            # Whatever ends the turn, a mistake of whoever has it too: the study waits, and its trials train on.
            recorder.leave(SENT_WITHIN_SECONDS)
        if recorder.trouble is not None:
            console.print(f"{recorder.trouble}; the next turn sends what it lacks", soft_wrap=True)


def _take(turn: Turn, plan: Plan, recorder: Recorder, console: Console, wish: Wish | None) -> Answer | None:
    """Let the study go on as far as this turn goes; the answer, where it came to its end.

    Args:
        wish: what somebody asks of it.
    """
    # What ended the search was said when it did.
    confirming = any(not is_of_search(trial.seed) for trial in recorder.begun.history.trials)
    loop = Loop(plan, recorder, turn, Watcher() if confirming else _Remarks(console), asked=lambda: wish)
    activity = keys.ACTIVITY_WAITING
    try:
        answer = loop.run()
        activity = keys.ACTIVITY_ENDED
    except TurnOver:
        return None
    finally:
        recorder.tell(activity)
    recorder.finish()
    return answer


class _Remarks(Watcher):
    """What a careful reader wants to know, and nothing of trials, which train elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def remark(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
