"""What a report says, as plain values, before any word or plot; gather.py computes them.

A part that has nothing to show is a `Missing` with the reason. Objectives and losses are in `Content.unit`. Gains are
proportional's objective minus a mixture's: above 0 the mixture is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mixopt.results.answer import DomainAnswer, LevelAnswer, MetricDifference, Provenance, TrialCounts
from mixopt.results.base import Result
from mixopt.results.calibration import GainScore
from mixopt.results.recommendation import FrontPoint, Interval, Validation
from mixopt.results.reused import Reused
from mixopt.results.scale import ScalePath
from search.problem import PROPORTIONAL
from search.recommendation.effects import Effect

OBJECTIVE = "objective"


@dataclass(frozen=True)
class Missing:
    """Why a part of the report has nothing to show."""

    reason: str


@dataclass(frozen=True)
class Gain:
    """A gain over the proportional mixture and its 95% interval, where there is one."""

    mean: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class Rival:
    """A mixture that could be the answer, and what it gains.

    Attributes:
        label: a candidate's, or a baseline's name.
        changes_nothing: whether it is the proportional mixture, by whatever label.
        predicted: by the surrogate, of one new run each; None where none is trusted, and of the proportional mixture.
        confirmed: over the seeds of the confirmation; None where it was not confirmed, and of the proportional mixture.
        values: its confirmed objective by seed.
        beaten: of a baseline, the predicted probability that a new run of the proposed mixture beats one of it.
    """

    label: str
    is_baseline: bool
    changes_nothing: bool
    mixture: Mapping[str, float]
    predicted: Gain | None
    confirmed: Gain | None
    values: Mapping[str, float]
    beaten: float | None


@dataclass(frozen=True)
class Decision:
    """
    Attributes:
        answer: the label of the rival that is the answer.
        rivals: candidates, the search's own proposal first, then baselines, the proportional mixture among them.
        predicted: objective of one new run of the proposal, and then each of its losses, with 95% intervals.
        not_predicted, not_confirmed: why there are no such gains; None where there are.
        beside: the confirmed gain over the strongest other mixture, and which that is: the best baseline, or, where a
            baseline is the answer, the best candidate. None where nothing was confirmed beside the answer.
        ranges, ranges_of_levels: the least and the largest share of each domain, and of each level, among mixtures
            that are expected to be as good.
        over: what the intervals of confirmed gains hold for.
    """

    verdict: str
    answer: str
    rivals: tuple[Rival, ...]
    predicted: Mapping[str, Interval]
    not_predicted: str | None
    not_confirmed: str | None
    ranges: Mapping[str, tuple[float, float]]
    ranges_of_levels: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    beside: tuple[str, Gain] | None = None
    over: str = "seeds"

    @property
    def candidates(self) -> tuple[Rival, ...]:
        """What was trained again beside the baselines."""
        return tuple(each for each in self.rivals if not each.is_baseline and each.values)

    def rival(self, label: str) -> Rival:
        return next(each for each in self.rivals if each.label == label)


@dataclass(frozen=True)
class Losses:
    """Measured losses at the target, the mean over the seeds of the confirmation.

    Attributes:
        by_metric: for each evaluation set, whether it counts in the objective or not, a loss for each of `rivals`.
        tests, families: by rival, the objective's metrics, and the means of its families, beside `baseline`.
        baseline: what the objective is measured against, or else proportional.
    """

    rivals: tuple[str, ...]
    by_metric: Mapping[str, tuple[float, ...]]
    tests: Mapping[str, Mapping[str, MetricDifference]] = field(default_factory=dict)
    families: Mapping[str, Mapping[str, MetricDifference]] = field(default_factory=dict)
    baseline: str = PROPORTIONAL


@dataclass(frozen=True)
class HeldOut:
    """Objective of runs at the target, measured, and predicted by models that were not fitted to them."""

    surrogate: str
    measured: tuple[float, ...]
    predicted: tuple[float, ...]
    scores: Validation


@dataclass(frozen=True)
class KeptPrediction:
    """A gain over the proportional mixture that was predicted before it was confirmed.

    Attributes:
        own: whether it is of the study that the report is about.
        predicted: as the regression said it, nothing corrected.
        confirmed: its interval is of the confirmation's noise.
    """

    study: str
    own: bool
    label: str
    is_baseline: bool
    predicted: Gain
    confirmed: Gain


@dataclass(frozen=True)
class Kept:
    """Of this study, and of those beside it whose objectives are of its kind and unit.

    Attributes:
        score: of what searches proposed, over all these studies; None where nothing of it was confirmed.
    """

    predictions: tuple[KeptPrediction, ...]
    score: GainScore | None


@dataclass(frozen=True)
class DomainEffect:
    """What the share of one domain does around the proposed mixture, the others in proportion.

    Attributes:
        curve: the predicted objective from the least to the largest share that was trained.
        slopes: change of the objective, then of each metric, for one more percentage point; None for a domain whose
            share was always the same.
        flat: whether that cannot be told from no effect.
    """

    share: float
    curve: Effect
    slopes: Mapping[str, float | None]
    flat: bool


@dataclass(frozen=True)
class Effects:
    """By domain, and by level as `web.*`; `doubt` is the standard deviation of the predicted objective of a new run."""

    domains: Mapping[str, DomainEffect]
    doubt: float


@dataclass(frozen=True)
class RankAgreement:
    """Whether what is near an evaluation set helps it: rank correlations, over pools, of distances from a set with what
    one more percentage point of a pool does to its loss; without the pool that the set is of.

    Attributes:
        sets: of each evaluation set; None where either side is constant.
        mean: of these.
        chance: how far the mean may be from 0 by chance, two standard errors.
    """

    sets: Mapping[str, float | None]
    mean: float
    chance: float

    @property
    def helped(self) -> bool:
        return self.mean > self.chance


@dataclass(frozen=True)
class Apart:
    """How far each pool is from each evaluation set, and what that was worth here."""

    distances: Mapping[str, Mapping[str, float]]
    agreement: RankAgreement | Missing


@dataclass(frozen=True)
class Step:
    """A trial of the search that ended, and the FLOPs of all that was measured by then; None: without an objective."""

    trial: str
    origin: str
    proxy: str
    flops: float
    objective: float | None


@dataclass(frozen=True)
class Course:
    """The search in the order in which its trials ended; baselines are measured objectives by proxy and name."""

    steps: tuple[Step, ...]
    baselines: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class TriedMixture:
    """A trial of the search at the target: its shares, and the objective that it measured."""

    trial: str
    mixture: Mapping[str, float]
    objective: float


@dataclass(frozen=True)
class Tried:
    """What the search tried at the target, the best first."""

    trials: tuple[TriedMixture, ...]


@dataclass(frozen=True)
class Agreement:
    """Objectives of the mixtures trained with a cheaper proxy and with the target's."""

    proxy: str
    cheap: tuple[float, ...]
    target: tuple[float, ...]
    spearman: float | None


