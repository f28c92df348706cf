"""What a search or a fit recommends before anything is confirmed, and the evidence for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Self

from mixopt.results.base import Part, Shares

if TYPE_CHECKING:
    from search.recommendation import recommendation, validation


class Interval(Part):
    """An expected measurement and its 95% interval."""

    mean: float
    lower: float
    upper: float

    @classmethod
    def of(cls, estimate: recommendation.Estimate) -> Self:
        return cls(mean=estimate.mean, lower=estimate.lower, upper=estimate.upper)


class BasinScore(Part):
    """Predictions of the best quarter of the mixtures, by their measurements."""

    mixtures: int
    """How many are in the quarter."""
    spearman: float | None
    """Rank correlation among them; null where either side is constant."""
    pairwise: float
    """Share of their pairs that are predicted in the order in which they were measured; ties count half."""
    regret: float
    """What the mixture with the best prediction of all was measured to be worse than the best, in the metric's unit."""


class Score(Part):
    """Predictions against measurements that the predicting surrogate was not fitted to."""

    spearman: float | None
    """Rank correlation; null where either side is constant."""
    rmse: float
    """Root mean squared error, in the metric's unit."""
    r2: float | None
    """Share of the variance that is explained; null where all measurements are equal."""
    coverage_80: float
    """Share of the measurements inside their 80% interval."""
    coverage_95: float
    basin: BasinScore | None = None
    """Of the best quarter alone; null where that is fewer than 5 mixtures, and in answers of 0.1.0."""

    @classmethod
    def of(cls, score: validation.Score) -> Self:
        return cls(
            spearman=score.spearman,
            rmse=score.rmse,
            r2=score.r2,
            coverage_80=score.coverage_80,
            coverage_95=score.coverage_95,
            basin=None if score.basin is None else BasinScore(**asdict(score.basin)),
        )


class Validation(Part):
    """How well a surrogate predicts mixtures that it was not fitted to, by cross-validation."""

    runs: int
    """How many the scores are over."""
    at_target: int
    """Mixtures that measured every metric at the target."""
    shared: int
    """Mixtures that were measured at the target and below it."""
    agreement: float | None
    """Rank correlation, over the shared mixtures, of the objective at the target with that below it."""
    transfer: float | None
    """Rank correlation at the target of measured with predicted."""
    trustworthy: bool
    """Whether it is shown to rank mixtures at the target better than chance."""
    orders_basin: bool | None = None
    """The same of the best quarter of the mixtures; null where that is fewer than 5, and in answers of 0.1.0."""
    objective: Score
    metrics: Mapping[str, Score]

    @classmethod
    def of(cls, found: validation.Validation) -> Self:
        return cls(
            runs=found.runs,
            at_target=found.at_target,
            shared=found.shared,
            agreement=found.agreement,
            transfer=found.transfer,
            trustworthy=found.trustworthy,
            orders_basin=found.orders_basin,
            objective=Score.of(found.objective),
            metrics={name: Score.of(score) for name, score in found.metrics.items()},
        )


class EffectOfShare(Part):
    """The predicted objective over the share of one domain, the others in proportion."""

    shares: tuple[float, ...]
    values: tuple[float, ...]


class LevelEffect(Part):
    """What is known of a domain with parts: of all domains in it together."""

    domains: tuple[str, ...]
    range: tuple[float, float]
    """Least and largest sum of their shares among mixtures that are expected to be as good."""
    effect: EffectOfShare
    """Over the sum; their shares of it, and those of the others of the rest, in proportion."""
    flat: bool
    """Whether their sum, changed alone, hardly matters."""


class FrontPoint(Part):
    """A mixture than which no other is predicted to be as good in every metric and better in one."""

    mixture: Shares
    predicted: Mapping[str, float]
    """By metric."""


class Candidate(Part):
    """A mixture worth confirming; the label says why."""

    label: str
    mixture: Shares


class Recommendation(Part):
    """A mixture, what it is expected to reach, and why."""

    mixture: Shares
    method: str
    """The surrogate that it rests on, or "best observed"."""
    predicted: Interval | None
    """Objective of one new run of the mixture; null where it is the best of what was measured."""
    gain: Interval | None = None
    """By how much it is expected to be below that of a run of the proportional mixture with the same seed; null as
    `predicted` is, without a proportional mixture, and in answers of 0.1.0."""
    predicted_losses: Mapping[str, Interval]
    """The same by metric."""
    ranges: Mapping[str, tuple[float, float]]
    """Least and largest share of each domain among mixtures that are expected to be as good."""
    baselines: Mapping[str, float]
    """Measured objective of each baseline at the target; a failed one is absent."""
    beats: Mapping[str, float]
    """Probability, for each baseline, that a new run of the mixture has a lower objective than one of it."""
    effects: Mapping[str, EffectOfShare]
    """By domain."""
    flat: tuple[str, ...]
    """Domains whose share, changed alone, hardly matters."""
    levels: Mapping[str, LevelEffect] = {}
    """By the name of a domain with parts; of a prediction alone."""
    front: tuple[FrontPoint, ...]
    """Where several objectives are wanted at once."""
    candidates: tuple[Candidate, ...]
    """What to confirm, best first."""
    validation: Validation | None
    """Of the surrogate, where one was tried."""
    warnings: tuple[str, ...]
    trials: int
    """How many runs it rests on."""

    @classmethod
    def of(cls, found: recommendation.Recommendation) -> Self:
        return cls(
            mixture=found.mixture.as_dict(),
            method=found.method,
            predicted=None if found.predicted is None else Interval.of(found.predicted),
            gain=None if found.gain is None else Interval.of(found.gain),
            predicted_losses={name: Interval.of(estimate) for name, estimate in found.predicted_losses.items()},
            ranges=dict(found.ranges),
            baselines=dict(found.baselines),
            beats=dict(found.beats),
            effects={
                name: EffectOfShare(shares=effect.shares, values=effect.values)
                for name, effect in found.effects.items()
            },
            flat=found.flat,
            levels={
                name: LevelEffect(
                    domains=level.domains,
                    range=level.range,
                    effect=EffectOfShare(shares=level.effect.shares, values=level.effect.values),
                    flat=level.flat,
                )
                for name, level in found.levels.items()
            },
            front=tuple(
                FrontPoint(mixture=point.mixture.as_dict(), predicted=dict(point.predicted)) for point in found.front
            ),
            candidates=tuple(
                Candidate(label=entry.label, mixture=entry.mixture.as_dict()) for entry in found.candidates
            ),
            validation=None if found.validation is None else Validation.of(found.validation),
            warnings=found.warnings,
            trials=found.trials,
        )
