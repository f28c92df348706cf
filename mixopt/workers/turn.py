"""Trials that people train: the executor of one turn, in which somebody asks for some, or tells what became of some.

mixopt ask     opens trials for a client, and the turn is over
mixopt tell    closes trials that are open, and the turn is over; where none is left open, what comes next is looked
               at without being opened, so that a study whose last trial is told has its answer at once
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from mixopt.workers.executor import Executor
from mixopt.workers.foreign import Order
from mixopt.workers.messages import Event, TrialEnd
from search.trial import Failure, Measurement, Trial


class TurnOver(Exception):
    """Whatever comes next is somebody else's turn."""


class Turn(Executor[Order]):
    """
    Args:
        open_before: ids of the trials that are open.
        wanted: how many more are asked for.
        told: what became of some of those that are open, by id.
        client: who asks.

    Attributes:
        orders: of all open trials, by id.
    """

    trains_on = True

    def __init__(
        self,
        open_before: Collection[str],
        wanted: int = 0,
        told: Mapping[str, Measurement | Failure] | None = None,
        client: str | None = None,
    ) -> None:
        self.client = client
        self.orders: dict[str, Order] = {}
        self._open_before = frozenset(open_before)
        self._wanted = wanted
        self._told = dict(told or {})

    @property
    def slots(self) -> int:
        if self._wanted or self._told:
            return len(self._open_before) + self._wanted
        return max(1, len(self.orders))

    def announce(self, trials: Sequence[Trial]) -> None:
        if not self._wanted and any(trial.id not in self._open_before for trial in trials):
            raise TurnOver

    def launch(self, job: Order) -> None:
        self.orders[job.trial.id] = job

    def events(self) -> Iterator[Event]:
        told, self._told = self._told, {}
        for trial_id, outcome in told.items():
            yield TrialEnd(self.orders.pop(trial_id).trial, outcome)
        if self.orders:
            raise TurnOver

    def close(self) -> None:
        """Nothing runs here."""
