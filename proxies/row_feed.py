"""The rows of the steps to come, gathered by a thread while a device is busy with those before.

They lie in a ring of two blocks, as small integers, in memory that a GPU reads by itself.

S steps, M members, B rows of each, T positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from proxies.errors import ProxyError
from proxies.member import RowStream
from proxies.recipe import Recipe
from proxies.targets import IGNORED

BLOCKS = 2
BLOCK_TOKENS = 2**23

# By the slot, why its rows could not be had.
Errors = dict[int, Exception]


@dataclass(frozen=True)
class Wanted:
    """The rows of one slot: those of `stream` from `step` on."""

    stream: RowStream
    step: int


class _Block:
    """Room for the rows of some steps of all members; `copied` tells when a GPU has read them."""

    def __init__(self, recipe: Recipe, members: int, steps: int) -> None:
        shape = (steps, members, recipe.batch_rows, recipe.model.sequence_length)
        on_gpu = recipe.device == "cuda"
        self.inputs_SMBT = torch.zeros(shape, dtype=torch.int32, pin_memory=on_gpu)
        self.targets_SMBT = torch.full(shape, IGNORED, dtype=torch.int32, pin_memory=on_gpu)
        self.copied = torch.cuda.Event() if on_gpu else None  # type: ignore[no-untyped-call]


class RowFeed:
    """
    Args:
        steps: of a block, at most; fewer where a block would be too large.
    """

    def __init__(self, recipe: Recipe, members: int, steps: int) -> None:
        self._recipe = recipe
        steps = max(1, min(steps, BLOCK_TOKENS // (members * recipe.batch_tokens)))
        self._steps = steps
        self._ring = [_Block(recipe, members, steps) for _ in range(BLOCKS)]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rows")
        self._ahead: tuple[list[Wanted | None], int, Future[Errors]] | None = None

    def close(self) -> None:
        """Nothing is gathered any more."""
        self._thread.shutdown(cancel_futures=True)

    def prepare(self, wanted: Sequence[Wanted | None], steps: int) -> None:
        """Begin to gather the rows that will most likely be asked for next; None is a slot without a member."""
        slots, steps = list(wanted), min(steps, self._steps)
        self._ahead = slots, steps, self._thread.submit(self._gather, slots, range(len(slots)), steps)

    def settle(self) -> None:
        """Wait until nothing is being gathered: from then on, streams may be asked by others."""
        if self._ahead is not None:
            self._ahead[2].exception()

    def take(self, wanted: Sequence[Wanted | None], steps: int) -> tuple[Tensor, Tensor, Errors]:
        """Inputs and targets of so many steps at most, of one at least, [S, M, B, T] int32, on the recipe's device.

        What was not prepared is gathered now. The third: slots whose rows could not be had, and have no targets.
        """
        errors: Errors = {}
        slots, left, steps = list(wanted), list(range(len(wanted))), min(steps, self._steps)
        if self._ahead is not None:
            prepared, prepared_steps, gathering = self._ahead
            steps = min(steps, prepared_steps)
            left = [slot for slot in left if slots[slot] != prepared[slot]]
            errors = {slot: error for slot, error in gathering.result().items() if slot not in left}
        self._ahead = None
        errors |= self._gather(slots, left, steps)
        block = self._ring[0]
        self._ring.reverse()
        # On a CPU these are the block itself, which is filled again only after the next one.
        inputs_SMBT, targets_SMBT = (
            rows_SMBT[:steps].to(self._recipe.device, non_blocking=True)
            for rows_SMBT in (block.inputs_SMBT, block.targets_SMBT)
        )
        if block.copied is not None:
            block.copied.record()
        return inputs_SMBT, targets_SMBT, errors

    def _gather(self, wanted: Sequence[Wanted | None], slots: Sequence[int], steps: int) -> Errors:
        """Rows of these slots, into the block that is taken next."""
        block, errors = self._ring[0], Errors()
        if block.copied is not None:
            block.copied.synchronize()
        for slot in slots:
            block.targets_SMBT[:, slot] = IGNORED
            if (one := wanted[slot]) is None:
                continue
            try:
                inputs_SBT, targets_SBT = self._rows(one, steps)
            except Exception as error:  # whatever it was, it is this member's: the others go on
                errors[slot] = error
                continue
            block.inputs_SMBT[:steps, slot], block.targets_SMBT[:steps, slot] = inputs_SBT, targets_SBT
        return errors

    def _rows(self, wanted: Wanted, steps: int) -> tuple[Tensor, Tensor]:
        """
        Raises:
            ProxyError: there are tokens that the model does not know, which in a pack would be another member's.
        """
        batch = self._recipe.batch_rows
        rows = wanted.stream.rows(wanted.step * batch, steps * batch)
        parts = []
        for name, tokens, least in (("inputs", rows.inputs_BT, 0), ("targets", rows.targets_BT, IGNORED)):
            tokens_SBT = torch.as_tensor(tokens).view(steps, batch, -1)
            lowest, highest = (int(each) for each in tokens_SBT.aminmax())
            if lowest < least or highest >= self._recipe.model.vocabulary:
                raise ProxyError(
                    f"the {name} of a row are tokens from {lowest} to {highest}, and the model knows 0 to "
                    f"{self._recipe.model.vocabulary - 1}"
                )
            parts.append(tokens_SBT)
        return parts[0], parts[1]
