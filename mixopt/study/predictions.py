"""Gains over the proportional mixture, predicted before a confirmation measures them, and what earlier ones teach.

recommendation ──foretell──▶ Predictions ──▶ journal      before the first trial of the confirmation
confirmation ──with_outcomes──▶ the same, measured ──▶ journal
journals beside this study's ──past_calibration──▶ what the next predicted gain is corrected by
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mixopt.results.predictions import Correction, PredictedGain, Predictions
from mixopt.results.recommendation import Interval
from mixopt.study.plan import Plan
from search.mixture import Mixture
from search.problem import BASELINE, PROPORTIONAL
from tracking import keys
from tracking.errors import TrackingError
from tracking.journal import JOURNAL, last_written

if TYPE_CHECKING:
    # Both load SciPy, which reading a record does without.
    from search.recommendation.calibration import Calibration, Confirmed
    from search.recommendation.confirmation import Confirmation
    from search.recommendation.recommendation import Recommendation

# Predictions of the same runs are the same, but for the last bits of another machine.
SAME = 1e-6


def foretell(plan: Plan, recommendation: Recommendation, past: Calibration | None) -> Predictions | None:
    """What is expected of every mixture that may be confirmed; None where no regression is fitted.

    Args:
        past: how earlier predictions in this place turned out.
    """
    from search.recommendation.confirmation_trials import arms_of
    from search.recommendation.recommendation import Estimate

    if recommendation.predictor is None:
        return None
    # What a confirmation measures is of the scale of the runs, whatever the answer is for.
    predictor, problem = recommendation.predictor.at_runs(), plan.problem
    reference, gains = problem.baselines[PROPORTIONAL], []
    trusted = predictor.validation.trustworthy
    corrects = past is not None and past.corrects and trusted
    for arm in arms_of(problem, recommendation.candidates):
        if arm.mixture.same_as(reference):
            continue
        gain, sd = predictor.gain(arm.mixture.reordered(problem.space.domains), reference)
        is_baseline = arm.label.startswith(BASELINE)
        # Baselines were not chosen for their predictions, so nothing is known to be wrong with these.
        estimate = past.correct(gain, sd) if past and corrects and not is_baseline else Estimate.of(gain, sd)
        gains.append(
            PredictedGain(
                label=arm.label,
                mixture=arm.mixture.as_dict(),
                is_baseline=is_baseline,
                gain=gain,
                sd=sd,
                trials=recommendation.trials,
                interval=Interval.of(estimate),
            )
        )
    return Predictions(
        kind=plan.file.objective.kind,
        unit=problem.objective.unit,
        proxy=problem.target.proxy,
        method=recommendation.method,
        trusted=trusted,
        correction=_correction(past) if past and corrects else None,
        gains=tuple(gains),
    )


def kept(predictions: Predictions | None, recorded: Mapping[str, Any] | None) -> Predictions | None:
    """What the study says from now on: as it is recorded where that is the same.

    Otherwise it has gone on with more trials, and expects something else. What was confirmed by then stays as it was
    predicted before.
    """
    before = read_predictions(recorded)
    if predictions is None or before is None:
        return predictions
    if before.trusted == predictions.trusted and all(
        (known := before.gain_of(each.label)) is not None
        and _same(known, each)
        and math.isclose(known.gain, each.gain, rel_tol=SAME, abs_tol=SAME)
        for each in predictions.gains
    ):
        return before
    # Of a regression that was not trusted, nothing is kept beside one that is.
    confirmed = [each for each in before.gains if each.measured is not None and before.trusted]
    gains = [
        next((each.model_copy(update={"label": gain.label}) for each in confirmed if _same(each, gain)), gain)
        for gain in predictions.gains
    ]
    others = [each for each in confirmed if not any(_same(each, gain) for gain in predictions.gains)]
    return predictions.model_copy(update={"gains": (*gains, *others)})


def _same(one: PredictedGain, other: PredictedGain) -> bool:
    """Whether they are of one mixture."""
    return Mixture.of(one.mixture).same_as(Mixture.of(other.mixture))


def with_outcomes(predictions: Predictions, confirmation: Confirmation) -> Predictions:
    """The same beside what the confirmation measured."""
    from search.recommendation.documents import document_error

    outcomes = (*confirmation.candidates, *confirmation.baselines)
    reference = next((outcome for outcome in outcomes if PROPORTIONAL in outcome.names), None)
    gains = []
    for each in predictions.gains:
        mixture = Mixture.of(each.mixture)
        found = next((outcome for outcome in outcomes if outcome.mixture.same_as(mixture)), None)
        if found is not None and reference is not None and found.difference is not None:
            seeds = len(found.values.keys() & reference.values.keys())
            run_sd, documents = confirmation.run_sd, document_error(found.redrawn, reference.redrawn)
            of_documents = 0.0 if documents is None else documents.sd
            each = each.model_copy(
                update={
                    "measured": -found.difference,
                    "error": None if run_sd is None else math.hypot(run_sd * math.sqrt(2 / seeds), of_documents),
                    "noise": None if run_sd is None else run_sd * math.sqrt(2),
                    "seeds": seeds,
                }
            )
        gains.append(each)
    return predictions.model_copy(update={"gains": tuple(gains)})


def read_predictions(recorded: Mapping[str, Any] | None) -> Predictions | None:
    """As they were recorded; None where there are none, or they cannot be read."""
    try:
        return None if recorded is None else Predictions.model_validate(recorded)
    except ValidationError:
        return None


def predictions_in(home: Path) -> dict[str, Predictions]:
    """What is recorded in a folder of studies, by study."""
    found = {}
    for path in sorted(home.glob(f"*/{JOURNAL}")):
        try:
            predictions = read_predictions(last_written(path, keys.PREDICTIONS))
        except (TrackingError, OSError):
            continue  # one study's damage is no other's
        if predictions is not None:
            found[path.parent.name] = predictions
    return found


def confirmed_gains(study: str, predictions: Predictions, of_baselines: bool = False) -> list[Confirmed]:
    """Those of a study that were measured, and predicted by a regression that was trusted."""
    from search.recommendation.calibration import Confirmed

    return [
        Confirmed(study, each.gain, each.sd, each.measured, each.error, each.noise or 0.0)
        for each in judged(predictions)
        if each.measured is not None and each.error is not None and each.is_baseline == of_baselines
    ]


def judged(predictions: Predictions) -> Sequence[PredictedGain]:
    """The gains that were measured, with what is known of their noise."""
    measured = [each for each in predictions.gains if each.measured is not None and each.error is not None]
    return measured if predictions.trusted else ()


def past_calibration(plan: Plan) -> Calibration | None:
    """How the predictions of the other studies in this one's folder turned out, of objectives of its kind and unit."""
    from search.recommendation.calibration import Calibration

    kind, unit = plan.file.objective.kind, plan.problem.objective.unit
    return Calibration.of(
        [
            each
            for study, predictions in predictions_in(plan.file.home).items()
            if study != plan.file.study and (predictions.kind, predictions.unit) == (kind, unit)
            for each in confirmed_gains(study, predictions)
        ]
    )


def _correction(past: Calibration) -> Correction:
    return Correction(
        confirmations=past.confirmations,
        studies=past.studies,
        optimism=past.optimism,
        taken_off=past.correction,
        widening=past.widening,
    )
