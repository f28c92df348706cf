"""What `mixopt compare A B` does: two mixtures side by side, and what a study knows of them.

    A, B --_side--> mixtures --> shares, total variation
                       |
    each judging study-+--_judged--> predicted by its surrogate, measured by its nearest trials
    both are studies ----> what else differs: settings, trials, FLOPs, verdicts

Shapes: M metrics.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Literal

import numpy as np
from pydantic import JsonValue

from mixopt.base import plain_yaml
from mixopt.base.errors import ConfigError
from mixopt.exports.mixtures import mixture_in_file
from mixopt.results.answer import Answer
from mixopt.results.comparison import (
    ComparedEpochs,
    ComparedLevel,
    ComparedMixture,
    ComparedShare,
    ComparedStudies,
    ComparedStudy,
    Comparison,
    DifferingSetting,
    Estimates,
    Judgement,
    JudgingSurrogate,
    MeasuredDifference,
    MeasuredMixture,
    Predictions,
)
from mixopt.results.comparison import Side as Label
from mixopt.results.recommendation import Interval
from mixopt.settings.reading import load, text_of
from mixopt.settings.schema import STUDY_FILE, Level
from mixopt.study.answer import answer_so_far, describe_objective
from mixopt.study.plan import Plan
from mixopt.study.planning import plan_as_measured
from mixopt.study.record import read_record
from mixopt.study.status import build_status
from search.errors import SearchError
from search.evidence import gather
from search.fidelity import Fidelity
from search.history import Completed
from search.mixture import ROUNDING, Mixture
from search.recommendation.predictor import Predictor
from search.recommendation.recommendation import LEVEL, Estimate
from search.seeds import is_of_search
from search.space import Space
from search.trust_region import distance, usual_distance

SAME = "A and B are the same mixture: there is no difference to predict or to measure"
# So many measured mixtures near each of the two are shown.
NEAREST = 3
# A file with one of them is a study file, be it a wrong one.
STUDY_SECTIONS = {"study", "domains"}
# Fewer digits of a trial's id do not name it.
FEWEST_DIGITS = 4
MOST_NAMED = 4

Given = Mixture | Path | str
# One is missing where a study cannot judge it.
Mixtures = Mapping[Label, Mixture]


class RanStudy:
    """A study that has run, and what is recorded of it.

    Raises:
        ConfigError, TrackingError: the file is wrong, or the study has not run.
    """

    def __init__(self, path: Path) -> None:
        self.file = load(path)
        self.record = read_record(self.file)
        self.with_running = self.record.history
        self.history = self.with_running.without_running()

    @cached_property
    def answer(self) -> Answer:
        """The answer, or the answer so far."""
        return answer_so_far(self.file, self.record)

    @cached_property
    def plan(self) -> Plan:
        plan = plan_as_measured(self.file, self.record)
        if plan is None:
            raise ConfigError(
                f"the text of study {self.file.study} is not prepared here, or has changed",
                hint=f"prepare it: mixopt prepare {self.file.file}",
            )
        return plan


@dataclass(frozen=True)
class Side:
    """One of the two: as it was given, and in words what that is."""

    name: str
    what: str
    mixture: Mixture

    @property
    def summary(self) -> ComparedMixture:
        return ComparedMixture(name=self.name, what=self.what)


@dataclass(frozen=True)
class Measured:
    """The completed trials of one mixture at one fidelity.

    Attributes:
        objectives: by seed, where known.
        distance: total variation to the mixture that is asked about.
    """

    entries: tuple[Completed, ...]
    objectives: Mapping[int, float]
    distance: float

    @property
    def fidelity(self) -> Fidelity:
        return self.entries[0].trial.fidelity

    @property
    def summary(self) -> MeasuredMixture:
        seeds = fresh_seeds(self.objectives)
        return MeasuredMixture(
            origin=self.entries[0].trial.origin,
            proxy=self.fidelity.proxy,
            total_variation=self.distance,
            trials=tuple(entry.trial.id for entry in self.entries),
            objective=mean(self.objectives[seed] for seed in seeds) if seeds else None,
            mean_over_seeds=tuple(seeds),
            objectives={str(seed): value for seed, value in self.objectives.items()},
            mixture=self.entries[0].trial.mixture.as_dict(),
        )


def fresh_seeds(seeds: Iterable[int]) -> list[int]:
    """Those that the search did not use, if there are any: its seed may be why a mixture was chosen."""
    known = list(seeds)
    return [seed for seed in known if not is_of_search(seed)] or known


def compare(a: Given, b: Given, study: Path | None) -> Comparison:
    """Two mixtures or studies side by side; differences are b - a.

    Args:
        a, b: a study file, whose answer is meant; a file with a mixture; the name of a baseline or the id of a trial
            of the judging study; or a mixture.
        study: what judges. Default: the studies among `a` and `b`, else study.yaml.

    Raises:
        ConfigError, SearchError, ProxyError, TrackingError: one of them is none of these, or a study has not run.
    """
    given: dict[Label, Given] = {"a": a, "b": b}
    studies: dict[Label, RanStudy] = {
        label: RanStudy(Path(each))
        for label, each in given.items()
        if not isinstance(each, Mixture) and _is_study(each)
    }
    judges = [*studies.values()] if studies and study is None else [RanStudy(study or STUDY_FILE)]
    sides = {label: _side(label, each, studies.get(label), judges[0]) for label, each in given.items()}
    mixtures: Mixtures = {label: side.mixture for label, side in sides.items()}
    domains = list(dict.fromkeys(name for mixture in mixtures.values() for name in mixture.domains))
    whole = {label: _over(domains, mixture) for label, mixture in mixtures.items()}
    shares = {label: mixture.as_dict() for label, mixture in mixtures.items()}
    return Comparison(
        a=sides["a"].summary,
        b=sides["b"].summary,
        shares={
            name: ComparedShare(
                a=shares["a"].get(name), b=shares["b"].get(name), difference=whole["b"][name] - whole["a"][name]
            )
            for name in domains
        },
        levels=_levels(judges[0].file.levels, shares) if judges else {},
        total_variation=whole["a"].total_variation(whole["b"]),
        judged=tuple(_judge(judge, mixtures) for judge in judges),
        studies=_studies(studies["a"], studies["b"]) if len(studies) == len(given) else None,
        notes=(
            *([SAME] if whole["a"].same_as(whole["b"]) else []),
            *(
                f"{label.upper()} has no domain {name}: it counts as a share of 0"
                for label, mixture in mixtures.items()
                for name in domains
                if name not in mixture.domains
            ),
        ),
    )


def _levels(levels: Sequence[Level], shares: Mapping[Label, Mapping[str, float]]) -> dict[str, ComparedLevel]:
    found = {}
    for level in levels:
        if all(set(level.domains) <= side.keys() for side in shares.values()):
            a, b = (math.fsum(shares[label][name] for name in level.domains) for label in ("a", "b"))
            found[level.name] = ComparedLevel(domains=level.domains, a=a, b=b, difference=b - a)
    return found


def _is_study(given: Path | str) -> bool:
    """Whether it is a file, and not one with a mixture: `weights`, or nothing but `domain: weight`."""
    if not _is_file(given) or Path(given).suffix in (".json", ".csv"):
        return False
    try:
        content = plain_yaml.load(text_of(Path(given)))
    except plain_yaml.NotPlain:
        return True  # whoever reads it as a study says in which line it is none
    return not isinstance(content, dict) or ("weights" not in content and bool(STUDY_SECTIONS & content.keys()))


def _is_file(given: Path | str) -> bool:
    """Neither baselines nor trials have a name with a suffix."""
    return Path(given).is_file() or bool(Path(given).suffix)


def _side(label: str, given: Given, study: RanStudy | None, judge: RanStudy) -> Side:
    """
    Raises:
        ConfigError: it is neither file nor baseline nor trial, or no mixture of the judge's domains.
    """
    if isinstance(given, Mixture):
        return Side(label, "a mixture", given)
    name = str(given)
    if study is not None:
        confirmed = "" if study.answer.confirmed else ", not confirmed"
        return Side(name, f"the answer of study {study.file.study}{confirmed}", Mixture.of(study.answer.mixture))
    if _is_file(given):
        return Side(name, "a file", mixture_in_file(Path(given), judge.file.domains))
    baselines = judge.plan.problem.baselines
    if name in baselines:
        return Side(name, f"a baseline of study {judge.file.study}", baselines[name])
    found = [trial for trial in judge.history.trials if trial.id.startswith(name)] if len(name) >= FEWEST_DIGITS else []
    if len(found) > 1:
        raise ConfigError(
            f"the ids of {len(found)} trials of study {judge.file.study} begin with {name}",
            hint=f"give more digits: {', '.join(trial.id for trial in found[:MOST_NAMED])}",
        )
    if not found:
        raise ConfigError(
            f"{name} is no file, and no baseline or trial of study {judge.file.study}",
            hint=f"give a study file, a file with a mixture, a baseline ({', '.join(baselines)}), or the first "
            f"{FEWEST_DIGITS} digits or more of a trial's id",
        )
    [trial] = found
    return Side(name, f"trial {trial.id} of study {judge.file.study}, {trial.origin}", trial.mixture)


def _over(domains: Sequence[str], mixture: Mixture) -> Mixture:
    """The mixture over these domains; it has no share of others, and may lack some."""
    return Mixture.of({name: mixture.as_dict().get(name, 0.0) for name in domains})


def _judge(judge: RanStudy, mixtures: Mixtures) -> Judgement:
    """What a study's surrogate predicts of the two, and what its trials measured of them."""
    space, notes, judged = judge.plan.problem.space, list[str](), dict[Label, Mixture]()
    for label, mixture in mixtures.items():
        if odd := [name for name, share in mixture.as_dict().items() if share > 0 and name not in space.domains]:
            notes.append(
                f"{label.upper()} is not judged by study {judge.file.study}, which has no domain {', '.join(odd)}"
            )
            continue
        judged[label] = _over(space.domains, mixture)
        notes += [f"{label.upper()} is outside the limits: {broken}" for broken in space.violations(judged[label])]
    measured = {label: _find_measured(judge, mixture) for label, mixture in judged.items()}
    surrogate, predicted = _predict(judge, judged, notes)
    return Judgement(
        study=judge.file.study,
        file=str(judge.file.file),
        objective=describe_objective(judge.plan),
        surrogate=surrogate,
        predicted=predicted,
        measured={label: tuple(each.summary for each in found) for label, found in measured.items()},
        measured_difference=_measured_difference(measured["a"], measured["b"]) if _are_two(judged) else (),
        notes=tuple(notes),
        target_tokens=space.target_tokens,
        epochs=_epochs(space, judged),
    )


