"""Gains that were predicted before they were confirmed: what a study records of them, and an answer says."""

from __future__ import annotations

from mixopt.results.base import Part, Shares
from mixopt.results.recommendation import Interval


class PredictedGain(Part):
    """How much lower than the proportional mixture's the objective of a mixture was expected to be."""

    label: str
    """A candidate's, or "baseline:" and the name of a baseline."""
    mixture: Shares
    is_baseline: bool
    gain: float
    """As the regression predicted it, nothing corrected."""
    sd: float
    """Its standard deviation, as predicted."""
    trials: int
    """How many runs of the search the regression rested on."""
    interval: Interval
    """The same with its 95% interval, corrected by the record of earlier studies where that is long enough."""
    measured: float | None = None
    """The mean gain that the confirmation measured; null until then."""
    error: float | None = None
    """Its standard error, of seeds and documents, noise estimated over all confirmed mixtures; null without any."""
    noise: float | None = None
    """Standard deviation of a difference of two runs by their noise alone, which `sd` has in it."""
    seeds: int = 0
    """Over which it is the mean."""


class Correction(Part):
    """What earlier studies' predictions took off the predicted gains of one study."""

    confirmations: int
    """How many of their predictions were confirmed."""
    studies: int
    optimism: float
    """By how much they were too high, on the average."""
    taken_off: float
    """The same, shrunk towards 0 as far as it is uncertain."""
    widening: float
    """What predicted standard deviations are multiplied by."""

    @property
    def sentence(self) -> str:
        """For the notes of an answer."""
        off = f"{abs(self.optimism):.4f} too {'high' if self.optimism > 0 else 'low'}"
        wider = f", and their intervals {self.widening:.1f} times as wide" if self.widening > 1.05 else ""
        return (
            f"predicted gains of the last {self.confirmations} confirmations here ({self.studies} studies) were {off}: "
            f"corrected by {-self.taken_off:+.4f}{wider} (mixopt calibration)"
        )


class Predictions(Part):
    """What was expected of the mixtures of a study before they were confirmed."""

    kind: str
    """Of the objective."""
    unit: str
    proxy: str
    method: str
    """The regression, or what else the answer rests on."""
    trusted: bool
    """Whether the regression was shown to rank mixtures better than chance; only such predictions are judged."""
    correction: Correction | None = None
    """Null where the record of earlier studies is too short."""
    gains: tuple[PredictedGain, ...]

    def gain_of(self, label: str) -> PredictedGain | None:
        """Of what is proposed now: those of earlier proposals come last."""
        return next((each for each in self.gains if each.label == label), None)
