"""What `mixopt backtest` does: some of the finished runs are known, the others are predicted, in many subsets.

    requests --> posed tables --> surrogates on subsets, scrambled ones among them --> curves, controls, one recommended
                                                                  strategies, replayed --> beside them

Shapes: N runs, K subsets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.results.backtest import (
    BacktestObjective,
    BacktestResult,
    Control,
    Controls,
    CurvePoint,
    LearningCurve,
    NoiseOfRuns,
    Recommended,
    ReferenceRun,
    Spread,
    TableBacktest,
)
from mixopt.results.fit import SkippedSurrogate
from mixopt.results.replay import ReplayResult
from mixopt.runs.fit import surrogates_to_fit
from mixopt.runs.objective import name_of
from mixopt.runs.problem import MEAN_MIXTURE, FitProblem, pose
from mixopt.runs.replay import replay
from mixopt.runs.request import BacktestRequest
from mixopt.runs.work import Work, processes_for
from search.backtest import Backtest, Difference, Subset, SubsetScore, by_chance, over_subsets
from search.errors import SearchError
from search.mixture import NEAR, FloatArray
from search.recommendation.predictability import RunNoise, run_noise
from search.recommendation.validation import FEWEST_RUNS, better_than_chance

# How many mixtures are known where nobody says: so many, and doubled while ENOUGH_LEFT are left out, whose best quarter
# can be ranked.
FIRST_KNOWN, MOST_KNOWN = 16, 256
ENOUGH_LEFT = 20

# Told a stage, how many of its steps are done, and of how many.
OnStep = Callable[[str, int, int], None]


class Job(NamedTuple):
    """One fit."""

    table: int
    subset: int
    surrogate: str
    known: int
    scrambled: bool


# What came of each job: scores, or why the surrogate could not be fitted.
Found = Mapping[Job, SubsetScore | str]


@dataclass(frozen=True, eq=False)
class Posed:
    """A table, ready to be backtested."""

    request: BacktestRequest
    fit: FitProblem
    backtest: Backtest
    known: tuple[int, ...]
    surrogates: tuple[str, ...]
    left_out: Mapping[str, str]

    @property
    def shared(self) -> float:
        """How far scores of two subsets are taken to be alike, where most are known.

        By what they share of the mixtures on the smaller side, which makes most of the spread: few that are known are
        luck, and so are few that are left out.
        """
        mixtures = len(np.unique(self.backtest.runs.mixture_N))
        return min(self.known[-1], self.backtest.left_out) / mixtures


def backtest(requests: Sequence[BacktestRequest], on_step: OnStep) -> BacktestResult:
    """How surrogates that knew some runs of a table would have predicted the others; `save` adds pictures.

    Args:
        requests: one for each table.

    Raises:
        ConfigError, SearchError: a table or an option is wrong, or a table has too few mixtures.
    """
    tables = [_pose(request) for request in requests]
    jobs = [job for place, table in enumerate(tables) for job in _jobs(place, table)]
    # Subset by subset: what is left then takes as long as what is done did.
    jobs.sort(key=lambda job: job.subset)
    found: dict[Job, SubsetScore | str] = {}
    stage = f"fit surrogates to subsets ({len(jobs)} fits)"
    on_step(stage, 0, len(jobs))
    with processes_for(len(jobs)) as pool:
        work = Work[Job](pool, "compare fewer surrogates, or give fewer --runs")
        for job in jobs:
            subset = (tables[job.table].request.seed, job.subset)
            work.add(job, _score, tables[job.table].backtest, job.surrogate, job.known, subset, job.scrambled)
        for job, score in work.results():
            if isinstance(score, str) and job.scrambled:
                raise ConfigError(
                    f"{tables[job.table].request.runs}: {job.surrogate} cannot be fitted to {job.known} mixtures: "
                    f"{score}",
                    hint="give more with --runs, or another --surrogate first",
                )
            found[job] = score
            on_step(stage, len(found), len(jobs))
    return BacktestResult(
        subsets=requests[0].seeds,
        tables=tuple(_summary(place, table, found, on_step) for place, table in enumerate(tables)),
    )


def save(result: BacktestResult, directory: Path) -> BacktestResult:
    """Draw the learning curves of every table, and the regret of strategies.

    Returns:
        The result with the names of the files.
    """
    from mixopt.runs.plots import draw_backtest

    directory.mkdir(parents=True, exist_ok=True)
    return result.model_copy(update={"files": tuple(str(path) for path in draw_backtest(result, directory))})


def _pose(request: BacktestRequest) -> Posed:
    """
    Raises:
        ConfigError: the table or an option is wrong.
    """
    fit = pose(request.fit)
    # A run at the target that lacks a metric can be neither left out nor compared with.
    runs = fit.runs.select(~fit.runs.at_target_N | fit.runs.complete_N)
    known = _known(request, lambda known: Backtest(fit.problem, runs, known))
    backtest = Backtest(fit.problem, runs, known[-1])
    if np.ptp(_at_target(backtest)) == 0:
        raise ConfigError(
            f"{request.runs}: the objective is the same in every run at {runs.target.proxy}",
            hint="choose another metric or target fidelity",
        )
    names, left_out = surrogates_to_fit(request.fit, fit)
    return Posed(request, fit, backtest, known, names, left_out)


def _known(request: BacktestRequest, with_known: Callable[[int], Backtest]) -> tuple[int, ...]:
    """How many mixtures are known, rising.

    Raises:
        ConfigError: the table has too few mixtures, or too few for what is asked for.
    """
    runs = with_known(FEWEST_RUNS).runs
    mixtures, target = len(np.unique(runs.mixture_N)), runs.target.proxy
    if with_known(FEWEST_RUNS).left_out < FEWEST_RUNS:
        raise ConfigError(
            f"{request.runs}: {mixtures} mixtures are too few: {FEWEST_RUNS} have to be known, and {FEWEST_RUNS} with "
            f"every metric at {target} left out",
            hint="add runs, or choose another --target-fidelity",
        )
    if not request.known:
        usual = [FIRST_KNOWN * 2**power for power in range(32) if FIRST_KNOWN * 2**power <= min(MOST_KNOWN, mixtures)]
        return tuple(known for known in usual if with_known(known).left_out >= ENOUGH_LEFT) or (FEWEST_RUNS,)
    fewest, most = min(request.known), max(request.known)
    if fewest < FEWEST_RUNS:
        raise ConfigError(f"--runs {fewest}: too few for a regression", hint=f"give {FEWEST_RUNS} or more")
    if with_known(most).left_out < FEWEST_RUNS:
        possible = (each for each in range(mixtures, 0, -1) if with_known(each).left_out >= FEWEST_RUNS)
        raise ConfigError(
            f"--runs {most}: {request.runs} has {mixtures} mixtures, and {FEWEST_RUNS} with every metric at {target} "
            "have to be left out",
            hint=f"give {next(possible)} or fewer",
        )
    return tuple(sorted(set(request.known)))


def _jobs(place: int, table: Posed) -> list[Job]:
    subsets = range(table.request.seeds)
    scrambled = [Job(place, subset, table.surrogates[0], table.known[-1], True) for subset in subsets]
    return scrambled + [
        Job(place, subset, name, known, False)
        for subset in subsets
        for name in table.surrogates
        for known in table.known
    ]


def _score(backtest: Backtest, surrogate: str, known: int, subset: Subset, scrambled: bool) -> SubsetScore | str:
    """The scores, or why the surrogate could not be fitted."""
    try:
        return backtest.score(surrogate, known, subset, scrambled)
    except SearchError as error:
        return error.message


def _summary(place: int, table: Posed, found: Found, on_step: OnStep) -> TableBacktest:
    request, runs, backtest = table.request, table.backtest.runs, table.backtest
    objective = backtest.problem.objective
    noise = run_noise(_at_target(backtest), runs.mixture_N[np.isfinite(backtest.objective_N)])
    surrogates: dict[str, LearningCurve | SkippedSurrogate] = {}
    scores: dict[str, list[SubsetScore]] = {}
    for name in table.surrogates:
        by_known = {known: _scores(place, table, found, name, known) for known in table.known}
        last = by_known[table.known[-1]]
        if isinstance(last, str):
            surrogates[name] = SkippedSurrogate(skipped=last)
            continue
        scores[name] = last
        surrogates[name] = LearningCurve(
            points=tuple(_point(known, each, noise) for known, each in by_known.items() if not isinstance(each, str))
        )
    surrogates |= {name: SkippedSurrogate(skipped=reason) for name, reason in table.left_out.items()}
    reference = backtest.reference
    return TableBacktest(
        table=request.runs.name,
        runs={fidelity.proxy: int(runs.at(index).sum()) for index, fidelity in enumerate(runs.fidelities)},
        target=runs.target.proxy,
        mixtures=len(np.unique(runs.mixture_N[runs.at_target_N])),
        left_out=backtest.left_out,
        objective=BacktestObjective(
            kind=request.objective,
            name=name_of(request.objective, objective),
            metrics=objective.metrics,
            maximised=tuple(sorted(objective.maximised)),
            sd=float(_at_target(backtest).std()),
        ),
        noise=None if noise is None else NoiseOfRuns(**asdict(noise)),
        reference=ReferenceRun(
            run=runs.names[reference.row],
            proportional=reference.apart < NEAR and table.fit.natural_is != MEAN_MIXTURE,
            natural=table.fit.natural_is,
            apart=reference.apart,
        ),
        surrogates=surrogates,
        controls=_controls(place, table, found, scores),
        recommended=_recommended(table, scores),
        replay=_replayed(request, on_step) if request.strategies else None,
        notes=table.fit.notes,
    )


def _at_target(backtest: Backtest) -> FloatArray:
    """The objective of the target's runs."""
    values_N: FloatArray = backtest.objective_N[np.isfinite(backtest.objective_N)]
    return values_N


