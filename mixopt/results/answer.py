"""The answer of a study with its evidence: what is recorded, and what `mixopt best --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Self

from pydantic import ValidationError

from mixopt.base.errors import ConfigError
from mixopt.results.base import Part, Result, Shares
from mixopt.results.inventory import Inventory
from mixopt.results.objective import StudyObjective
from mixopt.results.predictions import Predictions
from mixopt.results.recommendation import Recommendation
from mixopt.results.scale import ScalePath

if TYPE_CHECKING:
    from search.recommendation import confirmation as confirm
    from search.recommendation.metric_tests import MetricTest


class DomainAnswer(Part):
    """What the answer means for one domain."""

    tokens: int
    """Its supply."""
    proportional: float
    """Its share in the proportional mixture, as that was trained."""
    weight: float
    """Its share in the answer."""
    epochs: float | None
    """How often the final run repeats it, where the tokens of that run are known."""
    mean_document_tokens: float | None
    """Null where mixopt does not read the text."""
    max_epochs: float | None = None
    """How often that run may, where its tokens are known; null in answers of 0.1.0."""


class LevelAnswer(Part):
    """What the answer means for a domain with parts: sums over all domains in it."""

    domains: tuple[str, ...]
    """Those of the mixture, in whatever level below it."""
    tokens: int
    proportional: float
    weight: float


class TrialCounts(Part):
    """Of the trials that the answer rests on."""

    completed: int
    stopped: int
    """Ended early, because they were hopeless."""
    failed: int
    flops: float
    """Of what was measured."""


class MetricDifference(Part):
    """One metric, or the mean of a family, of a confirmed mixture beside a baseline."""

    difference: float
    """Mean of the mixture's minus the baseline's, over the seeds that both have, in the metric's unit."""
    margin: float | None
    """Half the width of the difference's 95% interval, this metric alone; null where the noise is not known."""
    seeds: int
    broken: bool = False
    """Whether it is shown to be worse than the objective's constraint allows."""

    @classmethod
    def of(cls, found: MetricTest) -> Self:
        return cls(difference=found.difference, margin=found.margin, seeds=found.seeds, broken=found.broken)


class Outcome(Part):
    """One mixture, trained again with seeds that the search never used."""

    label: str
    """A candidate's, or "baseline:" and the name of a baseline."""
    mixture: Shares
    values: Mapping[str, float]
    """Objective by seed; a failed run's seed is absent."""
    mean: float | None
    """Over the seeds."""
    difference: float | None
    """Mean of its objective minus the proportional mixture's, over the seeds that both have."""
    margin: float | None
    """Half the width of the difference's 95% interval, over all candidates together; null below two such seeds."""
    verdict: Literal["better", "no difference shown", "worse", "not compared"]
    sentence: str
    also: tuple[str, ...] = ()
    """Labels of what is nearly the same mixture, and was not trained beside it."""
    metrics: Mapping[str, MetricDifference] = {}
    """Each metric beside the objective's baseline, or else the proportional mixture."""
    families: Mapping[str, MetricDifference] = {}
    """The same of the mean of each family of metrics."""

    @property
    def broken(self) -> tuple[str, ...]:
        """Metrics that are shown to be worse than they may be: the mixture is no answer."""
        return tuple(name for name, found in self.metrics.items() if found.broken)

    @classmethod
    def of(cls, found: confirm.Outcome) -> Self:
        metrics, families = ({}, {}) if found.tests is None else (found.tests.metrics, found.tests.families)
        return cls(
            label=found.label,
            mixture=found.mixture.as_dict(),
            values={str(seed): value for seed, value in found.values.items()},
            mean=found.mean,
            difference=found.difference,
            margin=found.margin,
            verdict=found.verdict,
            also=found.also,
            sentence=found.sentence,
            metrics={name: MetricDifference.of(test) for name, test in metrics.items()},
            families={name: MetricDifference.of(test) for name, test in families.items()},
        )


