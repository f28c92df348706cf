"""How long a study has run, over all its resumes and without its pauses: its search, which has a budget, and all of it.

A search that ended is over: what its confirmation takes afterwards is none of its time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from tracking import keys


@dataclass(frozen=True)
class Seconds:
    """Of the search, and in all."""

    search: float
    in_all: float

    @classmethod
    def recorded(cls, tags: Mapping[str, str]) -> Seconds:
        """What a study's record remembers; those before 0.2 counted the confirmation as time of the search."""
        search = float(tags.get(keys.SEARCH_SECONDS, "0"))
        return cls(search, max(search, float(tags.get(keys.STUDY_SECONDS, "0"))))

    @property
    def tags(self) -> dict[str, str]:
        """What is remembered of them."""
        return {keys.SEARCH_SECONDS: f"{self.search:.1f}", keys.STUDY_SECONDS: f"{self.in_all:.1f}"}


class Clock:
    """Goes while the study runs."""

    def __init__(self, before: Seconds) -> None:
        self._before = before
        self._began = time.monotonic()
        self._search: float | None = None  # its seconds, once it is over

    @property
    def now(self) -> Seconds:
        here = time.monotonic() - self._began
        search = self._before.search + here if self._search is None else self._search
        return Seconds(search, self._before.in_all + here)

    @property
    def here(self) -> float:
        """Seconds since the study was taken up, without pauses."""
        return time.monotonic() - self._began

    def paused(self, seconds: float) -> None:
        self._began += seconds

    def search_is_over(self) -> None:
        self._search = self.now.search
