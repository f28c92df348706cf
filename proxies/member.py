"""What is one proxy's own, where several of one recipe train together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from proxies.errors import ProxyError
from proxies.result import CurvePoint

if TYPE_CHECKING:
    from torch import Tensor


class Rows(Protocol):
    """A batch of [B, T] tokens, whole numbers; targets are -100 where no loss is taken."""

    @property
    def inputs_BT(self) -> Any: ...

    @property
    def targets_BT(self) -> Any: ...


class RowStream(Protocol):
    """Training data as one endless sequence of rows; row 7 is the same whenever it is asked for."""

    def rows(self, start: int, count: int) -> Rows: ...


@dataclass(frozen=True)
class Member:
    """
    Attributes:
        stream: its training text.
        seed: of its first weights.
        data: what the rows are, in words that differ wherever the rows do; a checkpoint of other data is replaced.
        learning_rate: its peak; None is the recipe's.
        checkpoint: file or fsspec URL where the run's state is kept, and taken up again; that of a finished run
            yields the result at once. One that is damaged, or of another recipe, seed or data, is replaced, which is
            noted in diagnostics["checkpoint/replaced"]; diagnostics["checkpoint/unwritten"] counts failed attempts to
            write one.
        hopeless: asked at each evaluation but the last; where it says so, the run ends there, with a result of the
            tokens it has trained on.
        keep: given its weights by name once it has ended, on the CPU; nobody keeps them else.

    Raises:
        ProxyError: a learning rate of 0 or less.
    """

    stream: RowStream
    seed: int
    data: str = ""
    learning_rate: float | None = None
    checkpoint: str | Path | None = None
    hopeless: Callable[[CurvePoint], bool] | None = None
    keep: Callable[[Mapping[str, Tensor]], None] | None = None

    def __post_init__(self) -> None:
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise ProxyError(f"member: learning_rate is {self.learning_rate}", hint="let it be a number above 0")


# Asked for more members: for how many there is room, and whether nobody trains, so that it may wait for some.
More = Callable[[int, bool], Sequence[Member]]
