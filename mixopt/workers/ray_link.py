"""A driver's tie to a Ray cluster: held, noticed as lost, and found again.

Ray itself notices late that a cluster is gone, and then ends this process. So whoever is about to ask the cluster for
anything asks here first. A cluster of this machine that is lost is started anew, somebody else's is waited for:

    held ──no answer──▶ lose ──▶ find_again, after longer and longer pauses ──▶ held, or ClusterLost
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.exceptions import LocalRayletDiedError, RayError

from mixopt.base.errors import ClusterLost
from mixopt.workers.ray_connection import WAIT_SECONDS, answers, connect
from search.errors import first_line

# A cluster that is lost is tried again after the first of these, then after twice as long, up to the second.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
# Somebody else's is waited for so long; one of this machine that dies so often before a trial ends would go on dying.
LOST_FOR_SECONDS = 3600.0
MOST_LOSSES = 5
# Ray ends this process where its cluster's head does not answer for 60 s: it is to be let go of before that.
HEAD_AWAY_SECONDS = 20.0


class Gone(Exception):
    """The cluster is gone, with all that ran on it."""


@dataclass(frozen=True)
class _Lost:
    """A cluster that is gone: why, since when, when it is tried again, and after which pause once more."""

    why: str
    since: float
    due: float
    pause: float


class Link:
    """
    Args:
        address: of a running cluster; None starts one on this machine.

    Raises:
        ClusterLost: it does not answer, or does not start.
        ConfigError: this machine has no place for one.
    """

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._lost: _Lost | None = None
        self._losses = 0  # since something last got done
        self._head_away: float | None = None  # since when it does not answer
        self._connect()

    @property
    def is_lost(self) -> bool:
        return self._lost is not None

    def require_local_raylet(self, error: BaseException) -> None:
        """
        Raises:
            Gone: this process's way to the cluster is what a task died of.
        """
        if isinstance(error, LocalRayletDiedError):
            raise Gone("the raylet that this process works with died") from error

    def require_head(self) -> bool:
        """Whether the head of the cluster answers.

        Whoever asks Ray for anything of the head while that is away waits, and is ended by Ray after a minute.

        Raises:
            Gone: it has not answered for long; or another one answers at its address, which knows nothing of us; or it
                is this machine's, and is dead, or its raylet is, of which Ray itself knows only after some 15 s.
        """
        if self._raylet is not None and not answers(self._raylet):
            raise Gone("its raylet is dead")
        if (cluster := _cluster_at(self._head)) is not None:
            if cluster != self._cluster:
                raise Gone(f"another head answers at {self._head}")
            self._head_away = None
            return True
        now = time.monotonic()
        self._head_away = self._head_away or now
        if self._raylet is not None or now - self._head_away > HEAD_AWAY_SECONDS:
            raise Gone(f"its head at {self._head} does not answer")
        return False

    def await_head(self) -> None:
        """Return once the head answers.

        Raises:
            Gone: as `require_head`.
        """
        while not self.require_head():
            time.sleep(WAIT_SECONDS)

    def has_served(self) -> None:
        """Something got done on it: what it was lost of before counts no more."""
        self._losses = 0

    def lose(self, why: str, remark: Callable[[str], object]) -> None:
        """Let go of a cluster that is gone.

        Raises:
            ClusterLost: it was lost too often.
        """
        self._losses += 1
        now = time.monotonic()
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (self._losses - 1), LONGEST_PAUSE_SECONDS)
        self._lost = _Lost(why, now, now + pause, pause)
        if self._address is None and self._losses > MOST_LOSSES:
            raise ClusterLost(
                f"Ray on this machine died {self._losses} times and no trial ended between, the last time: {why}",
                hint="is there memory and room on the disk? Then run the same command again",
            )
        self.close()
        if self._address is None:
            remark(f"Ray on this machine died ({why}); it is started anew, and the trials go on from their checkpoints")
        else:
            remark(f"the Ray cluster at {self._address} went away ({why}); the study waits for it")

    def find_again(self, begin: Callable[[], object]) -> bool:
        """Wait a moment, and connect where it is time to.

        Args:
            begin: what is done on it first; where that fails, it is not there yet.

        Returns:
            Whether it is there again.

        Raises:
            ClusterLost: it is lost for too long.
        """
        lost = self._lost
        assert lost is not None
        now = time.monotonic()
        if now < lost.due:
            time.sleep(min(WAIT_SECONDS, lost.due - now))
            return False
        try:
            self._connect()
            begin()
        except (ClusterLost, RayError, ConnectionError) as error:
            self.close()
            if now - lost.since > LOST_FOR_SECONDS:
                raise ClusterLost(
                    f"the Ray cluster went away ({lost.why}) and is not back: {first_line(error)}",
                    hint="when it is back, run the same command again",
                ) from error
            pause = min(2 * lost.pause, LONGEST_PAUSE_SECONDS)
            self._lost = _Lost(lost.why, lost.since, time.monotonic() + pause, pause)
            return False
        self._lost = None
        return True

    def close(self) -> None:
        self._connected.close()

    def _connect(self) -> None:
        self._connected = connect(self._address)
        try:
            self._head = ray.get_runtime_context().gcs_address
            self._cluster = _cluster_at(self._head)
            self._raylet = _only_raylet() if self._address is None else None
        except BaseException:
            self.close()
            raise
        self._head_away = None


def _cluster_at(head: str) -> str | None:
    """The id of the cluster whose head answers there; a head that is started again has another one.

    Ray itself finds that out when it is asked for anything, and ends this process.
    """
    if not answers(head):
        return None
    try:
        cluster: str = GcsClient(address=head).cluster_id.hex()
    except RayError:
        return None
    return cluster


def _only_raylet() -> str:
    """Where the raylet of a cluster of one node listens, HOST:PORT."""
    (node,) = ray.nodes()  # type: ignore[no-untyped-call]
    return f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
