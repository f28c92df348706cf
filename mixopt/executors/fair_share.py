"""Several studies on one cluster: each gets as much as it can use, and none more than another that could use it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import inf

# A study that has said nothing for so long has ended, however it ended.
FORGOTTEN_AFTER_SECONDS = 30.0


def fair_shares(room: int, wanted: Mapping[str, float]) -> dict[str, int]:
    """Divide `room` slots: nobody gets more than `wanted`, and what one leaves is divided among the others.

    Slots that cannot be divided go to the first names, one each. Everybody who wants something has at least one, even
    where there is no room for all: its trials wait for their turn.
    """
    shares = dict.fromkeys(wanted, 0)
    left = room
    while hungry := sorted(name for name in wanted if shares[name] < wanted[name]):
        each, first = divmod(left, len(hungry))
        if each == first == 0:
            break
        for place, name in enumerate(hungry):
            more = int(min(each + (place < first), wanted[name] - shares[name]))
            shares[name] += more
            left -= more
    return {name: max(share, min(1, int(min(wanted[name], 1)))) for name, share in shares.items()}


class Roll:
    """Which studies work on a cluster, and how much of it each can use; lives in one process that all can ask."""

    def __init__(self) -> None:
        self._wanted: dict[str, float] = {}
        self._heard: dict[str, float] = {}

    def share(self, study: str, room: int, busy: int, full: bool) -> int:
        """The slots of a study that has `busy` trials running, and is `full` where it would run more."""
        now = time.monotonic()
        self._heard[study] = now
        self._wanted[study] = inf if full else max(busy, 1)
        for name in [name for name, heard in self._heard.items() if now - heard > FORGOTTEN_AFTER_SECONDS]:
            del self._heard[name], self._wanted[name]
        return fair_shares(room, self._wanted)[study]

    def leave(self, study: str) -> None:
        self._heard.pop(study, None)
        self._wanted.pop(study, None)