def _scores(place: int, table: Posed, found: Found, name: str, known: int) -> list[SubsetScore] | str:
    """By subset, or why there are none."""
    each = [found[Job(place, subset, name, known, False)] for subset in range(table.request.seeds)]
    scores = [score for score in each if not isinstance(score, str)]
    return scores if len(scores) == len(each) else next(reason for reason in each if isinstance(reason, str))


def _point(known: int, scores: Sequence[SubsetScore], noise: RunNoise | None) -> CurvePoint:
    regret = _spread(scores, "regret")
    return CurvePoint(
        known=known,
        spearman=_spread(scores, "spearman"),
        permuted=_spread(scores, "permuted"),
        pairwise=None if any(score.pairwise is None for score in scores) else _spread(scores, "pairwise"),
        regret=regret,
        regret_in_noise=None if noise is None or noise.sd == 0 else regret.mean / noise.sd,
        optimism=_spread(scores, "optimism"),
        coverage_80=_spread(scores, "coverage_80"),
        coverage_95=_spread(scores, "coverage_95"),
    )


def _values(scores: Sequence[SubsetScore], name: str) -> FloatArray:
    return np.array([getattr(score, name) for score in scores], dtype=np.float64)


def _spread(scores: Sequence[SubsetScore], name: str) -> Spread:
    values_K = _values(scores, name)
    return Spread(
        mean=float(values_K.mean()),
        median=float(np.median(values_K)),
        q25=float(np.quantile(values_K, 0.25)),
        q75=float(np.quantile(values_K, 0.75)),
        by_subset=tuple(values_K.tolist()),
    )


