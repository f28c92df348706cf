"""The answer of a study: what is recorded, shown, exported and printed as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mixopt.base.errors import ConfigError
from mixopt.base.version import VERSION
from mixopt.results import answer as results
from mixopt.results.answer import Answer
from mixopt.results.objective import StudyObjective
from mixopt.results.predictions import Predictions
from mixopt.results.recommendation import Recommendation as RecommendedMixture
from mixopt.runs.final_run import sentence
from mixopt.settings.schema import StudyFile
from mixopt.study.growth import path_to_final_run
from mixopt.study.inventory import inventory_of, pool_changes
from mixopt.study.plan import Plan
from mixopt.study.planning import plan_as_measured
from mixopt.study.predictions import foretell, past_calibration
from search.history import Failed, History
from search.intervals import reach
from search.problem import BASELINE, PROPORTIONAL
from search.recommendation.confirmation import Confirmation
from search.recommendation.recommendation import LEVEL, Recommendation
from search.urls import fit_to_show
from tracking import keys
from tracking.record import Record


def build_answer(
    plan: Plan,
    history: History,
    recommendation: Recommendation,
    confirmation: Confirmation | None,
    run_id: str,
    ended: bool,
    remarks: Sequence[str] = (),
    predictions: Predictions | None = None,
) -> Answer:
    """Everything that is known about the answer.

    Args:
        ended: whether the study ends with it.
        remarks: come first in its notes.
        predictions: what was expected before anything was confirmed.
    """
    mixture = confirmation.winner.mixture if confirmation else recommendation.mixture
    space, pools, file = plan.problem.space, plan.pools, plan.file
    path = path_to_final_run(plan, history) if ended else None
    epochs = space.epochs(mixture) if space.target_tokens else {}
    inventory = inventory_of(file, pools)
    # As it was trained: limits may have moved it.
    proportional = plan.problem.baselines[PROPORTIONAL]
    return Answer(
        study=file.study,
        mixture=mixture.as_dict(),
        ended=ended,
        confirmed=confirmation is not None,
        verdict=_verdict(recommendation, confirmation),
        objective=describe_objective(plan),
        domains={
            limits.name: results.DomainAnswer(
                tokens=limits.tokens,
                proportional=proportional[limits.name],
                weight=mixture[limits.name],
                epochs=epochs.get(limits.name),
                mean_document_tokens=pools.domains[limits.name].mean_document_tokens,
                max_epochs=space.most_epochs(limits.name),
            )
            for limits in space.limits
        },
        levels={
            level.name: results.LevelAnswer(
                domains=level.domains,
                tokens=sum(limits.tokens for limits in space.limits if limits.name in level.domains),
                proportional=math.fsum(proportional[name] for name in level.domains),
                weight=math.fsum(mixture[name] for name in level.domains),
            )
            for level in file.levels
        },
        trials=results.TrialCounts(
            completed=len(history.completed),
            stopped=len(history.stopped),
            failed=len(history.failed),
            flops=history.flops,
        ),
        recommendation=RecommendedMixture.of(recommendation),
        confirmation=None if confirmation is None else results.Confirmation.of(confirmation),
        notes=(
            *remarks,
            *plan.notes,
            *_failed_proxies(history),
            *_confirmation_notes(confirmation, predictions),
            *_of_proposal(recommendation, confirmation),
            *([predictions.correction.sentence] if predictions and predictions.correction else []),
            *([sentence(path)] if path is not None and path.matters else []),
        ),
        provenance=results.Provenance(
            mixopt=VERSION,
            study=file.study,
            study_digest=plan.digest,
            corpus=pools.fingerprint,
            seed=file.seed,
            tracking_uri=fit_to_show(file.tracking_uri),
            mlflow_run=run_id,
            inventory=inventory.fingerprint,
        ),
        inventory=inventory,
        predictions=predictions,
        path=path,
    )


def _of_proposal(recommendation: Recommendation, confirmation: Confirmation | None) -> list[str]:
    """The search's warnings, named as such where another mixture is the answer."""
    is_answer = confirmation is None or confirmation.winner.mixture.same_as(recommendation.mixture)
    return [*recommendation.warnings] if is_answer else [f"of the proposal: {each}" for each in recommendation.warnings]


