"""Train a proxy: draw its weights, take `recipe.steps` steps over a stream of rows, measure its losses.

    for event in train(recipe, stream, evaluation_sets, seed=1, checkpoint=path):
        ...                                  TrainingProgress, about once a second; at last one TrainingResult

The same recipe, data, seed and machine give the same numbers, to the bit on a CPU, also when the run was killed
and went on from its checkpoint: batches are addressed by step, and only the first weights are random.

`train_pack` is the loop, for several proxies of one recipe side by side; `train` is a pack of one.

M members, S steps of a block, B rows, T positions.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from proxies import device
from proxies.errors import ProxyError
from proxies.evaluate import EvaluationSet, EvaluationTokens, evaluate
from proxies.member import Member, RowStream
from proxies.pack import Pack
from proxies.recipe import Recipe
from proxies.result import Diverged, TrainingProgress, TrainingResult
from proxies.run import CHECKPOINT_SECONDS, Run

# Steps between two looks at the losses. A GPU has to be waited for, which is for nothing while it has steps to take.
BLOCK_STEPS = {"cpu": 1, "cuda": 32}


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


def train_pack(
    recipe: Recipe,
    members: Sequence[Member],
    evaluation_sets: Mapping[str, EvaluationTokens],
    *,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Generator[tuple[int, TrainingProgress | TrainingResult | Diverged]]:
    """Train several proxies side by side; what is yielded comes with the index of the member that it is about.

    The last thing that a member yields is its result, or how it diverged, which does not touch the others.

    Raises:
        ProxyError: there is no such device here, or nothing to evaluate on.
    """
    device.require(recipe.device)
    if not evaluation_sets:
        raise ProxyError("there is no evaluation set to measure the loss on", hint="name at least one")

    with device.one_thread():
        pack = Pack(recipe, [member.seed for member in members])
        sets = {
            name: EvaluationSet(tokens, recipe, pack.micro_batches.rows) for name, tokens in evaluation_sets.items()
        }
        runs = [Run(member, pack, index, list(sets), checkpoint_seconds) for index, member in enumerate(members)]
        yield from ((run.index, run.end()) for run in runs if run.ended)
        active = [run for run in runs if not run.ended]
        if active:
            pack.compile()

        clock = _Clock()
        block = _block(runs, 0, recipe)
        while active:
            # 1. A block of steps. The next one's rows are prepared before the losses are asked for: until then a GPU
            #    works on by itself.
            assert block is not None, "a run that has not ended has steps left"
            inputs_SMBT, targets_SMBT = block
            losses_SM = [
                pack.step(inputs_MBT, targets_MBT, [run.learning_rate(step) for run in runs])
                for step, (inputs_MBT, targets_MBT) in enumerate(zip(inputs_SMBT, targets_SMBT, strict=True))
            ]
            block = _block(runs, len(losses_SM), recipe)
            losses_MS = torch.stack(losses_SM, dim=1).tolist()
            seconds = clock.lap()
            for run in active:
                run.trained(losses_MS[run.index], seconds)

            # 2. At some steps, the losses that count.
            due = [run for run in active if run.evaluation_due]
            if due:
                evaluations, norm_M = evaluate(pack, sets), pack.gradient_norm_M.tolist()
                losses, seconds = pack.losses.cpu(), clock.lap()
                for run in due:
                    run.evaluated(evaluations[run.index], losses, norm_M[run.index], seconds)

            # 3. Save, report, and let go of those that have ended.
            for run in active:
                if run.failure is None:
                    run.save()
                    if (progress := run.report()) is not None:
                        yield run.index, progress
                if run.ended:
                    yield run.index, run.end()
            active = [run for run in active if not run.ended]
            clock.lap()  # what the caller did meanwhile is not this run's time


def _block(runs: Sequence[Run], ahead: int, recipe: Recipe) -> tuple[Tensor, Tensor] | None:
    """Inputs and targets of the runs' next steps, [S, M, B, T], on the device; None where none has a step left.

    Args:
        ahead: steps that the runs have begun and not counted yet.
    """
    left = [steps for run in runs if (steps := run.steps_to_evaluation(ahead)) is not None]
    if not left:
        return None
    steps = min(BLOCK_STEPS[recipe.device], *left)
    rows_M = [run.rows(ahead, steps) for run in runs]

    def on_device(parts: list[Any]) -> Tensor:
        shape = (steps, recipe.batch_rows, -1)
        # Stacked along the axis where it stays: what is compiled is compiled for one stride, also of an axis of one.
        tokens_SMBT = torch.stack([torch.as_tensor(part).reshape(shape) for part in parts], dim=1)
        if recipe.device == "cuda":
            tokens_SMBT = tokens_SMBT.pin_memory()
        return tokens_SMBT.to(recipe.device, non_blocking=True)

    return on_device([rows.inputs_BT for rows in rows_M]), on_device([rows.targets_BT for rows in rows_M])


class _Clock:
    """Seconds since it was last asked."""

    def __init__(self) -> None:
        self._last = perf_counter()

    def lap(self) -> float:
        last, self._last = self._last, perf_counter()
        return self._last - last