class Beside(Part):
    """The answer beside the best baseline, or, where a baseline is the answer, beside the best candidate."""

    label: str
    difference: float
    """Mean of the answer's objective minus the rival's, over the seeds that both have."""
    margin: float | None
    """Half the width of its 95% interval, the noise estimated over all mixtures; null where it cannot be."""
    seeds: int
    shown: bool
    """Whether that interval leaves out 0."""
    sentence: str

    @classmethod
    def of(cls, found: confirm.Comparison) -> Self:
        return cls(
            label=found.label,
            difference=found.difference,
            margin=found.margin,
            seeds=found.seeds,
            shown=found.shown,
            sentence=found.sentence,
        )


class Confirmation(Part):
    """The best candidates and the baselines, trained again."""

    candidates: tuple[Outcome, ...]
    baselines: tuple[Outcome, ...]
    winner: Outcome
    beside: Beside | None = None
    run_sd: float | None = None
    """Standard deviation of what neither a run's mixture nor its seed explains; null with too few seeds."""
    over: Literal["seeds", "seeds and documents"] = "seeds"
    """What its intervals hold for: other seeds, or other seeds and other documents of the same kind."""

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        return (*self.candidates, *self.baselines)

    @classmethod
    def of(cls, found: confirm.Confirmation) -> Self:
        return cls(
            candidates=tuple(map(Outcome.of, found.candidates)),
            baselines=tuple(map(Outcome.of, found.baselines)),
            winner=Outcome.of(found.winner),
            beside=None if found.beside is None else Beside.of(found.beside),
            run_sd=found.run_sd,
            over="seeds and documents" if found.over_documents else "seeds",
        )


class Provenance(Part):
    """Where an answer comes from."""

    mixopt: str
    """The version that found it."""
    study: str
    study_digest: str
    """Of the settings that decide the study's numbers."""
    corpus: str
    """Fingerprint of the tokens."""
    seed: int
    tracking_uri: str
    mlflow_run: str
    inventory: str | None = None
    """Fingerprint of the inventory; null in answers of 0.1.0."""


class Answer(Result):
    """The mixture to train on, and everything that is known about it."""

    schema_version: Literal[1] = 1
    study: str
    mixture: Shares
    ended: bool
    """Whether the study ends with it."""
    confirmed: bool
    verdict: str
    objective: StudyObjective
    domains: Mapping[str, DomainAnswer]
    levels: Mapping[str, LevelAnswer] = {}
    """Domains with parts, outer ones before those inside them; none in answers of 0.1.0."""
    trials: TrialCounts
    recommendation: Recommendation
    """What the search proposes."""
    confirmation: Confirmation | None
    notes: tuple[str, ...]
    provenance: Provenance
    inventory: Inventory | None = None
    """What there was of each domain; null in answers of 0.1.0."""
    predictions: Predictions | None = None
    """Gains, predicted before they were confirmed; null where nothing is predicted, and in answers of 0.1.0."""
    path: ScalePath | None = None
    """How the best mixture is expected to move from the proxies to the final run; null where nothing says so, and in
    answers of 0.1.0."""

    @classmethod
    def read(cls, recorded: Mapping[str, object]) -> Self:
        """An answer as it was recorded, by this version or by one before it.

        Raises:
            ConfigError: a later version recorded it, or it is damaged.
        """
        version, current = recorded.get("schema_version"), cls.model_fields["schema_version"].default
        if isinstance(version, int) and version > current:
            raise ConfigError(
                f"the answer was recorded by a later mixopt: its schema_version is {version}, this mixopt reads "
                f"{current} at most",
                hint="read it with the version that recorded it, or update mixopt",
            )
        try:
            return cls.model_validate(_from_before_versions(recorded) if version is None else recorded)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "its head"
            raise ConfigError(
                f"the recorded answer is damaged at {place}: {first['msg']}", hint="mixopt run records it anew"
            ) from error


def _from_before_versions(recorded: Mapping[str, object]) -> dict[str, object]:
    """What 0.1.0 recorded, which said neither the version of its form nor, at first, whether the study had ended."""
    return {"ended": recorded.get("confirmed", False), **recorded, "schema_version": 1}
