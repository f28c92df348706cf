"""Several studies on one cluster: each gets as much as it can use, and none more than another that could use it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import ceil, inf

# A study that has said nothing for so long has ended, however it ended.
FORGOTTEN_AFTER_SECONDS = 30.0


def fair_shares(room: int, wanted: Mapping[str, float]) -> dict[str, int]:
    """Divide `room` slots: nobody gets more than `wanted`, and what one leaves is divided among the others.

    What cannot be divided goes to those that want most. Everybody has at least one, even where there is no room for
    all: its trials wait for their turn.
    """
    shares: dict[str, int] = {}
    modest_first = sorted(wanted, key=lambda name: (wanted[name], name))
    for waiting, name in zip(range(len(wanted), 0, -1), modest_first, strict=True):
        shares[name] = int(min(wanted[name], max(room // waiting, 1)))
        room -= shares[name]
    return shares


class Roll:
    """Which studies work on a cluster, and how much of it each can use; lives in one process that all can ask."""

    def __init__(self) -> None:
        self._wanted: dict[str, float] = {}  # as shares of the cluster: trials of different studies differ in size
        self._heard: dict[str, float] = {}

    def share(self, study: str, room: int, busy: int, hungry: bool) -> int:
        """The slots of a study that has `busy` trials running, of `room` if it had the cluster to itself.

        Args:
            hungry: it would run more.
        """
        now = time.monotonic()
        self._heard[study] = now
        # One more than it is seen to use, so that what is used to the last is not taken for hunger.
        self._wanted[study] = inf if hungry else (busy + 1) / max(room, 1)
        for name in [name for name, heard in self._heard.items() if now - heard > FORGOTTEN_AFTER_SECONDS]:
            del self._heard[name], self._wanted[name]
        slots = {name: share if share == inf else ceil(share * room - 1e-9) for name, share in self._wanted.items()}
        return fair_shares(room, slots)[study]

    def leave(self, study: str) -> None:
        self._heard.pop(study, None)
        self._wanted.pop(study, None)
