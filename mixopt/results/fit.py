"""What finished runs say: what `mixopt fit --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from mixopt.results.base import Part, Result, Shares
from mixopt.results.objective import RunsObjective
from mixopt.results.recommendation import Interval, Recommendation, Score, Validation
from mixopt.results.scale import FinalRun, ScalePath


class FitObjective(RunsObjective):
    """The objective of a fit."""

    name: str
    """For a reader, as plots call it."""


class FittedSurrogate(Part):
    cross_validation: Validation


class SkippedSurrogate(Part):
    skipped: str
    """Why it was not fitted."""


class HoldoutScore(Score):
    """Of runs that no surrogate was fitted to."""

    calibrated_rmse: float | None
    """Root mean squared error after the best line from predictions to measurements; null below three runs."""


class Pick(Part):
    """The run of the holdout with the best prediction."""

    run: str
    rank: int
    """By its measurement, from 1."""
    regret: float
    """Its measured objective above that of the best run."""
    regret_sd: float | None
    """The same in standard deviations of the objective."""


class HoldoutScores(HoldoutScore):
    """How well a surrogate predicts the holdout: the objective, then each metric."""

    fidelity: str
    """At which the holdout was measured."""
    runs: int
    pick: Pick
    metrics: Mapping[str, HoldoutScore]
    mean_metric_spearman: float | None


class NaturalMixture(Part):
    """The mixture without any choice."""

    source: str = Field(validation_alias="is", serialization_alias="is")
    """Where it comes from."""
    mixture: Shares
    predicted: Interval | None


class DomainEpochs(Part):
    """How often the run that the mixture is for repeats one domain."""

    natural: float
    recommended: float
    max_epochs: float | None
    """How often it may."""


class MetricPredictability(Part):
    """Whether a metric, or the objective, can be predicted at all."""

    metric: str
    """Its name, or the objective's name."""
    verdict: Literal["predictable", "partly", "not shown"]
    """predictable: at least half of what noise leaves is explained; partly: only the ranking is better than chance."""
    explained: float | None
    """Share of the variance of held-out runs that predictions explain."""
    ceiling: float | None
    """The most that could be explained: 1 - variance of the noise / variance; null where no mixture was run twice."""
    noise_sd: float | None
    """Of a run, in the metric's unit, from mixtures that were run more than once."""
    freedom: int
    """Degrees of freedom that it rests on; 0 without any."""


class HeldBound(Part):
    """A domain whose recommended share lies on a bound."""

    domain: str
    kind: Literal["maximum", "supply", "minimum", "most trained", "least trained"]
    share: float
    """The bound."""
    says: str
    """The same in words."""


class HeldOutRuns(Part):
    """Objectives of runs that the predicting surrogate was not fitted to, measured and predicted."""

    source: str = Field(validation_alias="of", serialization_alias="of")
    """cross-validation or holdout."""
    fidelity: str
    measured: tuple[float, ...]
    predicted: tuple[float, ...]


class FitResult(Result):
    """What finished runs say, and how far that can be trusted."""

    schema_version: Literal[1] = 1
    runs: Mapping[str, int]
    """How many at each fidelity."""
    target: str
    """The fidelity that the mixture is for."""
    predicted_at: str
    """The fidelity in whose units predictions are."""
    objective: FitObjective
    default: str | None
    """The surrogate that the mixture rests on."""
    trusted: bool
    why: str
    surrogates: Mapping[str, FittedSurrogate | SkippedSurrogate]
    holdout: Mapping[str, HoldoutScores]
    """By surrogate."""
    recommendation: Recommendation
    natural: NaturalMixture
    measured: Mapping[str, tuple[float, ...]]
    """The metrics of the runs that measured all of them at the target."""
    predictions: HeldOutRuns | None
    predictability: tuple[MetricPredictability, ...] = ()
    """By the surrogate that the mixture rests on, the objective first; empty in results of 0.1.0."""
    bounds: tuple[HeldBound, ...] = ()
    """The domains whose recommended share lies on a bound; empty in results of 0.1.0."""
    notes: tuple[str, ...]
    files: tuple[str, ...] = ()
    """What was written."""
    target_tokens: int | None = None
    """Of the run that the mixture is for, where --space gives them."""
    epochs: Mapping[str, DomainEpochs] = {}
    """By domain, where these tokens are known."""
    goal: FinalRun | None = None
    """The run that the recommendation and its predictions are for, where that is none of the fidelities."""
    path: ScalePath | None = None
    """How the best mixture moves as runs grow to `goal`, where a law of scale was fitted."""

    @property
    def fitted(self) -> dict[str, Validation]:
        """By surrogate, how well it predicts."""
        return {
            name: each.cross_validation for name, each in self.surrogates.items() if isinstance(each, FittedSurrogate)
        }

    @property
    def skipped(self) -> dict[str, str]:
        """By surrogate, why it was not fitted."""
        return {name: each.skipped for name, each in self.surrogates.items() if isinstance(each, SkippedSurrogate)}
