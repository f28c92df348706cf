"""How much of a Ray cluster is one study's.

    slots = what the nodes that are there now have room for, divided among the studies that work on them

A cluster that can grow is asked for more room by who keeps the roll of studies, for all of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from mixopt.base.errors import ClusterLost, ConfigError
from mixopt.workers.demand import Demand, Demands, fitting, starts_nodes
from mixopt.workers.fair_share import Roll
from mixopt.workers.ray_connection import WAIT_SECONDS

# How often the nodes, and the other studies, are looked at.
LOOK_SECONDS = 5.0
# A study that is submitted or resumed may be there before the nodes are.
NODES_WITHIN_SECONDS = 120.0
NAMESPACE = "mixopt"
ROLL = "mixopt-studies"


@dataclass(frozen=True)
class TaskSize:
    """What a task takes, and for how many trials at most."""

    cpus: float
    gpus: float
    pack: int


class Room:
    """A study's part of the cluster that this process is connected to.

    Args:
        most: trials at a time, at most; None is as many as there is room for.
        shared: other studies may work on the cluster, and nodes come and go; else it is this machine, for this study.
    """

    def __init__(self, study: str, size: TaskSize, most: int | None, shared: bool) -> None:
        self._study = study
        self._size = size
        self._most = most
        self._shared = shared
        self._room = self._share = 0
        self._looked = -inf
        self._roll: _Attendance | None = None

    @property
    def slots(self) -> int:
        return max(1, min(self._share, self._most or self._share))

    def find(self) -> list[str]:
        """Find room for the study's first trials, and take its share of it.

        Returns:
            What is to be said: where there is no room, a cluster that grows is asked for a node, and trials wait in
            its queue.

        Raises:
            ConfigError: no node is large enough.
            ClusterLost: none was within NODES_WITHIN_SECONDS.
        """
        self._room = self._first_room()
        self._take_share(self._room)
        return [] if self._room else ["no node has room for a trial yet; the cluster was asked for one"]

    def find_again(self) -> list[str]:
        """As `find`, on a cluster that was lost, without waiting: what trained there takes its place in the queue."""
        room = self._room_now()
        self._take_share(room)
        return self._seen(room)

    @property
    def is_unseen(self) -> bool:
        """Whether none was seen when it was last looked for: whatever begins all the same shows that there is some."""
        return not self._room

    def is_due(self) -> bool:
        """Whether it is time to look."""
        return time.monotonic() - self._looked >= LOOK_SECONDS

    def put_off(self) -> None:
        """Look later."""
        self._looked = time.monotonic()

    def look(self, busy: int, begins: bool = False) -> list[str]:
        """How much room there is now, and how much of it is this study's.

        Args:
            busy: trials in flight.
            begins: none are yet, but they will be.

        Returns:
            What is to be said of it.
        """
        self._looked = time.monotonic()
        room = self._room_now()
        if self._roll is None:
            self._share = room
        else:
            hungry = begins or self.slots <= busy < (self._most or inf)
            self._share = self._roll.share(room, busy, hungry, self._demand(busy, hungry))
        return self._seen(room)

    def leave(self) -> None:
        """Leave it to the others."""
        if self._roll is not None:
            self._roll.leave()
            self._roll = None

    def _seen(self, room: int) -> list[str]:
        """Remember it; returns what is to be said of it."""
        before, self._room = self._room, room
        if room == 0 and before > 0:
            return ["no node has room for a trial any more; the study waits for one"]
        return [f"there is room for {room} trials now"] if room > 0 and before == 0 else []

    def _take_share(self, room: int) -> None:
        self._looked = time.monotonic()
        self._share = room
        if self._shared:
            self._roll = _Attendance(self._study)
            self._share = self._roll.first_share(room, self._demand(busy=0, hungry=True))

    def _demand(self, busy: int, hungry: bool) -> Demand:
        size = self._size
        return Demand.of(busy, hungry, self.slots, self._most, size.pack, size.cpus, size.gpus)

    def _first_room(self) -> int:
        """Room for so many trials; 0 on a cluster that grows."""
        deadline = time.monotonic() + NODES_WITHIN_SECONDS
        while not (room := self._room_now()):
            # Asked again: an autoscaler says what it can start some seconds after its head was started.
            if self._shared and _can_grow():
                return 0
            if not self._shared or time.monotonic() > deadline:
                kind = ClusterLost if self._shared else ConfigError
                raise kind(
                    f"a trial asks for {self._size.cpus:g} CPUs and {self._size.gpus:g} GPUs; {_described(_nodes())}",
                    hint="lower executor.cpus_per_trial or executor.gpus_per_trial, or add a node",
                )
            time.sleep(WAIT_SECONDS)
        return room

    def _room_now(self) -> int:
        """How many trials the nodes that are alive have room for at a time."""
        return self._size.pack * sum(fitting(node, self._size.cpus, self._size.gpus) for node in _nodes())


class _ClusterRoll:
    """The one process of a cluster that all its studies tell what they do and what they could use."""

    def __init__(self) -> None:
        from ray.autoscaler.sdk import request_resources

        self._roll = Roll()
        self._demands = Demands(lambda bundles: request_resources(bundles=list(bundles)))
        self._demands.keep_looking()

    def share(self, study: str, room: int, busy: int, hungry: bool, demand: Demand) -> int:
        self._demands.put(study, demand)
        return self._roll.share(study, room, busy, hungry)

    def leave(self, study: str) -> None:
        self._demands.drop(study)
        self._roll.leave(study)


class _Attendance:
    """A study's place on the roll of its cluster. The roll may be away: then the last share is kept."""

    def __init__(self, study: str) -> None:
        self._study = study
        self._share: int | None = None
        self._asked: Any = None
        self._roll: Any = None

    def first_share(self, room: int, demand: Demand) -> int:
        """Waits a little for the answer: a study that took all to begin with would hold it for a round of trials."""
        self.share(room, 0, True, demand)
        with suppress(RayError):
            self._share = ray.get(self._asked, timeout=LOOK_SECONDS)
        return self._known(room)

    def share(self, room: int, busy: int, hungry: bool, demand: Demand) -> int:
        if self._asked is not None:
            try:
                self._share = ray.get(self._asked, timeout=0)
            except GetTimeoutError:
                return self._known(room)
            except RayError:
                self._roll = None  # it died with its node, and is made anew
        if self._roll is None:
            # With the head, which asks for nodes and goes last: elsewhere it would keep a node from going.
            roll = ray.remote(num_cpus=0, resources={"node:__internal_head__": 0.001})(_ClusterRoll)
            self._roll = roll.options(name=ROLL, namespace=NAMESPACE, lifetime="detached", get_if_exists=True).remote()
        self._asked = self._roll.share.remote(self._study, room, busy, hungry, demand)
        return self._known(room)

    def leave(self) -> None:
        if self._roll is not None:
            self._roll.leave.remote(self._study)

    def _known(self, room: int) -> int:
        return room if self._share is None else min(self._share, room)


def _nodes() -> list[dict[str, float]]:
    """The resources of each node that is alive."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def _can_grow() -> bool:
    """Whether the cluster starts nodes by itself; Ray has two autoscalers, which report differently."""
    from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
    from ray._private.state import state
    from ray.experimental.internal_kv import _internal_kv_get

    if state.get_max_resources_from_cluster_config():
        return True
    status = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or "{}")
    return starts_nodes((status.get("autoscaler_report") or {}).get("node_type_mapping"))


def _described(nodes: Sequence[dict[str, float]]) -> str:
    have = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
    return f"no node of the cluster has that much (it has {have})" if nodes else "the cluster has no node"