def _epochs(space: Space, mixtures: Mixtures) -> dict[str, ComparedEpochs]:
    """How often the study's final run would repeat its domains with each of the mixtures."""
    if space.target_tokens is None:
        return {}
    epochs = {label: space.epochs(mixture) for label, mixture in mixtures.items()}
    return {
        name: ComparedEpochs(
            a=epochs.get("a", {}).get(name), b=epochs.get("b", {}).get(name), max_epochs=space.most_epochs(name)
        )
        for name in space.domains
    }


def _predict(
    judge: RanStudy, mixtures: Mixtures, notes: list[str]
) -> tuple[JudgingSurrogate, Predictions] | tuple[None, None]:
    """Objective and losses of one new run of each, with their intervals, and the differences."""
    problem, settings = judge.plan.problem, judge.plan.strategy.settings
    try:
        evidence = gather(problem, judge.history)
        predictor = Predictor.fit(problem, evidence, settings.surrogate, settings.trust)
    except SearchError as error:
        notes.append(f"nothing is predicted: {error.message}")
        return None, None
    validation, trained_ND = predictor.validation, evidence.runs.weights_ND
    if not validation.trustworthy:
        notes.append(f"cross-validation does not show that {settings.surrogate} ranks mixtures better than chance")
    usual = usual_distance(trained_ND)
    for label, mixture in mixtures.items():
        if (nearest := float(distance(mixture.array[None], trained_ND)[0])) > usual:
            notes.append(
                f"{label.upper()} lies outside the evidence: {nearest:.0%} of its tokens differ from the nearest "
                f"trial, where 95% of the trials have another within {usual:.0%}"
            )
    expected = {label: predictor.expect(mixture) for label, mixture in mixtures.items()}
    two = _are_two(mixtures)
    if two:
        notes.append(
            "surrogates predict one mixture at a time: the predicted difference takes the two errors as independent, "
            "and its interval is too wide where the mixtures are alike"
        )
    by_metric = {
        name: {label: (float(mean_M[place]), float(sd_M[place])) for label, (*_, mean_M, sd_M) in expected.items()}
        for place, name in enumerate(problem.objective.metrics)
    }
    return JudgingSurrogate(
        name=settings.surrogate, trusted=validation.trustworthy, spearman=validation.objective.spearman
    ), Predictions(
        objective=_estimates(
            {label: (value, sd) for label, (value, sd, _, _) in expected.items()},
            predictor.gain(mixtures["a"], over=mixtures["b"]) if two else None,
        ),
        losses={name: _estimates(each, _difference(each) if two else None) for name, each in by_metric.items()},
    )


