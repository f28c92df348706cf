"""How far a study is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mixopt.results.answer import Answer
from mixopt.results.status import (
    AnswerInShort,
    FailedTrial,
    MetricNoise,
    NoiseFloor,
    Status,
    TrialCount,
    TrialStates,
)
from mixopt.study.inventory import pool_changes
from search.shown import fit_to_show

if TYPE_CHECKING:
    from mixopt.settings.schema import StudyFile
    from search.history import History
    from search.trial import Trial
    from tracking.record import Record


def build_status(record: Record, tracking_uri: str, file: StudyFile | None = None) -> Status:
    """How far the study is.

    Args:
        file: says what the objective is, without which nothing is known of its noise.

    Raises:
        ConfigError: the recorded answer cannot be read.
    """
    from tracking import keys

    history, recorded = record.history, record.written.get(keys.ANSWER)
    return Status(
        study=record.subject.study,
        trials=TrialStates(
            completed=_count(entry.trial for entry in history.completed),
            stopped=_count(entry.trial for entry in history.stopped),
            running=_count(history.running),
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
