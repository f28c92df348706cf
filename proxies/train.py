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
from functools import partial
from itertools import count
from pathlib import Path

from proxies import device
from proxies.checkpoint import Writer
from proxies.errors import ProxyError
from proxies.evaluate import EvaluationSet, EvaluationTokens, evaluate
from proxies.member import Member, More, RowStream
from proxies.recipe import Recipe
from proxies.result import TrainingProgress, TrainingResult
from proxies.run import CHECKPOINT_SECONDS, Run
from proxies.slots import Slots

Event = TrainingProgress | TrainingResult | Exception


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
        ProxyError: there is no such device here, nothing to evaluate on, or the checkpoint cannot be read.
    """
    member = Member(stream, seed, data, checkpoint=checkpoint)
    for _, event in train_pack(recipe, [member], evaluation_sets, checkpoint_seconds=checkpoint_seconds):
        if isinstance(event, Exception):
            raise event
        yield event


def _no_more(wanted: int, idle: bool) -> Sequence[Member]:
    return ()


def train_pack(
    recipe: Recipe,
    members: Sequence[Member],
    evaluation_sets: Mapping[str, EvaluationTokens],
    *,
    slots: int | None = None,
    more: More = _no_more,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Generator[tuple[int, Event]]:
    """Train several proxies side by side; what is yielded comes with the index of the member that it is about.

    The last thing that a member yields is its result, or what it died of, which does not touch the others: Diverged,
    that its checkpoint cannot be read, or whatever its stream, its `hopeless` or its `keep` raised.

    Args:
        slots: how many train at a time, the others wait; None is all of them.
        more: asked for members beyond these wherever slots are free that nobody waits for. Their indices follow those
            of the others.

    Raises:
        ProxyError: there is no such device here, nothing to evaluate on, no slot, or one checkpoint for two members.
    """
    device.require(recipe.device)
    slots = len(members) if slots is None else slots
    if slots < 1:
        raise ProxyError(f"a pack of {slots} slots trains nothing", hint="give it members, or slots of 1 or more")
    places = [str(member.checkpoint) for member in members if member.checkpoint is not None]
    if len(set(places)) < len(places):
        raise ProxyError("two members have the same checkpoint", hint="give each its own")
    if not evaluation_sets:
        raise ProxyError("there is no evaluation set to measure the loss on", hint="name at least one")

    leaving: list[Run] = []
    with device.one_thread(), Writer() as writer, Slots(recipe, slots) as training:
        sets = {
            name: EvaluationSet(tokens, recipe, training.pack.micro_batches.rows)
            for name, tokens in evaluation_sets.items()
        }
        begin = partial(
            Run, recipe=recipe, evaluation_sets=list(sets), writer=writer, checkpoint_seconds=checkpoint_seconds
        )
        try:
            yield from _train(training, begin, deque(members), more, sets, leaving)
        except Exception:
            yield from _outcomes(leaving, wait=True)  # those of runs that had ended before
            raise


def _train(
    training: Slots,
    begin: Callable[[int, Member], Run],
    waiting: deque[Member],
    more: More,
    sets: Mapping[str, EvaluationSet],
    leaving: list[Run],
) -> Generator[tuple[int, Event]]:
    """
    Args:
        leaving: runs that have ended, and whose outcome is yet to be told.
    """
    index = count()
    while True:
        # 1. Members begin in the slots that are free.
        while free := training.free:
            if not waiting:
                yield from _outcomes(leaving, wait=not training.active)
                waiting.extend(more(free, not training.active))
            if not waiting:
                break
            run = begin(next(index), waiting.popleft())
            if run.ended:  # before it was killed, or its checkpoint cannot be read
                run.end()
                leaving.append(run)
            else:
                training.begin(run)
        yield from _outcomes(leaving, wait=not training.active)
        if not training.active:
            return
        training.leave_out_time()

        # 2. Steps, and at some, the losses that count.
        training.take_steps()
        for slot, run in training.active:
            if run.evaluation_due:
                run.evaluated(evaluate(training.pack, slot, sets))
        training.count_time()

        # 3. Save, report, and let go of those that have ended.
        for slot, run in training.active:
            if run.save_due and run.is_read:
                run.save()
            if run.failure is None and (progress := run.report()) is not None:
                yield run.index, progress
            if run.ended:
                training.leave(slot)
                run.end()
                leaving.append(run)


def _outcomes(leaving: list[Run], wait: bool) -> Iterable[tuple[int, Event]]:
    """What became of those runs whose last checkpoint is written; they are left out from then on."""
    for run in list(leaving):
        if (outcome := run.outcome(wait)) is not None:
            leaving.remove(run)
            yield run.index, outcome
