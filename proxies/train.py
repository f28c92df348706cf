"""Train a proxy: draw its weights, take `recipe.steps` steps over a stream of rows, measure its losses.

    for event in train(recipe, stream, evaluation_sets, seed=1, checkpoint=path):
        ...                                  TrainingProgress, about once a second; at last one TrainingResult

The same recipe, data, seed and machine give the same numbers, to the bit on a CPU, also when the run was killed
and went on from its checkpoint: batches are addressed by step, and only the first weights are random.

`train_pack` is the loop, for several proxies of one recipe side by side, one in each slot: where one ends, the next
begins. `train` is a pack of one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path

from proxies import device
from proxies.checkpoint import Writer
from proxies.errors import ProxyError
from proxies.evaluate import EvaluationSet, EvaluationTokens, evaluate
from proxies.member import Member, RowStream
from proxies.recipe import Recipe
from proxies.result import Diverged, TrainingProgress, TrainingResult
from proxies.run import CHECKPOINT_SECONDS, Run
from proxies.slots import Slots

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

    with device.one_thread(), Writer() as writer, Slots(recipe, slots or len(members)) as training:
        pack = training.pack
        sets = {
            name: EvaluationSet(tokens, recipe, pack.micro_batches.rows) for name, tokens in evaluation_sets.items()
        }
        waiting, index, leaving = deque(members), count(), list[Run]()
        while True:
            # 1. Members begin in the slots that are free.
            while free := training.free:
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
                if run.save_due and run.is_read:
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
