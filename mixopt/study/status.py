"""How far a study is, and what its corpus holds, as plain data."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proxies.data.corpus import Corpus
    from tracking.record import Record


def corpus_document(corpus: Corpus) -> dict[str, Any]:
    domains = {
        name: {
            "documents": domain.documents,
            "train_tokens": domain.train_tokens,
            "validation_tokens": domain.validation_tokens,
            "mean_document_tokens": domain.mean_document_tokens,
            "dropped_empty": domain.dropped_empty,
            "dropped_contaminated": domain.dropped_contaminated,
        }
        for name, domain in corpus.domains.items()
    }
    return {
        "directory": str(corpus.directory),
        "fingerprint": corpus.fingerprint,
        "vocabulary": corpus.vocabulary,
        "domains": domains,
        "evaluation_sets": list(corpus.evaluation_sets),
    }


def status_document(record: Record, tracking_uri: str) -> dict[str, Any]:
    from tracking import names

    history = record.history
    states = {
        "completed": [entry.trial for entry in history.completed],
        "stopped": [entry.trial for entry in history.stopped],
        "running": list(history.running),
        "failed": [entry.trial for entry in history.failed],
    }
    answer = record.written.get(names.ANSWER)
    return {
        "study": record.subject.study,
        "trials": {
            state: {"total": len(trials), "by_proxy": dict(Counter(trial.fidelity.proxy for trial in trials))}
            for state, trials in states.items()
        },
        "flops": history.flops,
        "training_seconds": sum(
            entry.measurement.seconds / int(entry.measurement.environment.get("pack", 1))  # they took them together
            for entry in (*history.completed, *history.stopped)
        ),
        "restarts": record.restarts,
        "failures": [
            {"trial": entry.trial.id, "origin": entry.trial.origin, "kind": entry.failure.kind.value}
            | {"message": entry.failure.message}
            for entry in history.failed
        ],
        "answer": answer
        and {"mixture": answer["mixture"], "confirmed": answer["confirmed"], "verdict": answer["verdict"]},
        "tracking_uri": tracking_uri,
    }
