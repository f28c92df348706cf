"""What a training run reports: where it is, and in the end what it measured, or that it diverged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxies.evaluate import EvaluationLoss, GroupLosses


@dataclass(frozen=True)
class CurvePoint:
    """The losses by evaluation set after that many training tokens."""

    tokens: int
    losses: Mapping[str, EvaluationLoss]


@dataclass(frozen=True)
class TrainingProgress:
    """Where a run is.

    Attributes:
        tokens: those trained on, of the whole run.
        training_loss: mean nats per token of the steps since the last report.
        tokens_per_second: since the last report.
        evaluation: the losses, where they were just measured.
        slower: why its steps are slower than they were asked to be; empty where they are not.
    """

    step: int
    steps: int
    tokens: int
    training_loss: float
    tokens_per_second: float
    evaluation: CurvePoint | None
    slower: str = ""


@dataclass(frozen=True)
class TrainingResult:
    """What a run measured.

    Attributes:
        losses: of each evaluation set, at the end.
        groups: of the groups of those sets whose documents are divided, at the end.
        curve: the same at each evaluation, the last one at the end.
        training_losses: mean nats per token of each step's batch.
        flops: of training, by formula; evaluation is not counted.
        seconds: of training and evaluation, over all attempts whose work was kept.
        diagnostics: gradient norm, share of tokens by expert and the like, at the last evaluation, by name.
        environment: what it ran on.
    """

    losses: Mapping[str, EvaluationLoss]
    groups: Mapping[str, GroupLosses]
    curve: tuple[CurvePoint, ...]
    training_losses: tuple[float, ...]
    steps: int
    tokens: int
    flops: float
    seconds: float
    diagnostics: Mapping[str, float]
    environment: Mapping[str, str]


class Diverged(RuntimeError):
    """The loss is not finite, or above twice that of guessing uniformly: more steps would not mend it."""

    def __init__(self, step: int, loss: float, seconds: float) -> None:
        super().__init__(f"the loss is {loss:.4g} nats per token after step {step}")
        self.step = step
        self.loss = loss
        self.seconds = seconds
