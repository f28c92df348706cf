"""A table of runs of a made-up world, with limits, and the what-ifs about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mixopt.explore.subject import of_runs
from mixopt.explore.what_if import WhatIfs
from mixopt.runs.request import FitRequest
from mixopt.settings.space import read

DOMAINS = ("web", "code", "books", "chat", "law")
# The same domains in levels, and their names then.
IN_LEVELS = """\
domains:
  web: {tokens: 60B}
  code: {tokens: 10B}
  prose: {max: 60%, parts: {books: {tokens: 4B}, rare: {max: 40%, parts: {chat: {tokens: 2B}, law: {tokens: 4B}}}}}
"""
WITHIN_LEVELS = ("web", "code", "prose.books", "prose.rare.chat", "prose.rare.law")
# Where each loss is lowest.
BEST = {"prose": np.array([3, 1, 4, 1, 1]) / 10, "programs": np.array([2, 5, 1, 1, 1]) / 10}
LIMITS = """\
domains:
  web: {tokens: 60B}
  code: {tokens: 10B, max: 60%}
  books: {tokens: 4B}
  chat: {tokens: 2B, min: 2%}
  law: {tokens: 4B, max: 30%}
groups: {rare: {domains: [chat, law], max: 40%}}
target: {tokens: 20B, max_epochs: 4}
"""


def table(path: Path, domains: tuple[str, ...] = DOMAINS, runs: int = 48, metrics: int = 0) -> Path:
    """Two losses and an accuracy; or so many losses, each lowest in a place of its own."""
    rng = np.random.default_rng(0)
    weights_ND = rng.dirichlet(np.ones(len(domains)), size=runs)
    best = BEST if not metrics else {f"m{number}": rng.dirichlet(np.ones(len(domains))) for number in range(metrics)}
    frame = pd.DataFrame(weights_ND, columns=[f"weight.{name}" for name in domains])
    frame.insert(0, "run", [f"run-{number}" for number in range(runs)])
    for name, best_D in best.items():
        frame[f"metric.{name}"] = 3 + 2 * ((weights_ND - best_D) ** 2).sum(axis=1) + 0.01 * rng.standard_normal(runs)
    if not metrics:
        frame["metric.quiz_accuracy"] = 1 - frame["metric.prose"] / 10
    frame.to_csv(path, index=False)
    return path


def what_ifs(
    folder: Path,
    objective: str = "mean",
    surrogate: str = "quadratic",
    said: str = LIMITS,
    domains: tuple[str, ...] = DOMAINS,
) -> WhatIfs:
    """
    Args:
        said: the limits, of these domains.
    """
    limits = folder / "limits.yaml"
    limits.write_text(said)
    request = FitRequest(
        runs=table(folder / "runs.csv", domains), objective=objective, limits=read(limits), surrogates=(surrogate,)
    )
    return WhatIfs(of_runs(request, lambda *_: None))
