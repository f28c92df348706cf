"""Clusters that grow: what the studies on one could use together, as Ray's autoscaler is asked for it.

One process asks for all: what is asked stands until something else is, and one study's would replace another's. Tasks
beyond the room would need no such process, but Ray runs them first wherever room comes free.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mixopt.workers.fair_share import FORGOTTEN_AFTER_SECONDS

# How often is looked whether a study has ended without a word.
LOOK_SECONDS = 10.0

Bundle = dict[str, float]


@dataclass(frozen=True)
class Demand:
    """What a study could use: `tasks` at a time, each with `cpus` and `gpus`."""

    tasks: int
    cpus: float
    gpus: float

    @classmethod
    def of(cls, busy: int, hungry: bool, slots: int, most: int | None, pack: int, cpus: float, gpus: float) -> Demand:
        """Of a study with `busy` trials in flight in its `slots`: where it is hungry twice its slots, so that a cluster
        without a node has what the study wants after a few steps, and no more of it than that; else what it has in use.

        Args:
            most: trials at a time, at most, where that is limited.
            pack: trials in a task.
            cpus: of a task; `gpus` likewise.
        """
        trials = 2 * slots if hungry else busy
        return cls(-(-min(trials, most or trials) // pack), cpus, gpus)

    @property
    def bundles(self) -> list[Bundle]:
        """One for each task."""
        return [{"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus > 0 else {})] * self.tasks


class Demands:
    """The demands of the studies on a cluster.

    Args:
        ask: is given what the cluster should have room for, whenever that changes.
    """

    def __init__(self, ask: Callable[[Sequence[Bundle]], object]) -> None:
        self._ask = ask
        self._asked: list[Bundle] = []
        self._demands: dict[str, Demand] = {}
        self._heard: dict[str, float] = {}
        self._one_at_a_time = threading.Lock()

    def put(self, study: str, demand: Demand) -> None:
        with self._one_at_a_time:
            self._demands[study] = demand
            self._heard[study] = time.monotonic()
            self._update()

    def drop(self, study: str) -> None:
        with self._one_at_a_time:
            self._demands.pop(study, None)
            self._update()

    def look(self) -> None:
        """Notice studies that ended without a word."""
        with self._one_at_a_time:
            self._update()

    def keep_looking(self) -> None:
        """Look for ever, in a thread: nodes that a dead study asked for would stay until the next one asks."""

        def look() -> None:
            while True:
                time.sleep(LOOK_SECONDS)
                self.look()

        threading.Thread(target=look, daemon=True).start()

    def _update(self) -> None:
        oldest = time.monotonic() - FORGOTTEN_AFTER_SECONDS
        self._demands = {study: demand for study, demand in self._demands.items() if self._heard[study] >= oldest}
        wanted = [bundle for study in sorted(self._demands) for bundle in self._demands[study].bundles]
        if wanted != self._asked:
            self._ask(wanted)
            self._asked = wanted


def fitting(node: Mapping[str, float], cpus: float, gpus: float) -> int:
    """How many tasks, of so many CPUs and GPUs each, a node with these resources has room for at a time."""
    room = int(node.get("CPU", 0) / cpus)
    return min(room, int(node.get("GPU", 0) / gpus)) if gpus > 0 else room


def starts_nodes(report: Mapping[str, Any] | None) -> bool:
    """Whether the autoscaler that reports this starts nodes by itself. Each cluster has one; where it cannot start any,
    it takes every node for a type of its own, and calls the type after the node.

    Args:
        report: by node, its type; None where there is no report.
    """
    return any(not str(kind).startswith("node_") for kind in (report or {}).values())
