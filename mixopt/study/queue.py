"""Mixtures that somebody wants trained: a file beside the study's journal, one JSON line each, in the order of asking.

    mixopt explore ──enqueue──▶ queue.jsonl ◀──looks whenever a trial may begin── the driver

The driver takes them as trials at the target before it asks its strategy, until a confirmation has begun: what is
confirmed was chosen from the search as it was, and is not to be chosen anew by who has seen its results. A search that
goes on all the same, with more trials or a larger budget, takes them again.

A line stays: what became of it is known from the history, where the same mixture at the same fidelity is the same
trial.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from mixopt.base.errors import ConfigError
from mixopt.results.queue import QueuedMixture
from proxies import lock
from proxies.storage import write_whole
from search.errors import SearchError
from search.history import History
from search.mixture import Mixture
from search.problem import Problem
from search.seeds import SEARCH_SEED, is_of_search
from search.space import Space
from search.trial import Trial

FILE = "queue.jsonl"
ORIGIN = "queued"
LOCK_SECONDS = 10.0
LONGEST_NOTE = 200  # characters
BEGAN = (
    "the search had ended and its confirmation begun before it was trained; raise trials or budget, and the search "
    "goes on with it"
)


@dataclass(frozen=True)
class Queued:
    """
    Attributes:
        note: why, in the words of whoever asked.
        asked: when, as ISO 8601 in UTC.
    """

    mixture: Mixture
    note: str
    asked: str


def enqueue(folder: Path, mixture: Mixture, note: str = "") -> bool:
    """Ask for a mixture to be trained by the study in this folder; False where it was asked for before.

    Raises:
        ConfigError: the queue is damaged, or the note is too long; ProxyError: somebody holds it for long.
        OSError: it cannot be written.
    """
    if len(note) > LONGEST_NOTE:
        raise ConfigError(f"a note of {len(note)} characters", hint=f"give at most {LONGEST_NOTE}")
    folder.mkdir(parents=True, exist_ok=True)
    with lock.locked(folder / f"{FILE}.lock", LOCK_SECONDS):
        before = queued(folder)
        if any(is_same(each.mixture, mixture) for each in before):
            return False
        asked = datetime.now(UTC).isoformat(timespec="seconds")
        lines = [_line(each) for each in (*before, Queued(mixture, note, asked))]
        write_whole(folder / FILE, "".join(lines).encode())
    return True


def queued(folder: Path) -> tuple[Queued, ...]:
    """All that was ever asked for, trained or not.

    Raises:
        ConfigError: a line of the file is no mixture.
    """
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is damaged: byte {error.start} is no text", hint="remove the file") from error
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            found.append(_read(json.loads(line)))
        except (ValueError, LookupError, TypeError, AttributeError, SearchError, RecursionError) as error:
            raise ConfigError(f"{path}:{number}: this is no queued mixture", hint="remove the line") from error
    return tuple(found)


def confirmation_began(history: History) -> bool:
    """Whether a confirmation was asked for: what is confirmed was chosen, and from then on nobody queues into it."""
    return any(not is_of_search(trial.seed) for trial in history.trials)


def became_of(
    waiting: Iterable[Queued], history: History, proxy: str, broken: Callable[[Mixture], str | None]
) -> tuple[QueuedMixture, ...]:
    """What became of queued mixtures, in their order.

    Args:
        proxy: the target's, which they are trained with.
        broken: why the study must not train a mixture; None where it may.
    """
    began = confirmation_began(history)
    failures = {entry.trial.id: entry.failure for entry in history.failed}
    running = {trial.id for trial in history.running}
    at_target = [trial for trial in history.trials if trial.fidelity.proxy == proxy and trial.seed == SEARCH_SEED]
    found = []
    for each in waiting:
        why: str | None = None
        state: Literal["waiting", "training", "trained", "failed", "left_out"] = "waiting"
        trial = next((other for other in at_target if is_same(other.mixture, each.mixture)), None)
        if trial is None:
            if (why := broken(each.mixture) or (BEGAN if began else None)) is not None:
                state = "left_out"
        elif (failure := failures.get(trial.id)) is not None:
            state, why = "failed", f"{failure.kind.value}: {failure.message}"
        else:
            state = "training" if trial.id in running else "trained"
        found.append(
            QueuedMixture(
                mixture=each.mixture.as_dict(),
                note=each.note,
                asked=each.asked,
                state=state,
                trial=None if trial is None else trial.id,
                why=why,
            )
        )
    return tuple(found)


def broken_by(problem: Problem) -> Callable[[Mixture], str | None]:
    """Why a study of this problem must not train a mixture; None where it may."""

    def why(mixture: Mixture) -> str | None:
        if (broken := broken_limit(problem.space, mixture)) is not None:
            return broken
        if problem.feasible(mixture.reordered(problem.space.domains).array[None])[0]:
            return None
        return "it does not keep the relative weights of reuse.keep"

    return why


def broken_limit(space: Space, mixture: Mixture) -> str | None:
    """The first limit that a mixture breaks."""
    if set(mixture.domains) != set(space.domains):
        return "it is of other domains"
    return next(iter(space.violations(mixture.reordered(space.domains))), None)


def trials_of(waiting: Iterable[QueuedMixture], problem: Problem) -> list[Trial]:
    """The trials of those that the search is to take."""
    return [
        Trial(Mixture.of(each.mixture).reordered(problem.space.domains), problem.target, SEARCH_SEED, ORIGIN)
        for each in waiting
        if each.state == "waiting"
    ]


def is_same(one: Mixture, other: Mixture) -> bool:
    """Whether two mixtures are one, whatever the order of their domains."""
    return set(one.domains) == set(other.domains) and one.same_as(other)


def _line(each: Queued) -> str:
    return json.dumps({"weights": each.mixture.as_dict(), "note": each.note, "asked": each.asked}) + "\n"


def _read(document: dict[str, Any]) -> Queued:
    weights = {str(name): float(weight) for name, weight in document["weights"].items()}
    return Queued(Mixture(tuple(weights), tuple(weights.values())), str(document["note"]), str(document["asked"]))
