"""How far a study is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Literal, cast, get_args

from mixopt.results.answer import Answer
from mixopt.results.queue import QueuedMixture
from mixopt.results.reused import Reused
from mixopt.results.status import (
    Activity,
    AnswerInShort,
    BestSoFar,
    EndedTrial,
    FailedTrial,
    Improvement,
    MetricNoise,
    NoiseFloor,
    Phase,
    Progress,
    Status,
    TrialCount,
    TrialInTraining,
    TrialStates,
)
from mixopt.runs.taken import Taken
from mixopt.settings.space import space_declared
from mixopt.study.clock import Seconds
from mixopt.study.inventory import pool_changes
from mixopt.study.now import Now, now_of
from mixopt.study.queue import became_of, broken_limit, queued
from mixopt.study.record import HasNotRun, is_submitted, journal_path, read_record
from mixopt.study.standings import Standings
from mixopt.study.wishes import Wish, asked, driver
from mixopt.study.wishes import activity as activity_of
from proxies.device import SLOWER
from search.history import Completed, Failed, History
from search.noise import NoiseFloor as MeasuredNoise
from search.noise import measure_noise
from search.problem import BASELINE
from search.seeds import is_of_search
from search.urls import fit_to_show
from tracking import keys
from tracking.errors import TrackingError
from tracking.record import Record, Subject

if TYPE_CHECKING:
    from mixopt.settings.schema import StudyFile
    from search.trial import Trial

# Of the trials that ended last.
LATELY = 4


def status_of(file: StudyFile, lately: int = LATELY) -> Status:
    """How far the study of this file is, as can be seen from this machine; also before anything is recorded of it.

    Raises:
        HasNotRun: it has not run, and nobody is about to.
        ConfigError, TrackingError: as `read_record`, and `build_status`.
    """
    try:
        record = read_record(file, apart_from="inventory")
    except (HasNotRun, TrackingError):
        # Its driver may be preparing the text, or wait for the MLflow that would have been asked.
        if driver(file.work_directory) is None:
            raise
        if journal_path(file).exists():  # by now, or what is wrong with it is said again
            record = read_record(file, apart_from="inventory")
        else:
            record = Record(Subject(file.study, None, ""), History(), {}, {}, {})
    return build_status(record, file.tracking_uri, file, lately=lately)


def build_status(
    record: Record,
    tracking_uri: str,
    file: StudyFile | None = None,
    job_has_ended: bool | None = None,
    lately: int = LATELY,
) -> Status:
    """How far the study is.

    Args:
        file: says what is asked, where the record does not, and where to look for its driver.
        job_has_ended: of a study that runs, or ran, as a job: whether that job has ended.
        lately: so many of the trials that ended last are told.

    Raises:
        ConfigError: the recorded answer cannot be read.
    """
    history, recorded = record.history, record.written.get(keys.ANSWER)
    activity, who = activity_now(record, file, job_has_ended)
    going_on = _count(history.running)
    nobody = activity in (keys.ACTIVITY_PAUSED, keys.ACTIVITY_INTERRUPTED, keys.ACTIVITY_ENDED)
    now = _now(record, file, activity, who)
    standings = Standings.of(record, file)
    noise = None if standings is None else _measured_noise(standings)
    return Status(
        study=record.subject.study,
        activity=activity,
        driver=who,
        phase=_phase(record, now, activity),
        doing=None if now is None else now.doing,
        waits=None if now is None else now.waits,
        known_at=_known_at(record, now),
        progress=_progress(record, now, _phase(record, now, activity)),
        mlflow_away=None if file is None else _mlflow_away(record, file),
        trials=TrialStates(
            completed=_count(entry.trial for entry in history.completed),
            stopped=_count(entry.trial for entry in history.stopped),
            running=_count(()) if nobody else going_on,
            interrupted=going_on if nobody else _count(()),
            failed=_count(entry.trial for entry in history.failed),
        ),
        training=() if nobody else _training(record, now),
        lately=_lately(record, standings, lately),
        best=None if standings is None else _best(standings, noise),
        flops=history.flops,
        training_seconds=sum(
            entry.measurement.seconds / int(entry.measurement.environment.get("pack", 1))  # they took them together
            for entry in (*history.completed, *history.stopped)
        ),
        search_seconds=Seconds.recorded(record.tags).search if keys.SEARCH_SECONDS in record.tags else None,
        time_budget=None if file is None else file.budget.time,
        slower=_slower(history),
        restarts=record.restarts,
        failures=tuple(
            FailedTrial(
                trial=entry.trial.id,
                origin=entry.trial.origin,
                kind=entry.failure.kind.value,
                message=entry.failure.message,
            )
            for entry in history.failed
        ),
        queue=() if file is None else queue_of(file, history),
        noise=None if file is None or noise is None else _noise(noise, file.confirm.seeds),
        answer=None if recorded is None else _in_short(Answer.read(recorded)),
        tracking_uri=fit_to_show(tracking_uri),
        pool_changes=() if file is None else pool_changes(file, record),
        reused=_reused(record),
    )


def _reused(record: Record) -> Reused | None:
    written = record.written.get(keys.REUSED)
    return None if written is None else Taken.read(written).reused


def queue_of(file: StudyFile, history: History) -> tuple[QueuedMixture, ...]:
    """What was queued in the study's folder, and what became of it, as far as can be told without its text.

    Raises:
        ConfigError: the queue is damaged.
    """
    waiting = queued(file.work_directory)
    if not waiting:
        return ()
    return became_of(waiting, history, list(file.proxies)[-1], partial(broken_limit, space_declared(file)))


def activity_now(
    record: Record, file: StudyFile | None, job_has_ended: bool | None = None
) -> tuple[Activity | None, str | None]:
    """What the study's driver is at, and who that is where it can be seen from here.

    What the driver recorded last holds, where nothing says that it is gone; a driver that sees the same folder as this
    machine is known by its lock, and heeds at once what is asked of it there.
    """
    told = record.tags.get(keys.ACTIVITY)
    activity = cast("Activity | None", told if told in get_args(Activity) else None)
    is_over = activity == keys.ACTIVITY_ENDED or (activity is None and _has_ended(record))
    over: Activity = "ended" if is_over else "interrupted"
    if job_has_ended is not None:
        return (over if job_has_ended else activity), None
    if file is None or is_submitted(file):
        return activity, None
    runs = driver(file.work_directory)
    if runs is None:
        # Between turns nobody runs a study whose trials are trained elsewhere.
        if activity == keys.ACTIVITY_WAITING:
            return _between_turns(record, asked(file.work_directory)), None
        return (over if journal_path(file).exists() else activity), None
    # Whether it trains anything the driver knows alone: an open trial may be an interrupted one.
    trains = activity != keys.ACTIVITY_PAUSED
    return activity_of(asked(file.work_directory), trains), runs


def _between_turns(record: Record, wish: Wish | None) -> Activity:
    """What a study is at whose trials are trained elsewhere, where somebody has asked this of the turns to come."""
    if wish is Wish.STOP:
        return "ended"
    return activity_of(wish, trains=bool(record.history.running)) if wish is Wish.PAUSE else "waiting"


def _mlflow_away(record: Record, file: StudyFile) -> str | None:
    from tracking import keys
    from tracking.journal import count_unsent

    why, path = record.tags.get(keys.AWAY), journal_path(file)
    unsent = count_unsent(path) if why and path.exists() and not is_submitted(file) else 0
    return f"{why}; {unsent} records wait for it" if unsent else None


def _has_ended(record: Record) -> bool:
    """Of a study whose driver told nothing, as those of versions before 0.2 did not."""
    answer = record.written.get(keys.ANSWER)
    return answer is not None and Answer.read(answer).ended and not record.history.running


def _now(record: Record, file: StudyFile | None, activity: Activity | None, who: str | None) -> Now | None:
    """What the driver says of itself, in its folder or in MLflow; None where it says nothing, or is gone."""
    if activity in (keys.ACTIVITY_INTERRUPTED, keys.ACTIVITY_ENDED):
        return None
    if file is not None and who is not None:
        return now_of(file.work_directory, who)
    return Now.read(record.now)


def _phase(record: Record, now: Now | None, activity: Activity | None) -> Phase | None:
    """As the driver says; else as far as it had come by what is recorded."""
    if activity == keys.ACTIVITY_ENDED:
        return "ended"
    if now is not None:
        return now.phase
    trials = record.history.trials
    if not trials:
        return None
    return "search" if all(is_of_search(trial.seed) for trial in trials) else "confirming"


def _progress(record: Record, now: Now | None, phase: Phase | None) -> Progress | None:
    if now is not None and now.ended is not None and now.expected is not None:
        return Progress(
            ended=now.ended,
            expected=now.expected,
            tokens_per_second=now.tokens_per_second,
            seconds_left=now.seconds_left,
            seconds_left_in_all=now.seconds_left_in_all,
        )
    # The driver reports all trials together, and what it expects of the confirmation once that has begun.
    ended, expected = (record.metrics.get(key) for key in (keys.ENDED_TRIALS, keys.EXPECTED_TRIALS))
    if phase not in ("search", "confirming") or ended is None or expected is None:
        return None
    return Progress(ended=round(ended), expected=round(expected))


def _known_at(record: Record, now: Now | None) -> str | None:
    moments = [moment for moment in (None if now is None else round(1000 * now.at), record.told_at) if moment]
    return shown_moment(max(moments)) if moments else None


def shown_moment(milliseconds: int | None) -> str | None:
    """A moment of Unix time in UTC, ISO 8601."""
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def _training(record: Record, now: Now | None) -> tuple[TrialInTraining, ...]:
    """What is open by the record, and of each how far its driver has seen it."""
    told = {} if now is None else {each.trial: each for each in now.training}
    return tuple(told.get(trial.id) or _open(trial, record) for trial in record.history.running)


def _open(trial: Trial, record: Record) -> TrialInTraining:
    began = record.opened_at.get(trial.id)
    return TrialInTraining(
        trial=trial.id,
        origin=trial.origin,
        proxy=trial.fidelity.proxy,
        seed=trial.seed,
        tokens=trial.fidelity.tokens,
        seconds=None if began is None else round(max(time.time() - began / 1000, 0.0), 1),
    )


def _lately(record: Record, standings: Standings | None, most: int) -> tuple[EndedTrial, ...]:
    history = record.history
    entries: dict[str, Completed | Failed] = {
        **{entry.trial.id: entry for entry in (*history.completed, *history.stopped)},
        **{entry.trial.id: entry for entry in history.failed},
    }
    last = list(islice((entries[each] for each in reversed(record.ended) if each in entries), most))[::-1]
    objectives = {} if standings is None else standings.standings(entry.trial for entry in last)
    return tuple(
        _ended(entry, objectives[entry.trial.id].objective if entry.trial.id in objectives else None, record)
        for entry in last
    )


def _slower(history: History) -> tuple[str, ...]:
    measured = (*history.completed, *history.stopped)
    found = Counter(
        (entry.trial.fidelity.proxy, entry.measurement.environment[SLOWER])
        for entry in measured
        if SLOWER in entry.measurement.environment
    )
    return tuple(
        f"{count} {'trials' if count > 1 else 'trial'} of {proxy} trained slower than asked: {why}"
        for (proxy, why), count in found.most_common()
    )


def _ended(entry: Completed | Failed, objective: float | None, record: Record) -> EndedTrial:
    trial, state = entry.trial, state_of(entry)
    seconds = entry.failure.seconds if isinstance(entry, Failed) else entry.measurement.seconds
    return EndedTrial(
        trial=trial.id,
        origin=trial.origin,
        proxy=trial.fidelity.proxy,
        seed=trial.seed,
        state=state,
        objective=objective,
        seconds=seconds,
        ended=shown_moment(record.closed_at.get(trial.id)),
    )


def state_of(entry: Completed | Failed) -> Literal["completed", "stopped", "failed"]:
    if isinstance(entry, Failed):
        return "failed"
    return "completed" if entry.measurement.stopped_at is None else "stopped"


def _best(standings: Standings, noise: MeasuredNoise | None) -> BestSoFar | None:
    """The search trial that stands first at the target; the earliest of equals."""
    searched = standings.searched
    if not searched:
        return None
    improvements, best = [], searched[0]
    for number, each in enumerate(searched, start=1):
        if number == 1 or each[1].order < best[1].order:
            best = each
            improvements.append(Improvement(after=number, objective=each[1].objective))
    baselines = [each for each in searched if each[0].origin.startswith(BASELINE)]
    baseline = min(baselines, key=lambda each: each[1].order, default=None)
    trial, standing = best
    return BestSoFar(
        trial=trial.id,
        origin=trial.origin,
        objective=standing.objective,
        unit=standings.objective.unit,
        allowed=standing.allowed,
        mixture=trial.mixture.as_dict(),
        of=len(searched),
        baseline=None if baseline is None else baseline[0].origin.removeprefix(BASELINE),
        baseline_objective=None if baseline is None else baseline[1].objective,
        difference=None if baseline is None else standing.objective - baseline[1].objective,
        resolves=None if noise is None else noise.objective.resolves(1) or None,
        improvements=tuple(improvements),
    )


def _measured_noise(standings: Standings) -> MeasuredNoise | None:
    there = standings.at_target
    # Of a baseline that was not trained there nothing is told.
    against = standings.baseline
    trained = against is not None and any(entry.trial.mixture.same_as(against) for entry in there)
    return measure_noise(standings.objective, there, against if trained else None)


def _noise(found: MeasuredNoise, seeds: int) -> NoiseFloor:
    resolves = found.objective.resolves(seeds)
    return NoiseFloor(
        mixtures=found.mixtures,
        freedom=found.objective.freedom,
        objective=MetricNoise(run_sd=found.objective.run_sd, seed_sd=found.objective.seed_sd),
        metrics={name: MetricNoise(run_sd=each.run_sd, seed_sd=each.seed_sd) for name, each in found.metrics.items()},
        seeds=seeds,
        resolves=resolves,
        seeds_for_half=found.objective.seeds_for(resolves / 2) if resolves else seeds,
    )


def _count(trials: Iterable[Trial]) -> TrialCount:
    by_proxy = Counter(trial.fidelity.proxy for trial in trials)
    return TrialCount(total=by_proxy.total(), by_proxy=dict(by_proxy))


def _in_short(answer: Answer) -> AnswerInShort:
    return AnswerInShort(mixture=answer.mixture, confirmed=answer.confirmed, verdict=answer.verdict)