def _controls(place: int, table: Posed, found: Found, scores: Mapping[str, Sequence[SubsetScore]]) -> Controls:
    """Of the first surrogate, which the scrambled rows were fitted by."""
    name, known = table.surrogates[0], table.known[-1]
    scrambled = [found[Job(place, subset, name, known, True)] for subset in range(table.request.seeds)]
    dealt_K = _values([score for score in scrambled if not isinstance(score, str)], "spearman")
    chance = by_chance(dealt_K, table.backtest.left_out)
    right_K, mistaken_K = _values(scores[name], "spearman"), _values(scores[name], "permuted")
    fall = over_subsets(right_K - mistaken_K, table.shared)
    leak, matters = chance.lower > 0, fall.lower > 0
    from_to = f"the rank correlation of {name} falls from {right_K.mean():.2f} to {mistaken_K.mean():.2f}"
    return Controls(
        scrambled=_control(
            not leak,
            name,
            known,
            dealt_K,
            chance,
            f"a leak: with the measurements dealt to other mixtures {name} still ranks them with {_interval(chance)}; "
            "look for runs that stand in the table twice, and trust none of these scores"
            if leak
            else f"with the measurements dealt to other mixtures {name} ranks them with {_interval(chance)}, as by "
            "chance: no leak",
        ),
        permuted=_control(
            matters,
            name,
            known,
            mistaken_K,
            fall,
            f"with the domains of the left-out mixtures mistaken for each other {from_to}"
            + (
                f", by {_interval(fall)}: it predicts from the mixture"
                if matters
                else f", by {_interval(fall)}, which may be nothing: the mixture, or which domain is which, is not "
                "shown to matter"
            ),
        ),
    )


