"""What `mixopt calibration` does: predictions of one study or of many against what was measured afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from mixopt.base.errors import ConfigError
from mixopt.results.calibration import CalibrationResult, GainScore, ProposalScore, StudyCalibration, Together
from mixopt.results.predictions import Predictions
from mixopt.settings.reading import load
from mixopt.settings.schema import StudyFile
from mixopt.study.predictions import confirmed_gains, judged, read_predictions
from mixopt.study.record import journal_path, open_store
from search.intervals import reach
from search.recommendation.calibration import FEWEST, FEWEST_STUDIES, Calibration, Confirmed
from tracking import keys
from tracking.entries import Closed, Entry, Opened, Written
from tracking.errors import TrackingError
from tracking.journal import JOURNAL, read, read_header
from tracking.record import Subject

HOME = ".mixopt"


@dataclass(frozen=True)
class _Proposal:
    """A trial of the search, asked for by what was expected of it.

    Attributes:
        expected, sd: of its objective.
    """

    expected: float
    sd: float
    measured: float


@dataclass(frozen=True)
class _Kept:
    """What a study's record holds of predictions.

    Attributes:
        place: of its journal: two studies may have one name.
    """

    study: str
    place: str
    kind: str
    unit: str
    predictions: Predictions | None
    proposals: tuple[_Proposal, ...]

    def confirmed(self, of_baselines: bool) -> list[Confirmed]:
        return [] if self.predictions is None else confirmed_gains(self.place, self.predictions, of_baselines)


def calibration(places: Sequence[Path]) -> CalibrationResult:
    """How predictions turned out.

    Args:
        places: study files, or folders: of a study file's `directory`, or beside it.

    Raises:
        ConfigError: one of these is neither, or nothing is recorded there.
        TrackingError: a study's journal is damaged, or is elsewhere and MLflow does not answer.
    """
    found, damaged = dict[str, _Kept](), list[str]()
    for place in places:
        for name, kept in _kept_at(place, damaged):
            found[name] = kept
    studies = tuple(
        StudyCalibration(
            study=each.study,
            kind=each.kind,
            unit=each.unit,
            gains=() if each.predictions is None else tuple(judged(each.predictions)),
            candidates=gain_score(each.confirmed(of_baselines=False)),
            baselines=gain_score(each.confirmed(of_baselines=True)),
            proposals=_proposals(each.proposals),
        )
        for each in found.values()
    )
    together = _together(list(found.values()))
    return CalibrationResult(studies=studies, together=together, notes=(*damaged, *_notes(found.values(), together)))


def _kept_at(place: Path, damaged: list[str]) -> Iterable[tuple[str, _Kept]]:
    """The records at a place, each under a name of its own: where it lies."""
    if not place.is_dir():
        file = load(place)
        yield str(journal_path(file).absolute()), _kept_of(file)
        return
    home = place if any(place.glob(f"*/{JOURNAL}")) else place / HOME
    paths = sorted(home.glob(f"*/{JOURNAL}"))
    if not paths:
        raise ConfigError(f"{place}: no study has run here", hint="name a study file, or the folder of its `directory`")
    for path in paths:
        try:
            yield (
                str(path.absolute()),
                _kept(read_header(path).subject, read(path), path.parent.name, str(path.absolute())),
            )
        except TrackingError as error:
            damaged.append(f"study {path.parent.name} is left out: {error.message}")


def _kept_of(file: StudyFile) -> _Kept:
    """
    Raises:
        ConfigError: the study has not run.
    """
    path = journal_path(file)
    if path.exists():
        return _kept(read_header(path).subject, read(path), file.study, str(path.absolute()))
    run = open_store(file).find(file.study)
    entries = None if run is None else run.entries()
    if entries is None:
        raise ConfigError(f"study {file.study} has not run yet", hint=f"run it: {file.goes_on_by}")
    return _kept(*entries, file.study, str(path.absolute()))


def _kept(subject: Subject, entries: Iterable[Entry], study: str, place: str) -> _Kept:
    foreseen, proposals, written = dict[str, tuple[float, float]](), dict[str, _Proposal](), None
    for entry in entries:
        match entry:
            case Opened(trial, _, tuple() as expected):
                foreseen[trial.id] = expected
            case Closed(trial, _, float() as measured) if trial.id in foreseen:
                proposals[trial.id] = _Proposal(*foreseen[trial.id], measured)
            case Written(keys.PREDICTIONS, data):
                written = data
            case _:
                pass
    objective = ((subject.settings or {}).get("objective")) or {}
    return _Kept(
        study,
        place,
        objective.get("kind", "weighted"),
        objective.get("unit", "nats_per_token"),
        read_predictions(written),
        tuple(proposals.values()),
    )


def _together(found: Sequence[_Kept]) -> tuple[Together, ...]:
    """Objectives of another kind or unit are no numbers to be averaged with these."""
    alike: dict[tuple[str, str], list[_Kept]] = {}
    for each in found:
        alike.setdefault((each.kind, each.unit), []).append(each)
    return tuple(
        Together(
            kind=kind,
            unit=unit,
            studies=tuple(each.study for each in group),
            candidates=gain_score([gain for each in group for gain in each.confirmed(of_baselines=False)]),
            baselines=gain_score([gain for each in group for gain in each.confirmed(of_baselines=True)]),
            proposals=_proposals([proposal for each in group for proposal in each.proposals]),
        )
        for (kind, unit), group in alike.items()
    )


def gain_score(record: Sequence[Confirmed]) -> GainScore | None:
    """How the predictions of a record turned out; None of an empty one."""
    found = Calibration.of(record)
    if found is None:
        return None
    return GainScore(
        confirmations=found.confirmations,
        studies=found.studies,
        optimism=found.optimism,
        optimism_interval=found.interval,
        rmse=found.rmse,
        coverage_80=found.coverage_80,
        coverage_95=found.coverage_95,
        taken_off=found.correction,
        widening=found.widening,
    )


def _proposals(record: Sequence[_Proposal]) -> ProposalScore | None:
    if not record:
        return None
    errors = [each.measured - each.expected for each in record]

    def inside(level: float) -> float:
        return fmean(abs(error) <= reach(level) * each.sd for error, each in zip(errors, record, strict=True))

    return ProposalScore(
        trials=len(record),
        optimism=fmean(errors),
        rmse=math.sqrt(fmean(error**2 for error in errors)),
        coverage_80=inside(0.8),
        coverage_95=inside(0.95),
    )


def _notes(found: Iterable[_Kept], together: Sequence[Together]) -> list[str]:
    notes = []
    if without := [each.study for each in found if each.predictions is None or not judged(each.predictions)]:
        notes.append(
            f"no confirmed prediction: {', '.join(without)} (nothing was confirmed, or no regression was trusted, or "
            "it was before predictions were kept)"
        )
    for each in together:
        score = each.candidates
        if score is not None and (score.confirmations < FEWEST or score.studies < FEWEST_STUDIES):
            notes.append(
                f"predicted gains are corrected by the record from {FEWEST} confirmed candidates of {FEWEST_STUDIES} "
                f"studies on; there are {score.confirmations} of {score.studies} ({each.kind}, {each.unit})"
            )
    return notes
