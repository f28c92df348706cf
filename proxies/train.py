"""Train a proxy: draw its weights, take `recipe.steps` steps over a stream of rows, measure its losses.

    for event in train(recipe, stream, evaluation_sets, seed=1, checkpoint=path):
        ...                                  TrainingProgress, about once a second; at last one TrainingResult

The same recipe, data, seed and machine give the same numbers, to the bit on a CPU, also when the run was killed
and went on from its checkpoint: batches are addressed by step, and only the first weights are random.

`train_pack` is the loop, for several proxies of one recipe side by side, one in each slot: where one ends, the next
begins. `train` is a pack of one.

M members at a time, S steps of a block, B rows, T positions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from proxies import device
from proxies.checkpoint import Writer
from proxies.errors import ProxyError
from proxies.evaluate import EvaluationSet, EvaluationTokens, evaluate
from proxies.member import Member, RowStream
from proxies.pack import Pack
from proxies.recipe import Recipe
from proxies.result import Diverged, TrainingProgress, TrainingResult
from proxies.row_feed import RowFeed, Wanted
from proxies.run import CHECKPOINT_SECONDS, Run

# Steps that a GPU is told to take at once, and how many such blocks it may be behind: to wait for it is to leave it
# idle. A CPU is not behind.
BLOCK_STEPS = {"cpu": 1, "cuda": 32}
UNREAD_BLOCKS = {"cpu": 0, "cuda": 1}

Event = TrainingProgress | TrainingResult | Diverged


def train(
    recipe: Recipe,
    stream: RowStream,
    evaluation_sets: Mapping[str, EvaluationTokens],
    *,
    seed: int,
    data: str = "",
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Generator[TrainingProgress | TrainingResult]:
    """Train a proxy; the last thing yielded is its result. Until then, this process's torch has one thread.

    Args:
        seed, data, checkpoint: see `Member`.

    Raises:
        Diverged: the loss exploded.
        ProxyError: there is no such device here, or nothing to evaluate on.
    """
    member = Member(stream, seed, data, checkpoint=checkpoint)
    for _, event in train_pack(recipe, [member], evaluation_sets, checkpoint_seconds=checkpoint_seconds):
        if isinstance(event, Diverged):
            raise event
        yield event


def _nobody(wanted: int, idle: bool) -> Sequence[Member]:
    return ()


def train_pack(
    recipe: Recipe,
    members: Sequence[Member],
    evaluation_sets: Mapping[str, EvaluationTokens],
    *,
    slots: int | None = None,
    more: Callable[[int, bool], Sequence[Member]] = _nobody,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Generator[tuple[int, Event]]:
    """Train several proxies side by side; what is yielded comes with the index of the member that it is about.

    The last thing that a member yields is its result, or how it diverged, which does not touch the others.

    Args:
        slots: how many train at a time, the others wait; None is all of them.
        more: asked for members beyond these wherever slots are free that nobody waits for: how many there is room for,
            and whether nobody trains, so that it may wait for some. Their indices follow those of the others.

    Raises:
        ProxyError: there is no such device here, or nothing to evaluate on.
    """
    device.require(recipe.device)
    if not evaluation_sets:
        raise ProxyError("there is no evaluation set to measure the loss on", hint="name at least one")

    slots = slots or len(members)
    with device.one_thread(), Writer() as writer, RowFeed(recipe, slots, BLOCK_STEPS[recipe.device]) as feed:
        pack = Pack(recipe, [None] * slots)
        sets = {
            name: EvaluationSet(tokens, recipe, pack.micro_batches.rows) for name, tokens in evaluation_sets.items()
        }
        training = _Training(pack, slots, feed)
        waiting, index, leaving = deque(members), count(), list[Run]()
        while True:
            # 1. Members begin in the slots that are free.
            while free := training.slots.count(None):
                if not waiting:
                    yield from _outcomes(leaving, wait=not training.active)
                    waiting.extend(more(free, not training.active))
                if not waiting:
                    break
                run = Run(next(index), waiting.popleft(), recipe, list(sets), writer, checkpoint_seconds)
                if run.ended:
                    run.end()
                    leaving.append(run)
                else:
                    training.begin(run)
            yield from _outcomes(leaving, wait=not training.active)
            if not training.active:
                return
            training.skip()  # what the caller did meanwhile is not these runs' time

            # 2. Steps, and at some, the losses that count.
            training.take_steps()
            for slot, run in training.active:
                if run.evaluation_due:
                    run.evaluated(evaluate(pack, slot, sets))
            training.lap()

            # 3. Save, report, and let go of those that have ended.
            for slot, run in training.active:
                if run.save_due:
                    run.save()
                if run.failure is None and (progress := run.report()) is not None:
                    yield run.index, progress
                if run.ended:
                    run.end()
                    training.leave(slot)
                    leaving.append(run)


def _outcomes(leaving: list[Run], wait: bool) -> Iterable[tuple[int, Event]]:
    """What became of those runs whose last checkpoint is written; they are left out from then on."""
    for run in list(leaving):
        if (outcome := run.outcome(wait)) is not None:
            leaving.remove(run)
            yield run.index, outcome


class _Training:
    """A pack whose slots are taken by runs.

    Attributes:
        slots: the run in each; None is free.
    """

    def __init__(self, pack: Pack, slots: int, feed: RowFeed) -> None:
        self.slots: list[Run | None] = [None] * slots
        self._pack, self._feed = pack, feed
        self._unread: deque[tuple[list[Run | None], Tensor]] = deque()
        self._is_compiled = False
        self._since = perf_counter()

    @property
    def active(self) -> list[tuple[int, Run]]:
        return [(slot, run) for slot, run in enumerate(self.slots) if run is not None]

    def begin(self, run: Run) -> None:
        """It takes the first slot that is free."""
        if not self._is_compiled:
            self._pack.compile()
            self._is_compiled = True
        slot = self.slots.index(None)
        run.take_slot(self._pack, slot)
        self.slots[slot] = run

    def take_steps(self) -> None:
        """Take steps until a look is due. Rows of the next ones are gathered meanwhile."""
        steps = min(run.steps_to_evaluation for _, run in self.active)
        inputs_SMBT, targets_SMBT = self._feed.take(self._wanted(), steps)
        rates_SM = [[run.learning_rate(step) if run else 0.0 for run in self.slots] for step in range(len(inputs_SMBT))]
        losses_SM = [
            self._pack.step(inputs_MBT.long(), targets_MBT.long(), rate_M)
            for inputs_MBT, targets_MBT, rate_M in zip(
                inputs_SMBT, targets_SMBT, torch.tensor(rates_SM).to(inputs_SMBT.device), strict=True
            )
        ]
        for _, run in self.active:
            run.launched += len(losses_SM)
        self._feed.prepare(self._wanted())
        self._unread.append((list(self.slots), torch.stack(losses_SM, dim=1)))
        is_looked_at = any(run.evaluation_due or run.save_due for _, run in self.active)
        while len(self._unread) > (0 if is_looked_at else UNREAD_BLOCKS[self._pack.recipe.device]):
            runs, losses_MS = self._unread.popleft()
            losses = losses_MS.tolist()
            self.lap()
            for trained, losses_S in zip(runs, losses, strict=True):
                if trained is not None:
                    trained.trained(losses_S)

    def _wanted(self) -> list[Wanted | None]:
        return [None if run is None else run.wanted for run in self.slots]

    def leave(self, slot: int) -> None:
        """Its run has ended."""
        self._feed.settle()  # it may have gathered for this run, whose stream is asked by others from now on
        self.slots[slot] = None

    def lap(self) -> None:
        """The time since the last lap was that of the runs that have a slot."""
        now = perf_counter()
        for _, run in self.active:
            run.spent(now - self._since)
        self._since = now

    def skip(self) -> None:
        """The time since the last lap was the caller's."""
        self._since = perf_counter()
