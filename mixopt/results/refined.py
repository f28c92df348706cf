"""A study over refined pools: what `mixopt domains STUDY --split ... --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mixopt.results.base import Result
from mixopt.results.domains import FoundDomains


class RefinedStudy(Result):
    """A study whose domains were split or merged, made of another one."""

    schema_version: Literal[1] = 1
    study: str
    """The new study file, beside the old."""
    name: str
    """The new study's."""
    made_from: str
    """The old study's name."""
    inputs: str
    """Digest of the documents, the old study and all that decided the outcome."""
    split: Mapping[str, FoundDomains]
    """By domain, what it was split into; the parts are called `domain.part`."""
    merged: Mapping[str, tuple[str, ...]]
    """By new domain, what it was put together of."""
    runs: str | None
    """Table of the old study's runs, which the new one reuses; null where it has none."""
    earlier_runs: int
    """How many they are, those of the confirmation included."""
    counted_runs: int = 0
    """How many of them are evidence: none of the confirmation, nor those that mixed merged domains otherwise."""
    held_out: Mapping[str, str]
    """By domain that is no more, its held-out documents, by which the new study is judged as the old was."""
    notes: tuple[str, ...]