def _are_two(mixtures: Mixtures) -> bool:
    """Whether both are there, and differ."""
    return len(mixtures) == 2 and not mixtures["a"].same_as(mixtures["b"])


def _difference(expected: Mapping[Label, tuple[float, float]]) -> tuple[float, float]:
    """Mean and standard deviation of b minus a, their errors taken as independent."""
    (a, sd_a), (b, sd_b) = expected["a"], expected["b"]
    return b - a, float(np.hypot(sd_a, sd_b))


def _estimates(expected: Mapping[Label, tuple[float, float]], difference: tuple[float, float] | None) -> Estimates:
    """Of each side's mean and standard deviation the interval, and of b minus a, if there are two."""
    estimates: dict[Literal["a", "b", "difference"], Interval] = {
        label: Interval.of(Estimate.of(value, sd)) for label, (value, sd) in expected.items()
    }
    if difference is not None:
        estimates["difference"] = Interval.of(Estimate.of(*difference))
    return estimates


def _find_measured(judge: RanStudy, mixture: Mixture) -> list[Measured]:
    """The mixture's own trials, the dearest proxy first; then of others those nearest to it at the target."""
    problem = judge.plan.problem
    alike: dict[tuple[tuple[float, ...], str], list[Completed]] = {}
    for entry in judge.history.completed:
        weights = entry.trial.mixture.reordered(mixture.domains).weights
        key = tuple(round(weight, 9) for weight in weights), entry.trial.fidelity.proxy
        alike.setdefault(key, []).append(entry)
    found = []
    for entries in alike.values():
        entries.sort(key=lambda entry: entry.trial.seed)
        values = {entry.trial.seed: problem.objective_of(entry.trial, judge.history) for entry in entries}
        objectives = {seed: value for seed, value in values.items() if value is not None}
        found.append(Measured(tuple(entries), objectives, entries[0].trial.mixture.total_variation(mixture)))
    own = [each for each in found if each.distance <= ROUNDING]
    others = [each for each in found if each.distance > ROUNDING and each.fidelity == problem.target]
    return [
        *sorted(own, key=lambda each: -each.fidelity.flops),
        *sorted(others, key=lambda each: each.distance)[:NEAREST],
    ]


