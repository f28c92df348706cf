"""A trial and what becomes of it: a measurement, or a failure."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from search.errors import SearchError
from search.fidelity import Fidelity
from search.mixture import Mixture
from search.urls import fit_to_show

LONGEST_TRACEBACK = 10_000  # characters, its end: a journal keeps them


@dataclass(frozen=True)
class Trial:
    """One mixture at one fidelity with one seed.

    `origin` says why it was asked for ("design", "baseline:uniform", "confirm"); it is not part of the
    identity, so that asking for the same training for two reasons is one trial.
    """

    mixture: Mixture
    fidelity: Fidelity
    seed: int
    origin: str = field(default="design", compare=False)

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits, equal in every process for the same mixture, fidelity and seed."""
        identity = {
            # Nine decimals are far finer than any trainer resolves, and hide last-bit differences between machines.
            "weights": sorted((name, f"{weight:.9f}") for name, weight in self.mixture.as_dict().items()),
            "proxy": self.fidelity.proxy,
            "tokens": self.fidelity.tokens,
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)  # a long study has millions of them
class Loss:
    """Mean loss on the tokens of one evaluation set."""

    nats_per_token: float
    bits_per_byte: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.nats_per_token) and math.isfinite(self.bits_per_byte)):
            raise SearchError(
                f"a loss of {self.nats_per_token} nats is no measurement", hint="record a Failure instead"
            )


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The losses after some of the training tokens: with a constant learning rate an honest shorter run.

    `training_loss` is the mean over the batches since the point before, in nats per token.
    """

    tokens: int
    losses: Mapping[str, Loss]
    training_loss: float


@dataclass(frozen=True)
class DocumentGroups:
    """What groups of documents of one evaluation set cost a trial, at its end; each set has the same groups always.

    Attributes:
        nats: summed over the tokens of each group.
        tokens, bytes: of each group's text, where it carries loss.
    """

    nats: tuple[float, ...]
    tokens: tuple[int, ...]
    bytes: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.nats) == len(self.tokens) == len(self.bytes) or not all(map(math.isfinite, self.nats)):
            raise SearchError(f"groups of documents with {self.nats} nats are no measurement", hint="leave them out")


@dataclass(frozen=True)
class Measurement:
    """What a trained trial reports.

    Attributes:
        losses: final loss of each evaluation set, by name.
        curve: the same at earlier points of the run, by rising tokens.
        domain_tokens: training tokens that each domain really gave.
        domain_epochs: how often each domain was read through; 0.5 is half of it once.
        flops: floating-point operations of training.
        seconds: time spent training and evaluating, over all attempts.
        diagnostics: other numbers worth a look (expert load, gradient norm, ...), by name.
        environment: what it ran on (device, precision, versions).
        stopped_at: the training tokens after which it was stopped; None where it came to its end.
        documents: by evaluation set, what groups of its documents cost; told by trials of a confirmation alone, whose
            documents are others than the search's.
    """

    losses: Mapping[str, Loss]
    curve: tuple[CurvePoint, ...]
    domain_tokens: Mapping[str, int]
    domain_epochs: Mapping[str, float]
    flops: float
    seconds: float
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    stopped_at: int | None = None
    documents: Mapping[str, DocumentGroups] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.losses:
            raise SearchError("a measurement without a loss", hint="record a Failure instead")
        numbers = {"flops": self.flops, "seconds": self.seconds, **self.domain_epochs, **self.diagnostics}
        numbers |= {f"training loss at {point.tokens} tokens": point.training_loss for point in self.curve}
        for name, number in numbers.items():
            if not math.isfinite(number):
                raise SearchError(f"{name} is {number}, which is no measurement", hint="record a Failure instead")


class FailureKind(StrEnum):
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out of memory"
    LOST_WORKER = "lost worker"
    ERROR = "error"


@dataclass(frozen=True)
class Failure:
    """Why a trial has no measurement; no URL in its words holds a password.

    Attributes:
        traceback: where in the code it died, as Python shows it; "" where nothing was raised, as when a worker is lost.
    """

    kind: FailureKind
    message: str
    seconds: float = 0.0
    traceback: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", fit_to_show(self.message))
        object.__setattr__(self, "traceback", fit_to_show(self.traceback[-LONGEST_TRACEBACK:]))
