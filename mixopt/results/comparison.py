"""Two mixtures or studies side by side: what `mixopt compare --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, JsonValue

from mixopt.results.base import Part, Result, Shares
from mixopt.results.objective import StudyObjective
from mixopt.results.recommendation import Interval

Side = Literal["a", "b"]
# A side is absent where a study cannot judge it, the difference (b - a) where the two are not judged or are the same.
Estimates = Mapping[Literal["a", "b", "difference"], Interval]


class ComparedMixture(Part):
    """One of the two: as it was given, and in words what that is."""

    name: str
    what: str = Field(validation_alias="is", serialization_alias="is")


class ComparedShare(Part):
    """A domain's share in both, null where one does not have it."""

    a: float | None
    b: float | None
    difference: float
    """b - a."""


class ComparedLevel(ComparedShare):
    """The sum of the shares of all domains in a domain with parts."""

    domains: tuple[str, ...]


class JudgingSurrogate(Part):
    """What a study predicts by."""

    name: str
    trusted: bool
    spearman: float | None
    """Rank correlation with runs that it was not fitted to."""


class Predictions(Part):
    """Of one new run of each mixture."""

    objective: Estimates
    losses: Mapping[str, Estimates]


class MeasuredMixture(Part):
    """The completed trials of one mixture with one proxy."""

    origin: str
    proxy: str
    total_variation: float
    """From the mixture that is asked about."""
    trials: tuple[str, ...]
    objective: float | None
    """The mean over `mean_over_seeds`."""
    mean_over_seeds: tuple[int, ...]
    """Those that the search did not use, if there are any."""
    objectives: Mapping[str, float]
    """By seed, where known."""
    mixture: Shares


class MeasuredDifference(Part):
    """With one proxy, the mean of b - a, paired by seed."""

    proxy: str
    seeds: tuple[int, ...]
    difference: float
    margin: float | None
    """Half the width of its 95% interval; null with one seed."""


class ComparedEpochs(Part):
    """How often the final run of a study would repeat one of its domains; null for a mixture that it cannot judge."""

    a: float | None
    b: float | None
    max_epochs: float | None
    """How often it may."""


class Judgement(Part):
    """What one study knows of the two."""

    study: str
    file: str
    objective: StudyObjective
    surrogate: JudgingSurrogate | None
    """Null where nothing is predicted."""
    predicted: Predictions | None
    measured: Mapping[Side, tuple[MeasuredMixture, ...]]
    """Each mixture's own trials, then those of the mixtures nearest to it."""
    measured_difference: tuple[MeasuredDifference, ...]
    notes: tuple[str, ...]
    target_tokens: int | None = None
    """Of the study's final run."""
    epochs: Mapping[str, ComparedEpochs] = {}
    """By domain, where these tokens are known."""


class DifferingSetting(Part):
    """A setting that decides a study's numbers, null where a study does not have it."""

    setting: str
    a: JsonValue
    b: JsonValue


class ComparedStudy(Part):
    study: str
    trials: Mapping[str, int]
    """By state."""
    flops: float
    training_seconds: float
    verdict: str


class ComparedStudies(Part):
    """What differs between two studies besides their answers."""

    settings: tuple[DifferingSetting, ...]
    a: ComparedStudy
    b: ComparedStudy


class Comparison(Result):
    """Two mixtures, and what studies know of them."""

    schema_version: Literal[1] = 1
    a: ComparedMixture
    b: ComparedMixture
    shares: Mapping[str, ComparedShare]
    """By domain."""
    levels: Mapping[str, ComparedLevel] = {}
    """By domain with parts, of the study that judges; of those alone whose domains both mixtures have."""
    total_variation: float
    """The share of tokens that change domain from one to the other."""
    judged: tuple[Judgement, ...]
    studies: ComparedStudies | None
    """Where both are the answers of studies."""
    notes: tuple[str, ...]