def _measured_difference(a: Sequence[Measured], b: Sequence[Measured]) -> tuple[MeasuredDifference, ...]:
    """At each proxy that trained both mixtures with a seed in common: the mean difference, paired by seed.

    `margin` is half the width of its Student-t interval, for this one comparison; None with one seed.
    """
    from scipy.special import stdtrit

    found = []
    for own in a:
        for other in b:
            shared = sorted(own.objectives.keys() & other.objectives.keys())
            if max(own.distance, other.distance) > ROUNDING or own.fidelity != other.fidelity or not shared:
                continue
            seeds = fresh_seeds(shared)
            differences = np.array([other.objectives[seed] - own.objectives[seed] for seed in seeds])
            margin = None
            if len(seeds) > 1:
                quantile = float(stdtrit(len(seeds) - 1, (1 + LEVEL) / 2))
                margin = quantile * float(differences.std(ddof=1)) / len(seeds) ** 0.5
            found.append(
                MeasuredDifference(
                    proxy=own.fidelity.proxy,
                    seeds=tuple(seeds),
                    difference=float(differences.mean()),
                    margin=margin,
                )
            )
    return tuple(found)


def _studies(a: RanStudy, b: RanStudy) -> ComparedStudies:
    """What differs between two studies besides their answers."""
    settings = tuple(_differing("", a.file.deciding(), b.file.deciding()))
    return ComparedStudies(settings=settings, a=_summarise(a), b=_summarise(b))


def _summarise(study: RanStudy) -> ComparedStudy:
    status = build_status(study.record, study.file.tracking_uri, study.file)
    return ComparedStudy(
        study=study.file.study,
        trials={state: count.total for state, count in status.trials.by_name.items()},
        flops=status.flops,
        training_seconds=status.training_seconds,
        verdict=study.answer.verdict,
    )


def _differing(name: str, a: JsonValue, b: JsonValue) -> Iterator[DifferingSetting]:
    """The settings that differ, by dotted names; None where a study does not have it."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys((*a, *b)):
            yield from _differing(f"{name}.{key}" if name else str(key), a.get(key), b.get(key))
    elif a != b:
        yield DifferingSetting(setting=name, a=a, b=b)
