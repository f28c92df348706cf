"""Mixtures that somebody wants trained: a file beside the study's journal, one JSON line each, in the order of asking.

    mixopt explore ──enqueue──▶ queue.jsonl ◀──looks whenever a trial may begin── the driver

The driver takes them as trials at the target before it asks its strategy. A line stays: what was trained already is
known from the history, where the same mixture at the same fidelity is the same trial.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mixopt.base.errors import ConfigError
from proxies import lock
from proxies.storage import write_whole
from search.errors import SearchError
from search.history import History
from search.mixture import Mixture
from search.problem import Problem
from search.seeds import SEARCH_SEED
from search.trial import Trial

FILE = "queue.jsonl"
ORIGIN = "queued"
LOCK_SECONDS = 10.0
LONGEST_NOTE = 200  # characters


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
    """Ask for a mixture to be trained by the study in this folder; False where it waits in the queue already.

    Raises:
        ConfigError: the queue is damaged, or the note is too long; ProxyError: somebody holds it for long.
        OSError: it cannot be written.
    """
    if len(note) > LONGEST_NOTE:
        raise ConfigError(f"a note of {len(note)} characters", hint=f"give at most {LONGEST_NOTE}")
    folder.mkdir(parents=True, exist_ok=True)
    with lock.locked(folder / f"{FILE}.lock", LOCK_SECONDS):
        before = queued(folder)
        if any(set(each.mixture.domains) == set(mixture.domains) and each.mixture.same_as(mixture) for each in before):
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


def queued_trials(folder: Path, problem: Problem, history: History) -> tuple[list[Trial], list[str]]:
    """The trials that are waited for and were never asked for; and why others will not be, a sentence each."""
    try:
        waiting = queued(folder)
    except (ConfigError, OSError) as error:
        return [], [f"the queue is not read: {error}"]
    trials, refused = [], []
    for each in waiting:
        named = f"the queued mixture {each.note!r}" if each.note else f"the mixture queued at {each.asked}"
        if set(each.mixture.domains) != set(problem.space.domains):
            refused.append(f"{named} is not trained: it is of other domains")
            continue
        mixture = each.mixture.reordered(problem.space.domains)
        if problem.feasible(mixture.array[None])[0]:
            trials.append(Trial(mixture, problem.target, SEARCH_SEED, ORIGIN))
        else:
            broken = problem.space.violations(mixture) or ["it does not keep the relative weights of reuse.keep"]
            refused.append(f"{named} is not trained: {broken[0]}")
    return history.new(trials), refused


def _line(each: Queued) -> str:
    return json.dumps({"weights": each.mixture.as_dict(), "note": each.note, "asked": each.asked}) + "\n"


def _read(document: dict[str, Any]) -> Queued:
    weights = {str(name): float(weight) for name, weight in document["weights"].items()}
    return Queued(Mixture(tuple(weights), tuple(weights.values())), str(document["note"]), str(document["asked"]))