@dataclass(frozen=True)
class Front:
    """Losses of the runs at the target, one row per run, and of mixtures of the predicted front.

    Attributes:
        points: the front, as in the answer.
        proposed: predicted losses of the proposed mixture.
    """

    metrics: tuple[str, ...]
    measured: tuple[tuple[float, ...], ...]
    points: tuple[FrontPoint, ...]
    proposed: Mapping[str, float]


@dataclass(frozen=True)
class FailedTrial:
    trial: str
    origin: str
    proxy: str
    seed: int
    kind: str
    message: str
    seconds: float


@dataclass(frozen=True)
class ProxyBudget:
    """What one proxy cost, failed trials included; `..._planned` are at most.

    Attributes:
        flops: as the budget counts them: failed trials in full, since nobody knows how far they came.
    """

    proxy: str
    kind: str
    params: int
    tokens: int
    trial_flops: float
    searched: int
    search_planned: int
    confirmed: int
    confirmation_planned: int
    flops: float
    training_seconds: float


@dataclass(frozen=True)
class Budget:
    proxies: tuple[ProxyBudget, ...]
    flops_limit: float | None
    seconds_limit: float | None


@dataclass(frozen=True)
class Reproduction:
    """
    Attributes:
        environments: what trials ran on, and how many on each.
    """

    file: str
    text: str
    provenance: Provenance
    environments: tuple[tuple[Mapping[str, str], int], ...]


class Content(Result):
    """What a report says: what `mixopt report --json` prints."""

    schema_version: Literal[1] = 1
    study: str
    standing: str | None
    """How far the study is; null once it has ended."""
    objective: str
    """In words."""
    scale: str
    """How small the target's proxy is, in a sentence."""
    unit: str
    target: str
    trials: TrialCounts
    notes: tuple[str, ...]
    domains: Mapping[str, DomainAnswer]
    levels: Mapping[str, LevelAnswer] = {}
    """Domains with parts; none in reports of 0.1.0."""
    decision: Decision
    losses: Losses | Missing
    held_out: HeldOut | Missing
    effects: Effects | Missing
    course: Course | Missing
    agreement: tuple[Agreement, ...] | Missing
    front: Front | Missing
    failures: tuple[FailedTrial, ...]
    stopped: int
    """How many trials were ended early, because they were hopeless."""
    budget: Budget
    reproduction: Reproduction
    predictions: Kept | Missing | None = None
    """Kept before they were confirmed; null in reports of 0.1.0."""
    path: ScalePath | Missing | None = None
    """How the best mixture moves until the final run; null in reports of 0.1.0."""
    tried: Tried | Missing | None = None
    """The mixtures that the search measured at the target; null in reports of 0.1.0."""
    reused: Reused | None = None
    """Runs of other studies in the store that counted; null where none were asked for (reuse.store)."""
    apart: Apart | Missing | None = None
    """How far pools are from evaluation sets; null in reports of 0.1.0."""
