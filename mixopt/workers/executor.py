"""Who trains the trials: the interface of every executor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from mixopt.workers.messages import Event

if TYPE_CHECKING:
    from proxies.recipe import Recipe
    from search.trial import Trial


class Unwanted(Exception):
    """What was begun is wanted no more, and was given up."""


# What an executor is given of a trial: mixopt.workers.training.Job where mixopt trains it, else workers.foreign.Order.
JobT = TypeVar("JobT", contravariant=True)


class Executor(ABC, Generic[JobT]):
    """Trains jobs and tells how they go; a context, at whose end all that it started is gone.

    Attributes:
        client: for whom trials are opened, where that is somebody.
        trains_on: whether open trials are trained on while no driver looks, so that none has to be begun again.
    """

    client: str | None = None
    trains_on: bool = False

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many jobs may run at a time, at least one; it changes with the machines that there are."""

    def compile(
        self,
        recipe: Recipe,
        remark: Callable[[str], object] = lambda text: None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> str | None:
        """Compile a recipe's steps on a machine where its trials may be trained; returns why that failed, if it did.

        On other machines of a cluster the first trial compiles.

        Args:
            remark: told what is waited for.
            wanted: whether it is still to be done; asked now and then, since it may wait long for room.

        Raises:
            Unwanted: it is not.
        """
        return None

    def announce(self, trials: Sequence[Trial]) -> None:
        """Told what is about to be recorded and launched."""
        return

    @abstractmethod
    def launch(self, job: JobT) -> None:
        """Begin a job."""

    def forget(self, job: JobT) -> None:
        """A trial that failed is about to be begun anew: what is left of it is no outcome of the new start."""
        return

    @abstractmethod
    def events(self) -> Iterator[Event]:
        """What happened since the last call; waits a moment for something, and may yield nothing."""

    @abstractmethod
    def close(self) -> None:
        """End whatever runs; nothing is launched after. Checkpoints stay, so ended trials can be resumed.

        It may be called again.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
