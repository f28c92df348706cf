"""How far a study is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast, get_args

from mixopt.results.answer import Answer
from mixopt.results.status import (
    Activity,
    AnswerInShort,
    FailedTrial,
    MetricNoise,
    NoiseFloor,
    Status,
    TrialCount,
    TrialStates,
)
from mixopt.study.inventory import pool_changes
from mixopt.study.record import is_submitted, journal_path
from mixopt.study.wishes import activity as activity_of
from mixopt.study.wishes import asked, driver
from search.urls import fit_to_show

if TYPE_CHECKING:
    from mixopt.settings.schema import StudyFile
    from search.history import History
    from search.trial import Trial
    from tracking.record import Record


def build_status(
    record: Record, tracking_uri: str, file: StudyFile | None = None, job_has_ended: bool | None = None
) -> Status:
    """How far the study is.

    Args:
        file: says what the objective is, without which nothing is known of its noise, and where to look for its driver.
        job_has_ended: of a study that runs, or ran, as a job: whether that job has ended.

    Raises:
        ConfigError: the recorded answer cannot be read.
    """
    from tracking import keys

    history, recorded = record.history, record.written.get(keys.ANSWER)
    activity, who = _activity(record, file, job_has_ended)
    going_on = _count(history.running)
    nobody = activity in (keys.ACTIVITY_PAUSED, keys.ACTIVITY_INTERRUPTED, keys.ACTIVITY_ENDED)
    return Status(
        study=record.subject.study,
        activity=activity,
        driver=who,
        mlflow_away=None if file is None else _mlflow_away(record, file),
        trials=TrialStates(
            completed=_count(entry.trial for entry in history.completed),
            stopped=_count(entry.trial for entry in history.stopped),
            running=_count(()) if nobody else going_on,
            interrupted=going_on if nobody else _count(()),
            failed=_count(entry.trial for entry in history.failed),
        ),
        flops=history.flops,
        training_seconds=sum(
            entry.measurement.seconds / int(entry.measurement.environment.get("pack", 1))  # they took them together
            for entry in (*history.completed, *history.stopped)
        ),
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
        noise=None if file is None else _noise(history, file),
        answer=None if recorded is None else _in_short(Answer.read(recorded)),
        tracking_uri=fit_to_show(tracking_uri),
        pool_changes=() if file is None else pool_changes(file, record),
    )


def _activity(record: Record, file: StudyFile | None, job_has_ended: bool | None) -> tuple[Activity | None, str | None]:
    """What the study's driver is at, and who that is where it can be seen from here.

    What the driver recorded last holds, where nothing says that it is gone; a driver that sees the same folder as this
    machine is known by its lock, and heeds at once what is asked of it there.
    """
    from tracking import keys

    told = record.tags.get(keys.ACTIVITY)
    activity = cast("Activity | None", told if told in get_args(Activity) else None)
    is_over = activity == keys.ACTIVITY_ENDED or (activity is None and _has_ended(record))
    over: Activity = "ended" if is_over else "interrupted"
    if job_has_ended is not None:
        return (over if job_has_ended else activity), None
    if file is None or not journal_path(file).exists() or is_submitted(file):
        return activity, None
    runs = driver(file.work_directory)
    if runs is None:
        # Between turns nobody runs a study whose trials are trained elsewhere.
        return activity if activity == keys.ACTIVITY_WAITING else over, None
    # Whether it trains anything the driver knows alone: an open trial may be an interrupted one.
    trains = activity != keys.ACTIVITY_PAUSED
    return activity_of(asked(file.work_directory), trains), runs


def _mlflow_away(record: Record, file: StudyFile) -> str | None:
    from tracking import keys
    from tracking.journal import count_unsent

    why, path = record.tags.get(keys.AWAY), journal_path(file)
    unsent = count_unsent(path) if why and path.exists() and not is_submitted(file) else 0
    return f"{why}; {unsent} records wait for it" if unsent else None


def _has_ended(record: Record) -> bool:
    """Of a study whose driver told nothing, as those of versions before 0.2 did not."""
    from tracking import keys

    answer = record.written.get(keys.ANSWER)
    return answer is not None and Answer.read(answer).ended and not record.history.running


def _noise(history: History, file: StudyFile) -> NoiseFloor | None:
    from mixopt.study.objective import objective_of
    from search.noise import measure_noise
    from search.problem import BASELINE

    objective, target, seeds = objective_of(file), list(file.proxies)[-1], file.confirm.seeds
    there = [entry for entry in history.completed if entry.trial.fidelity.proxy == target]
    named = (entry.trial.mixture for entry in there if entry.trial.origin == f"{BASELINE}{objective.baseline}")
    found = measure_noise(objective, there, next(named, None))
    if found is None:
        return None
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