def _control(
    passed: bool, surrogate: str, known: int, values_K: FloatArray, found: Difference, verdict: str
) -> Control:
    return Control(
        passed=passed,
        surrogate=surrogate,
        known=known,
        by_subset=tuple(values_K.tolist()),
        mean=found.mean,
        lower=found.lower,
        upper=found.upper,
        verdict=verdict,
    )


def _recommended(table: Posed, scores: Mapping[str, Sequence[SubsetScore]]) -> Recommended:
    """The first surrogate, unless another is shown to rank the left-out mixtures better where most are known."""
    left_out, first = table.backtest.left_out, next(iter(scores))
    ranked = {name: _values(each, "spearman") for name, each in scores.items()}
    order = sorted(ranked, key=lambda name: -ranked[name].mean())
    leader = order[0]
    if not better_than_chance(float(ranked[leader].mean()), left_out):
        why = (
            f"no surrogate is shown to rank mixtures better than chance: the best, {leader}, ranks {left_out} with "
            f"{ranked[leader].mean():.2f}"
        )
        return Recommended(surrogate=None, shown=False, why=why)
    ahead = over_subsets(ranked[leader] - ranked[first], table.shared)
    chosen = leader if leader == first or ahead.lower > 0 else first
    others = [name for name in order if name != chosen]
    evidence = (
        f"{chosen}: with {table.known[-1]} mixtures known it ranks {left_out} others with {ranked[chosen].mean():.3f}"
    )
    if not others:
        return Recommended(surrogate=chosen, shown=False, why=f"{evidence}; no other was tried")
    rival = first if chosen not in (first, others[0]) else others[0]
    gap = over_subsets(ranked[chosen] - ranked[rival], table.shared)
    shown = gap.lower > 0
    why = f"{evidence}, {rival} with {ranked[rival].mean():.3f}: " + (
        f"a difference of {_interval(gap, 3)}"
        if shown
        else f"no difference shown, {_interval(gap, 3)}, and {chosen} is the first of those compared"
    )
    return Recommended(surrogate=chosen, shown=shown, why=why)


def _replayed(request: BacktestRequest, on_step: OnStep) -> ReplayResult:
    stage = f"replay strategies on {request.runs.name}"
    return replay(request.replay, lambda done, total: on_step(stage, done, total))


def _interval(found: Difference, digits: int = 2) -> str:
    return f"{found.mean:.{digits}f} ({found.lower:.{digits}f} to {found.upper:.{digits}f})"
