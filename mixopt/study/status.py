"""How far a study is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mixopt.results.answer import Answer
from mixopt.results.status import AnswerInShort, FailedTrial, Status, TrialCount, TrialStates

if TYPE_CHECKING:
    from search.trial import Trial
    from tracking.record import Record


def build_status(record: Record, tracking_uri: str) -> Status:
    """How far the study is.

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
        answer=None if recorded is None else _in_short(Answer.read(recorded)),
        tracking_uri=tracking_uri,
    )


def _count(trials: Iterable[Trial]) -> TrialCount:
    by_proxy = Counter(trial.fidelity.proxy for trial in trials)
    return TrialCount(total=by_proxy.total(), by_proxy=dict(by_proxy))


def _in_short(answer: Answer) -> AnswerInShort:
    return AnswerInShort(mixture=answer.mixture, confirmed=answer.confirmed, verdict=answer.verdict)
