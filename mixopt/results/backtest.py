"""What finished runs say of surrogates and strategies: what `mixopt backtest --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mixopt.results.base import Part, Result
from mixopt.results.fit import FitObjective, SkippedSurrogate
from mixopt.results.replay import ReplayResult


class BacktestObjective(FitObjective):
    """The objective of a backtest."""

    sd: float
    """Its standard deviation over the mixtures of the target."""


class NoiseOfRuns(Part):
    """What runs of one mixture differ by, from mixtures that were run more than once."""

    sd: float
    freedom: int
    """Degrees of freedom that it rests on: with fewer than 5 it may well be half or twice of it."""


class ReferenceRun(Part):
    """The mixture that gains are over; it is always known."""

    run: str
    proportional: bool
    """Whether it is the proportional mixture; otherwise it is the run nearest to `natural`."""
    natural: str
    """In words, the mixture that stands for no choice."""
    apart: float
    """Share of the tokens in which the two differ."""


class Spread(Part):
    """A score over the subsets."""

    mean: float
    median: float
    q25: float
    q75: float
    by_subset: tuple[float, ...]


class CurvePoint(Part):
    """A surrogate that knew so many mixtures, on those left out; in the objective's unit."""

    known: int
    spearman: Spread
    """Rank correlation of measured and predicted; 0 where a prediction ranks nothing."""
    permuted: Spread
    """The same with the domains of the predicted mixtures mistaken for each other."""
    pairwise: Spread | None
    """Share of the pairs of the best quarter in their order; null where that is fewer than 5 mixtures."""
    regret: Spread
    """Measured objective of the mixture with the best prediction, above the best of those left out."""
    regret_in_noise: float | None
    """The mean regret in standard deviations of a run's noise; null where no mixture was run twice."""
    optimism: Spread
    """Predicted minus measured gain of that mixture over the reference; negative is pessimistic."""
    coverage_80: Spread
    """Share of the runs inside their 80% interval."""
    coverage_95: Spread


class LearningCurve(Part):
    points: tuple[CurvePoint, ...]
    """By rising number of mixtures that were known."""


class Control(Part):
    """What should not be predicted."""

    passed: bool
    surrogate: str
    known: int
    by_subset: tuple[float, ...]
    """Rank correlations."""
    mean: float
    """Scrambled: of these. Permuted: of what they fall short of the true ones."""
    lower: float
    """The interval of the mean; scrambled: what chance may do, three standard errors."""
    upper: float
    verdict: str
    """In one sentence."""


class Controls(Part):
    scrambled: Control
    """Measurements dealt to other mixtures before anything was fitted: what is still predicted was leaked."""
    permuted: Control
    """Domains of the predicted mixtures mistaken for each other: what is predicted as well needs no mixture."""


class Recommended(Part):
    """The surrogate for this kind of table."""

    surrogate: str | None
    """Null where none is shown to rank mixtures better than chance."""
    shown: bool
    """Whether it is shown to be better than the best of the others."""
    why: str


class TableBacktest(Part):
    """One table."""

    table: str
    runs: Mapping[str, int]
    """How many at each fidelity."""
    target: str
    mixtures: int
    """How many measured every metric at the target."""
    left_out: int
    """Mixtures of the target that scores are over, in each subset."""
    objective: BacktestObjective
    noise: NoiseOfRuns | None
    """Of the objective; null where no mixture was run twice at the target."""
    reference: ReferenceRun
    surrogates: Mapping[str, LearningCurve | SkippedSurrogate]
    controls: Controls
    recommended: Recommended
    replay: ReplayResult | None
    """What strategies would have cost, where any was named."""
    notes: tuple[str, ...]

    @property
    def curves(self) -> dict[str, LearningCurve]:
        """By surrogate."""
        return {name: each for name, each in self.surrogates.items() if isinstance(each, LearningCurve)}

    @property
    def skipped(self) -> dict[str, str]:
        """By surrogate, why it was not fitted."""
        return {name: each.skipped for name, each in self.surrogates.items() if isinstance(each, SkippedSurrogate)}


class BacktestResult(Result):
    """How well surrogates that knew some of the runs would have predicted the others."""

    schema_version: Literal[1] = 1
    subsets: int
    """Random subsets of each size."""
    tables: tuple[TableBacktest, ...]
    files: tuple[str, ...] = ()
    """What was written."""

    @property
    def leaked(self) -> bool:
        """Whether scrambled measurements were predicted in any table."""
        return not all(table.controls.scrambled.passed for table in self.tables)
