"""A study small enough to run whole in a test, and what the program says of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mixopt.settings.reading import load
from mixopt.study.record import fetch_record
from search.history import History
from tests.program import Done, mixopt
from tests.text import write_jsonl
from tests.tracking.new_store import new_store

BASELINES = 2
SEARCH_TRIALS = (8 + BASELINES) + (3 + BASELINES)

STUDY = """\
study: small
seed: 3
domains:
  prose: {paths: data/prose.jsonl}
  code:  {paths: data/code.jsonl, max: 70%}
  sums:  {paths: data/sums.jsonl, min: 5%}
groups:
  plain: {domains: [prose, sums], min: 30%}
target: {tokens: 40k, max_epochs: 4}
corpus: {vocabulary: 300, validation_tokens: 1k, sequence_length: 32}
proxies:
  dense: {kind: dense, depth: 1, width: 32, heads: 2, tokens: 4k, batch_rows: 8, evaluations: 2, trials: 8}
  moe:   {kind: moe, depth: 2, width: 32, heads: 2, experts: 4, tokens: 4k, batch_rows: 8, evaluations: 2, trials: 3}
objective: {weights: {prose: 2, code: 1}}
baselines: [proportional, uniform]
confirm: {candidates: 1, seeds: 2}
executor: {kind: in_process}
"""


def write_study(folder: Path, text: str = STUDY) -> Path:
    """A study file and its data; where it says nothing of the search, its surrogate is one that is fitted at once."""
    write_jsonl(folder / "data", {"prose": 60, "code": 30, "sums": 20})
    new_store(folder / ".mixopt")
    path = folder / "study.yaml"
    path.write_text(text if "search:" in text else text + "search: {strategy: regmix, surrogate: linear}\n")
    return path


def answer_of(*arguments: object, by: Callable[..., Done] = mixopt) -> dict[str, Any]:
    """What the program prints with --json.

    Raises:
        AssertionError: it failed.
    """
    done = by(*arguments, "--json")
    assert done.status == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def recorded(path: Path) -> History:
    """The study's history, as its store has it."""
    record = fetch_record(load(path))
    return record.history if record else History()


def numbers(history: History) -> dict[str, Any]:
    """By trial id, everything about its measurement that must not depend on where and when it ran."""
    return {
        entry.trial.id: (
            entry.trial.origin,
            entry.measurement.losses,
            entry.measurement.curve,
            entry.measurement.domain_tokens,
            entry.measurement.flops,
        )
        for entry in history.completed
    }
