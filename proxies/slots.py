"""The slots of a pack: who trains in each, and the steps that all of them take together.

Runs begin and end at any time, each at its own step. S steps of a block, M slots, B rows, T positions.
"""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager
from time import perf_counter
from types import TracebackType

import torch
from torch import Tensor

from proxies.pack import Pack
from proxies.recipe import Recipe
from proxies.row_feed import RowFeed, Wanted
from proxies.run import Run

# Steps that a GPU is told to take at once, and how many such blocks it may be behind: to wait for it is to leave it
# idle. A CPU is not behind.
BLOCK_STEPS = {"cpu": 1, "cuda": 32}
UNREAD_BLOCKS = {"cpu": 0, "cuda": 1}


class Slots(AbstractContextManager["Slots"]):
    """
    Attributes:
        pack: what trains in them.
    """

    def __init__(self, recipe: Recipe, count: int) -> None:
        self.pack = Pack(recipe, [None] * count)
        self._runs: list[Run | None] = [None] * count
        self._feed = RowFeed(recipe, count, BLOCK_STEPS[recipe.device])
        self._unread: deque[tuple[list[Run | None], _OnItsWay]] = deque()
        self._is_compiled = False
        self._since = perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._feed.close()

    @property
    def active(self) -> list[tuple[int, Run]]:
        """The runs that have a slot, each with its own."""
        return [(slot, run) for slot, run in enumerate(self._runs) if run is not None]

    @property
    def free(self) -> int:
        """How many slots no run has."""
        return self._runs.count(None)

    def begin(self, run: Run) -> None:
        """It takes the first slot that is free."""
        if not self._is_compiled:
            self.pack.compile()
            self._is_compiled = True
        slot = self._runs.index(None)
        run.take_slot(self.pack, slot)
        self._runs[slot] = run

    def take_steps(self) -> None:
        """Take steps until a look is due. Rows of the next ones are gathered meanwhile."""
        inputs_SMBT, targets_SMBT, errors = self._feed.take(self._wanted(), self._steps_to_evaluation())
        for slot, run in self.active:
            if slot in errors:
                run.failure = errors[slot]
        learning = [run if run is not None and not run.ended else None for run in self._runs]
        rates = [[run.learning_rate(step) if run else 0.0 for run in learning] for step in range(len(inputs_SMBT))]
        # From memory that is not pinned, a GPU would be waited for.
        rate_SM = torch.tensor(rates, pin_memory=inputs_SMBT.is_cuda).to(inputs_SMBT.device, non_blocking=True)
        losses_SM = [
            self.pack.step(inputs_MBT.long(), targets_MBT.long(), rate_M)
            for inputs_MBT, targets_MBT, rate_M in zip(inputs_SMBT, targets_SMBT, rate_SM, strict=True)
        ]
        self._unread.append((learning, _OnItsWay(torch.stack(losses_SM, dim=1))))
        for one in learning:
            if one is not None:
                one.told(len(losses_SM))
        if any(wanted := self._wanted()):
            self._feed.prepare(wanted, self._steps_to_evaluation())

        for _, run in self.active:
            run.note_written()
        is_looked_at = any(run.evaluation_due or run.save_due for _, run in self.active)
        while len(self._unread) > (0 if is_looked_at else UNREAD_BLOCKS[self.pack.recipe.device]):
            learnt, sent = self._unread.popleft()
            losses_MS = sent.read()
            self.count_time()
            for one, losses_S in zip(learnt, losses_MS, strict=True):
                if one is not None:
                    one.trained(losses_S)

    def _wanted(self) -> list[Wanted | None]:
        return [None if run is None else run.wanted for run in self._runs]

    def _steps_to_evaluation(self) -> int:
        return min(steps for _, run in self.active if (steps := run.steps_to_evaluation) is not None)

    def leave(self, slot: int) -> None:
        """Its run has ended."""
        self._feed.settle()  # it may have gathered for this run, whose stream is asked by others from now on
        self._runs[slot] = None

    def count_time(self) -> None:
        """The time since it was last counted, or left out, was that of the runs that have a slot."""
        now = perf_counter()
        for _, run in self.active:
            run.spent(now - self._since)
        self._since = now

    def leave_out_time(self) -> None:
        """The time since it was last counted was the caller's."""
        self._since = perf_counter()


class _OnItsWay:
    """Losses that a GPU has been told to send. To ask it for them later would wait for what it was told since."""

    def __init__(self, losses_MS: Tensor) -> None:
        if not losses_MS.is_cuda:
            self._losses_MS, self._sent = losses_MS, None
            return
        self._losses_MS = torch.empty(losses_MS.shape, dtype=losses_MS.dtype, pin_memory=True)
        self._losses_MS.copy_(losses_MS, non_blocking=True)
        self._sent = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._sent.record()

    def read(self) -> list[list[float]]:
        if self._sent is not None:
            self._sent.synchronize()
        losses: list[list[float]] = self._losses_MS.tolist()
        return losses
