"""A trial for a trainer that is not mixopt's: what it is given, and what it tells.

It is given one JSON object:

    {"trial": "3f0c...", "proxy": "small", "params": 60000000, "tokens": 2000000000, "seed": 1804289383,
     "weights": {"web": 0.7, "code": 0.3}, "domain_tokens": {"web": 1400000000, ...}, "metrics": ["web", "code"]}

and tells another, at the end of training: {"web": 3.1, "code": 1.2}, or {"losses": {...}, "seconds": 3600}, or
{"failed": "why"}. Metrics that nobody asked for are kept beside the losses.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixopt.base.errors import ConfigError
from mixopt.base.shown import shown_name
from search.mixture import counts
from search.trial import Failure, FailureKind, Loss, Measurement, Trial

# Trainers take seeds of 32 bits, some of them signed.
SEED_BYTES = 4
# What `failed` says of a trial that did not.
NOTHING_FAILED = (None, False, "", 0)


@dataclass(frozen=True)
class Order:
    """One trial, as another trainer needs it.

    Attributes:
        metrics: what has to be told.
        supply: tokens of each domain, by which its epochs are counted.
        folder: where files about the trial are kept.
    """

    trial: Trial
    metrics: tuple[str, ...]
    supply: Mapping[str, int]
    study_seed: int
    folder: Path

    @property
    def seed(self) -> int:
        """For the trainer's own randomness, of 31 bits: the mixtures of a replicate share it."""
        digest = hashlib.sha256(f"{self.study_seed}/{self.trial.seed}/another trainer".encode()).digest()
        return int.from_bytes(digest[:SEED_BYTES], "big") >> 1

    @property
    def domain_tokens(self) -> dict[str, int]:
        """Training tokens of each domain: whole, and summing to the trial's (largest remainder)."""
        return counts(self.trial.mixture, self.trial.fidelity.tokens)

    def plain(self) -> dict[str, Any]:
        fidelity = self.trial.fidelity
        return {
            "trial": self.trial.id,
            "purpose": self.trial.origin,
            "proxy": fidelity.proxy,
            "params": fidelity.params,
            "tokens": fidelity.tokens,
            "seed": self.seed,
            "weights": self.trial.mixture.as_dict(),
            "domain_tokens": self.domain_tokens,
            "metrics": list(self.metrics),
        }

    def json_text(self) -> str:
        return json.dumps(self.plain(), indent=2) + "\n"

    def outcome(self, told: object, seconds: float = 0.0) -> Measurement | Failure:
        """What the trainer told, understood.

        Args:
            told: the JSON value.
            seconds: that it took, where it does not say.

        Raises:
            ConfigError: it is none of the forms above, or a metric is missing, or is no number.
        """
        if not isinstance(told, Mapping):
            raise ConfigError("what was told is no JSON object", hint=f'write {{"{self.metrics[0]}": 3.1, ...}}')
        whole = told if {"losses", "failed"} & told.keys() else {"losses": told}
        seconds = _seconds(whole.get("seconds", seconds))
        # A trainer may always write the key, with null or "" where nothing failed.
        if (why := whole.get("failed")) not in NOTHING_FAILED:
            return Failure(FailureKind.ERROR, "" if why is True else str(why), seconds)
        losses = whole.get("losses")
        if not isinstance(losses, Mapping):
            raise ConfigError("losses is no JSON object", hint=f'write {{"{self.metrics[0]}": 3.1, ...}}')
        if missing := [name for name in self.metrics if losses.get(name) is None]:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            there = ", ".join(map(shown_name, list(losses)[:6])) or "nothing"
            raise ConfigError(
                f"the loss of {shown_name(missing[0])} is missing{more}",
                hint=f"tell all that it measures; told: {there}",
            )
        values = {name: _number(losses[name], name) for name in self.metrics}
        if odd := [name for name in self.metrics if not math.isfinite(values[name])]:
            return Failure(FailureKind.DIVERGED, f"the loss of {odd[0]} is {values[odd[0]]}", seconds)
        return self._measurement(values, _other_numbers(losses, self.metrics), seconds)

    def _measurement(self, values: Mapping[str, float], others: Mapping[str, float], seconds: float) -> Measurement:
        tokens = self.domain_tokens
        return Measurement(
            # In which unit they are, the trainer knows: the study takes them as they are.
            losses={name: Loss(values[name], values[name]) for name in self.metrics},
            curve=(),
            domain_tokens=tokens,
            domain_epochs={name: count / self.supply[name] for name, count in tokens.items()},
            flops=self.trial.fidelity.flops,
            seconds=seconds,
            diagnostics=others,
        )


def _other_numbers(losses: Mapping[str, object], metrics: tuple[str, ...]) -> dict[str, float]:
    """What else was measured; names, flags and the like are no measurements."""
    return {
        name: float(value)
        for name, value in losses.items()
        if name not in metrics
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < math.inf  # neither infinite nor NaN
    }


def _seconds(value: object) -> float:
    """
    Raises:
        ConfigError: it is no time.
    """
    seconds = _number(value, "seconds")
    if not 0 <= seconds < math.inf:
        raise ConfigError(f"seconds: {seconds:g} is no time", hint="leave it out, or write how long it was trained")
    return seconds


def _number(value: object, what: str) -> float:
    """
    Raises:
        ConfigError: it is none.
    """
    try:
        # JSON has no NaN, so trainers write the word.
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        number = None
    if number is None:
        raise ConfigError(f"{shown_name(what)}: {shown_name(str(value))} is no number", hint="write one, such as 3.1")
    return number
