"""What is to be low."""

from __future__ import annotations

from typing import Literal

from mixopt.results.base import Part


class StudyObjective(Part):
    """The objective of a study, and where it is measured."""

    kind: str
    """As `objective.kind` of the study file."""
    unit: Literal["nats_per_token", "bits_per_byte"]
    metrics: tuple[str, ...]
    """The evaluation sets that count."""
    proxy: str
    """At which the answer is given and confirmed."""


class RunsObjective(Part):
    """The objective over a table of runs; lower is better."""

    kind: str
    """As `--objective`."""
    metrics: tuple[str, ...]
    maximised: tuple[str, ...]
    """The metrics of which more is better."""
