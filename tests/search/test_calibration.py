"""What a record of predicted and confirmed gains says of the next prediction."""

from __future__ import annotations

import numpy as np
import pytest

from search.recommendation.calibration import FEWEST, FEWEST_STUDIES, Calibration, Confirmed
from search.recommendation.recommendation import Estimate


def record(studies: int, each: int, optimism: float, sd: float = 0.01, spread: float = 1.0) -> list[Confirmed]:
    """Gains of .05 that were predicted `optimism` too high, the errors `spread` times as large as they claim to be."""
    rng = np.random.default_rng(0)
    found = []
    for study in range(studies):
        for _ in range(each):
            off = optimism + spread * float(rng.normal(0, np.hypot(sd, 0.002)))
            found.append(Confirmed(f"study {study}", 0.05 + off, sd, 0.05, 0.002))
    return found


def found(*arguments: float, **named: float) -> Calibration:
    calibration = Calibration.of(record(*arguments, **named))  # type: ignore[arg-type]
    assert calibration is not None
    return calibration


def test_an_empty_record_says_nothing() -> None:
    assert Calibration.of([]) is None


def test_the_numbers_of_a_record_that_one_can_count() -> None:
    pairs = [("a", 0.04, 0.05), ("a", 0.06, 0.05), ("b", 0.09, 0.05), ("b", 0.05, 0.05)]
    calibration = Calibration.of(
        [Confirmed(name, predicted, 0.03, measured, 0.0) for name, predicted, measured in pairs]
    )
    assert calibration is not None
    assert (calibration.confirmations, calibration.studies) == (4, 2)
    assert calibration.optimism == pytest.approx(0.01)
    # Study means are 0 and .02, so the mean is off by .01 / sqrt(1) between two of equal size.
    assert calibration.optimism_error == pytest.approx(0.01)
    assert calibration.interval == pytest.approx((0.01 - 0.127062, 0.01 + 0.127062), abs=1e-5)
    assert calibration.rmse == pytest.approx(np.sqrt((0.01**2 + 0.01**2 + 0.04**2) / 4))
    assert (calibration.coverage_80, calibration.coverage_95) == (0.75, 1.0)


def test_optimism_of_many_studies_is_taken_off_and_that_of_few_hardly() -> None:
    many = found(30, 2, 0.02)
    assert many.correction == pytest.approx(0.02, abs=0.004)
    assert many.correct(0.05, 0.01).mean == pytest.approx(0.03, abs=0.004)
    assert 0 < found(4, 2, 0.004).correction < abs(found(4, 2, 0.004).optimism)
    assert found(2, 8, 0.02).correction == 0, f"{FEWEST_STUDIES} studies are the least, whatever they confirmed"
    assert found(3, 2, 0.02).correction == 0, f"and {FEWEST} confirmations"


def test_predictions_without_a_bias_are_left_nearly_as_they_are() -> None:
    honest = found(20, 2, 0.0)
    assert abs(honest.correction) < 0.002
    assert honest.widening == pytest.approx(1.0, abs=0.1)
    assert honest.coverage_95 >= 0.9
    before, after = Estimate.of(0.05, 0.01), honest.correct(0.05, 0.01)
    assert (after.upper - after.lower) == pytest.approx(before.upper - before.lower, rel=0.1)


def test_intervals_that_were_too_narrow_are_widened_and_wide_ones_left() -> None:
    narrow = found(20, 2, 0.0, spread=3.0)
    assert 2 < narrow.widening < 3
    assert narrow.coverage_95 < 0.8
    assert found(20, 2, 0.0, spread=0.2).widening == 1.0


def test_the_next_interval_holds_the_next_gain_as_often_as_it_says() -> None:
    """Of worlds in which predictions are .02 too high and off by twice what they say."""
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(300):
        past = []
        for study in range(10):
            shared = rng.normal(0.02, 0.008)
            for _ in range(2):
                off = shared + rng.normal(0, 0.02)
                past.append(Confirmed(str(study), 0.05 + off, 0.01, 0.05, 0.0))
        calibration = Calibration.of(past)
        assert calibration is not None
        gain = 0.05 + rng.normal(0.02, 0.008) + rng.normal(0, 0.02)
        estimate = calibration.correct(gain, 0.01)
        inside.append(estimate.lower <= 0.05 <= estimate.upper)
    assert 0.85 <= np.mean(inside) <= 0.99


def test_a_prediction_that_knew_nothing_says_little_of_a_bias() -> None:
    honest = record(9, 2, 0.0)
    lost = Calibration.of([*honest, Confirmed("lost", 0.25, 0.2, 0.05, 0.002)])
    without = Calibration.of(honest)
    assert lost is not None and without is not None
    assert lost.optimism == pytest.approx(without.optimism, abs=0.0005), "a plain mean would be .01 higher"


def test_the_confirmations_of_one_study_count_together() -> None:
    """One study of forty candidates that err alike is not forty pieces of evidence."""
    alike = [Confirmed("one", 0.07, 0.01, 0.05, 0.0)] * 40 + record(3, 1, 0.0)
    calibration = Calibration.of(alike)
    assert calibration is not None and calibration.optimism_error is not None
    alone = Calibration.of([Confirmed(str(study), 0.07, 0.01, 0.05, 0.0) for study in range(40)] + record(3, 1, 0.0))
    assert alone is not None and alone.optimism_error is not None
    assert calibration.optimism_error > 1.5 * alone.optimism_error
