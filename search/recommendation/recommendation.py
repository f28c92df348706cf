"""A recommendation: a mixture, what it is expected to reach, and what speaks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from search.intervals import reach
from search.mixture import Mixture
from search.recommendation.effects import Effect
from search.recommendation.predictor import Predictor
from search.recommendation.validation import Validation

LEVEL = 0.95
# The method, and the label of the candidate, that rests on no prediction.
BEST_OBSERVED = "best observed"
# The label of the trained mixture with the best prediction.
BEST_TRIED = "best tried"


@dataclass(frozen=True)
class Estimate:
    """An expected measurement and its 95% interval."""

    mean: float
    lower: float
    upper: float

    @classmethod
    def of(cls, mean: float, sd: float) -> Estimate:
        half = reach(LEVEL) * sd
        return cls(mean, mean - half, mean + half)


@dataclass(frozen=True)
class Candidate:
    """A mixture worth confirming; the label says why."""

    label: str
    mixture: Mixture


@dataclass(frozen=True)
class FrontPoint:
    """A mixture of the Pareto front and its predicted metrics."""

    mixture: Mixture
    predicted: Mapping[str, float]


@dataclass(frozen=True)
class LevelOfDomains:
    """What is known of several domains together.

    Attributes:
        range: the least and the largest sum of their shares among mixtures that are expected to be as good.
        effect: what that sum does to the predicted objective, their shares of it as in the answer.
        flat: whether it hardly matters, as of `Recommendation.flat`.
    """

    domains: tuple[str, ...]
    range: tuple[float, float]
    effect: Effect
    flat: bool


@dataclass(frozen=True)
class Recommendation:
    """The answer of a search, before confirmation.

    Attributes:
        mixture: the answer.
        method: the surrogate that it rests on, or "best observed".
        gain: how much lower the objective of a new run is expected to be than that of one of the proportional mixture
            with the same seed, at the target fidelity; None for the best observed mixture, whose measurement looks
            better than it is because it was selected. This is what a confirmation shows or refutes.
        predicted: the objective of one new run, with another seed, as far as it is known what seeds do to all mixtures.
        predicted_losses: the same by metric, in the objective's unit.
        ranges: the lowest and highest share of each domain among mixtures that are expected to be as good, but for less
            than a prediction may be off: a wide range means that the share hardly matters, if others may change, too.
        baselines: measured objective of each baseline at the target fidelity; a failed one is absent.
        beats: for each baseline the probability that a new run of the answer has a lower objective than one of it.
        effects: what each domain's share does to the predicted objective around the answer.
        flat: the domains whose share hardly matters: over all shares that were trained, the predicted objective
            changes by less than it may be off.
        levels: the same of domains together, for each of the problem's levels.
        front: for several objectives at once, mixtures than which no other is predicted to be as good in all and
            better in one, with their predicted values.
        candidates: what to confirm, best first; the answer is the first.
        validation: how well the surrogate predicts, where one was tried.
        predictor: the same surrogate as it was fitted, to ask for more.
        warnings: sentences that a careful reader wants to know.
        trials: how many runs the answer rests on.
    """

    mixture: Mixture
    method: str
    baselines: Mapping[str, float]
    candidates: tuple[Candidate, ...]
    warnings: tuple[str, ...]
    trials: int
    predicted: Estimate | None = None
    gain: Estimate | None = None
    predicted_losses: Mapping[str, Estimate] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    beats: Mapping[str, float] = field(default_factory=dict)
    effects: Mapping[str, Effect] = field(default_factory=dict)
    flat: tuple[str, ...] = ()
    levels: Mapping[str, LevelOfDomains] = field(default_factory=dict)
    front: tuple[FrontPoint, ...] = ()
    validation: Validation | None = None
    predictor: Predictor | None = field(default=None, repr=False, compare=False)

    @property
    def expects(self) -> Callable[[Mixture], float] | None:
        """The objective that is expected of a mixture; None where no prediction can be trusted."""
        predictor = self.predictor
        if predictor is None or not predictor.validation.trustworthy:
            return None
        # What a confirmation measures is of the scale of the runs.
        at_runs = predictor.at_runs()
        return lambda mixture: float(at_runs.objective(mixture.array[None])[0])