def _failed_proxies(history: History) -> list[str]:
    """A sentence for each proxy of which no trial completed, since the answer knows nothing of it."""
    alive = {entry.trial.fidelity.proxy for entry in (*history.completed, *history.stopped)}
    failed: dict[str, list[Failed]] = {}
    for entry in history.failed:
        failed.setdefault(entry.trial.fidelity.proxy, []).append(entry)
    return [
        f"all {len(entries)} trials of proxy {proxy} failed, the first: {entries[0].failure.message}"
        for proxy, entries in failed.items()
        if proxy not in alive
    ]


def _confirmation_notes(confirmation: Confirmation | None, predictions: Predictions | None) -> list[str]:
    """What the confirmation says against the answer, or against its prediction."""
    if confirmation is None:
        return []
    notes, candidate = [*confirmation.cautions], confirmation.candidates[0]
    # Levels move with the seed and with the documents; a gain is free of what they do to both mixtures alike.
    kept = predictions.gain_of(candidate.label) if predictions and predictions.trusted else None
    if kept is None or candidate.difference is None:
        return notes
    confirmed, error = -candidate.difference, kept.error or 0.0
    doubt = math.hypot((kept.interval.upper - kept.interval.lower) / 2, reach(LEVEL) * error)
    if abs(confirmed - kept.interval.mean) > doubt:
        notes.append(
            f"the prediction failed: the {candidate.label} mixture was expected to be {kept.interval.mean:.4f} below "
            f"{PROPORTIONAL} ({kept.interval.lower:.4f} to {kept.interval.upper:.4f}) and was confirmed at "
            f"{confirmed:.4f}; trust no other prediction here"
        )
    return notes


def describe_objective(plan: Plan) -> StudyObjective:
    """What is to be low, and where."""
    return StudyObjective(
        kind=plan.file.objective.kind,
        unit=plan.problem.objective.unit,
        metrics=plan.problem.objective.metrics,
        proxy=plan.problem.target.proxy,
    )


def how_far(plan: Plan, history: History) -> str:
    """How much of the search has been trained."""
    return f"{plan.searched(history).total()} of at most {plan.strategy.expected.total()} trials"


def _verdict(recommendation: Recommendation, confirmation: Confirmation | None) -> str:
    """What a user should remember, in a few short sentences; the first begins, and the last ends, within others'."""
    if confirmation is None:
        alone = "the best measured mixture" if recommendation.predicted is None else "the prediction"
        return f"not confirmed: {alone} stands alone"
    winner, other = confirmation.winner, confirmation.beside
    if winner in confirmation.candidates:
        called = f" (nearly {' and '.join(winner.names)})" if winner.names else ""
        said = [f"the {winner.label} mixture{called} {winner.sentence}"]
        if other and other.label != BASELINE + PROPORTIONAL:
            said.append(f"It {other.sentence}")
        return ". ".join(said)
    said = [f"keep {' or '.join(winner.names)}: nothing that was tried is expected to be better"]
    if PROPORTIONAL not in winner.names:
        said.append(f"It {winner.sentence}")
    if other:
        said.append(f"It {other.sentence}")
    return ". ".join(said)


def answer_so_far(file: StudyFile, record: Record) -> Answer:
    """The recorded answer, or, before the study's end, what its trials say until now.

    Raises:
        ConfigError, SearchError: too few trials have completed, or the recorded answer cannot be read.
        TrackingError: nothing is recorded as the answer, and the pools are no longer those that were measured.
    """
    recorded = record.written.get(keys.ANSWER)
    history = record.history.without_running()
    if recorded is not None:
        answer = Answer.read(recorded)
        notes = [*pool_changes(file, record)]
        newer = len(history.completed) - answer.trials.completed
        if newer > 0:
            notes.append(f"{newer} trials have completed since this answer: {file.goes_on_by} renews it")
        return answer.model_copy(update={"notes": (*answer.notes, *notes)}) if notes else answer
    plan = plan_as_measured(file, record)
    if plan is None:
        raise ConfigError(f"study {file.study} has no answer yet", hint=f"go on with: {file.goes_on_by}")
    recommendation = plan.strategy.recommend(history)
    remark = f"the search goes on: {how_far(plan, history)} have ended"
    predictions = foretell(plan, recommendation, past_calibration(plan))
    run_id = record.tags.get(keys.RUN, "")
    return build_answer(plan, history, recommendation, None, run_id, False, [remark], predictions)
