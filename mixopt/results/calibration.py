"""What studies predicted against what they confirmed: what `mixopt calibration --json` prints."""

from __future__ import annotations

from typing import Literal

from mixopt.results.base import Part, Result
from mixopt.results.predictions import PredictedGain


class GainScore(Part):
    """Predicted gains over the proportional mixture against confirmed ones."""

    confirmations: int
    studies: int
    optimism: float
    """Mean of predicted minus confirmed gain, the surer predictions counting more: above 0 they are too high."""
    optimism_interval: tuple[float, float] | None
    """Its 95% interval, estimated between studies; null with one study."""
    rmse: float
    """Root mean squared error of the predicted gains."""
    coverage_80: float
    """Share of the confirmed gains inside their predicted 80% interval, the confirmation's noise added."""
    coverage_95: float
    taken_off: float
    """What the next predicted gain is corrected by; 0 while the record is too short."""
    widening: float
    """What its standard deviation is multiplied by; 1 while the record is too short."""


class ProposalScore(Part):
    """Objectives that the search expected of the trials that it asked for, against what they measured."""

    trials: int
    optimism: float
    """Mean of measured minus expected objective: above 0 more was expected than came."""
    rmse: float
    coverage_80: float
    """Share of the measured objectives inside their 80% interval."""
    coverage_95: float


class StudyCalibration(Part):
    """The record of one study."""

    study: str
    kind: str
    """Of its objective."""
    unit: str
    gains: tuple[PredictedGain, ...]
    """Confirmed, and predicted by a regression that was trusted."""
    candidates: GainScore | None
    """What the search proposed; null where none was confirmed."""
    baselines: GainScore | None
    proposals: ProposalScore | None
    """Null where the search expected nothing of its trials."""


class Together(Part):
    """The studies whose objectives are of one kind and unit."""

    kind: str
    unit: str
    studies: tuple[str, ...]
    candidates: GainScore | None
    baselines: GainScore | None
    proposals: ProposalScore | None


class CalibrationResult(Result):
    """How predictions turned out, of each study and together."""

    schema_version: Literal[1] = 1
    studies: tuple[StudyCalibration, ...]
    together: tuple[Together, ...]
    notes: tuple[str, ...]
