"""What notebooks and programs call: each command as a function, with DataFrames in and out. See docs/python.md.

Every function does what its command does, by the same code. A table of runs is a DataFrame with the columns of
docs/run-tables.md, the path of such a file, or an `Experiment` of MLflow; a `Reading`, or the path of a mapping file,
says how it is to be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path

import pandas as pd

from mixopt.base.console import err
from mixopt.base.errors import ConfigError
from mixopt.exports import request as export_request
from mixopt.exports.formats import Draws, Exportable, exporter
from mixopt.exports.receipt import Export, Source, exported
from mixopt.results.answer import Answer
from mixopt.results.backtest import BacktestResult
from mixopt.results.comparison import Comparison
from mixopt.results.distances import Distances
from mixopt.results.domains import FoundDomains
from mixopt.results.fit import FitResult, SkippedSurrogate
from mixopt.results.plan import PlanEstimate
from mixopt.results.quality import Quality
from mixopt.results.queue import QueuedMixture
from mixopt.results.receipt import Receipt
from mixopt.results.recommendation import Interval, Score
from mixopt.results.refined import RefinedStudy
from mixopt.results.status import Status
from mixopt.results.turns import AskedTrials, AttachedRuns, ToldTrials
from mixopt.runs import backtest as backtest_runs
from mixopt.runs import fit as fit_runs
from mixopt.runs import replay as replay_runs
from mixopt.runs.objective import objective_option
from mixopt.runs.request import BacktestRequest, FitRequest, ReplayRequest
from mixopt.runs.table import METRIC, WEIGHT, Frame, TableSource
from mixopt.runs.tables.mapping_file import read_mapping
from mixopt.runs.tables.reading import Described, Reading
from mixopt.runs.tables.sheet import Experiment
from mixopt.settings.reading import load
from mixopt.settings.space import Limits
from mixopt.settings.space import read as read_limits
from mixopt.settings.units import count_of, parse_count
from search.designs.baselines import EPOCHS
from search.history import History
from search.mixture import Mixture
from search.reuse import Changes
from search.space import DomainLimits, Group, Space
from search.surrogates import DEFAULT

Table = pd.DataFrame | Path | str | Experiment
FAILURE_COLUMNS = ("trial", "fidelity", "seed", "origin", "kind", "message")


class Study:
    """A study file, and what is recorded of the study; every attribute reads the record as it is then.

    Raises:
        ConfigError: one line for each mistake in the file; of an attribute: the study has not run (far enough).
        TrackingError: the store does not answer, or holds a study of this name with another file.
    """

    def __init__(self, path: Path | str) -> None:
        self.file = load(Path(path))

    def __repr__(self) -> str:
        return f"Study({str(self.file.file)!r})"

    @property
    def name(self) -> str:
        return self.file.study

    def plan(self, probe: bool = True, gpu: str | None = None) -> PlanEstimate:
        """What will run, as `mixopt plan --json`; prepares the text where that is not done.

        Args:
            probe: train each proxy for a moment to measure its speed.
            gpu: the name of one that is not here, whose hours are told by an assumed speed.
        """
        from mixopt.run import prepared
        from mixopt.study.estimate import estimate, measures
        from mixopt.study.from_store import planned

        measures(self.file, probe, gpu)
        return estimate(planned(self.file, prepared(self.file, err)), probe, gpu)

    def distances(self) -> Distances:
        """How far each pool's text is from each evaluation set, as `mixopt distances --json`; prepares the text where
        that is not done."""
        from mixopt.run import prepared
        from mixopt.study.distances import distances_of
        from mixopt.study.planning import make_plan

        return distances_of(make_plan(self.file, prepared(self.file, err)))

    def run(self, retry_failed: bool = False) -> Answer:
        """Run the study to its answer, or go on where it was left; progress is shown on standard error.

        Args:
            retry_failed: train failed trials again.
        """
        from mixopt.run import run

        return run(self.file, retry_failed, err)

    def ask(self, count: int = 1, client: str | None = None) -> AskedTrials:
        """Mixtures to train with a trainer of one's own (executor.kind: external), as `mixopt ask --json`.

        Args:
            client: who trains them: asked again, it is given what it owes, so that each of several workers needs a name
                of its own. Default: user@machine.
        """
        from mixopt.turn import ask, this_client

        return ask(self.file, count, client or this_client(), err)

    def ask_again(self, trial: str, client: str | None = None) -> AskedTrials:
        """A trial that failed, to be trained once more, as `mixopt ask --again TRIAL --json`.

        Raises:
            ConfigError: it was never asked for, or is measured.
        """
        from mixopt.turn import ask_again, this_client

        return ask_again(self.file, trial, client or this_client(), err)

    def attach(self, runs: Table, proxy: str | None = None) -> AttachedRuns:
        """Take runs that one's own trainer has trained before as trials of the study, as `mixopt attach --json`.

        Args:
            runs: a table of runs, as for `mixopt.fit`.
            proxy: whose they are, where the table's fidelities are not called as the proxies. Default: the last.
        """
        from mixopt.turn import attach

        return attach(self.file, _source(runs, "the table", None), proxy, err)

    def tell(
        self, trial: str, losses: Mapping[str, float] | None = None, *, seconds: float = 0.0, failed: str | None = None
    ) -> ToldTrials:
        """What became of a trial that was asked for, as `mixopt tell --json`.

        Args:
            losses: of each of its metrics; others are kept beside them.
            seconds: that it was trained.
            failed: why it has no losses.

        Raises:
            ConfigError: nobody asked for it, something else was told of it before, or a metric is missing.
        """
        from mixopt.study.telling import Heard
        from mixopt.turn import tell

        if (losses is None) == (failed is None):
            raise ConfigError("a trial has losses, or it failed", hint="give one of losses and failed")
        what = {"losses": losses} if failed is None else {"failed": failed}
        return tell(self.file, lambda orders: Heard({trial: {**what, "seconds": seconds}}), err)

    def enqueue(self, mixture: Mixture, note: str = "") -> QueuedMixture:
        """Have the study train a mixture before what its strategy asks for, as the page of `mixopt explore` does.

        It is taken where the study runs, or when it is run again, until its confirmation has begun.

        Returns:
            What became of it: it waits, or was asked for before and is trained, or has failed, or is left out, and why.

        Raises:
            ConfigError: the queue is damaged, or the note too long; SearchError: the mixture is of other domains.
            TrackingError: what is recorded of the study cannot be read.
        """
        from mixopt.study.queue import enqueue, is_same

        wanted = mixture.reordered(tuple(self.file.domains))
        enqueue(self.file.work_directory, wanted, note)
        return next(each for each in self.queue if is_same(Mixture.of(each.mixture), wanted))

    @property
    def queue(self) -> tuple[QueuedMixture, ...]:
        """What was queued for it to train, in the order of asking, and what became of each.

        Raises:
            ConfigError: the queue is damaged.
            TrackingError: what is recorded of the study cannot be read.
        """
        from mixopt.study.record import HasNotRun, read_record
        from mixopt.study.status import queue_of

        try:
            history = read_record(self.file, apart_from="inventory").history
        except HasNotRun:
            history = History()
        return queue_of(self.file, history)

    @property
    def status(self) -> Status:
        """How far it is, as `mixopt status --json`."""
        from mixopt.study.status import status_of

        return status_of(self.file)

    @property
    def trials(self) -> pd.DataFrame:
        """What was measured as a table of runs, losses in nats per token, as `mixopt runs` writes it.

        A row per trial; where trials of a proxy were stopped early, also what its others had measured by then.
        """
        from mixopt.runs.trials import run_rows
        from mixopt.study.record import read_record

        return pd.DataFrame(run_rows(read_record(self.file, apart_from="file").history, "nats_per_token"))

    @property
    def all_trials(self) -> pd.DataFrame:
        """Every trial, what runs and what failed too, as `mixopt trials` lists them, with a column `weight:` a domain.

        In the order in which they began.
        """
        from mixopt.study.record import read_record
        from mixopt.study.trials import list_trials, rows_of

        return pd.DataFrame(rows_of(list_trials(read_record(self.file, apart_from="file"), self.file)))

    @property
    def failures(self) -> pd.DataFrame:
        """The failed trials: `trial, fidelity, seed, origin, kind, message`."""
        from mixopt.study.record import read_record

        rows = [
            (
                each.trial.id,
                each.trial.fidelity.proxy,
                each.trial.seed,
                each.trial.origin,
                each.failure.kind.value,
                each.failure.message,
            )
            for each in read_record(self.file, apart_from="file").history.failed
        ]
        return pd.DataFrame(rows, columns=list(FAILURE_COLUMNS))

    @property
    def answer(self) -> Answer:
        """The answer with its evidence, or before the end the answer so far, as `mixopt best --json`."""
        from mixopt.study.answer import answer_so_far
        from mixopt.study.record import read_record

        return answer_so_far(self.file, read_record(self.file, apart_from="inventory"))

    @property
    def mixture(self) -> Mixture:
        """The answer's mixture."""
        return Mixture.of(self.answer.mixture)

    def report(self) -> str:
        """The report as one HTML page, as `mixopt report` writes it.

        Raises:
            ConfigError: the study has not run, or its tokens are not here.
        """
        from mixopt.report.kept import find_report
        from mixopt.study.record import read_record

        record, kept = read_record(self.file), find_report(self.file)
        if kept is not None:
            return kept.page
        from mixopt.report.gather import report_content
        from mixopt.report.page import render

        return render(report_content(self.file, record))

    def export(
        self,
        format: str = "yaml",
        *,
        mixture: Mixture | None = None,
        location: str | None = None,
        locations: Path | str | None = None,
        draws: str | None = None,
        tokens: int | str | None = None,
        max_epochs: float | None = None,
        allow_repeats: bool = False,
        leave_out: bool = False,
        sequence_length: int | None = None,
    ) -> str:
        """The answer as a trainer's configuration, as `mixopt export` writes it; the options are the command's.

        Its receipt is in it where the format has room for one: `mixopt.Study.write_export` puts it beside else.

        Args:
            mixture: another one than the answer; the study need not have run for it.

        Raises:
            ConfigError: an option is wrong, or a domain would be repeated in `tokens` more often than it may, and
                repeats are not allowed; or the trainer would draw nothing of a domain, and none is to be left out.
        """
        request = export_request.ExportRequest.of(
            self.file,
            format,
            location=location,
            locations=_path(locations),
            draws=draws,
            tokens=tokens,
            max_epochs=max_epochs,
            allow_repeats=allow_repeats,
            leave_out=leave_out,
            sequence_length=sequence_length,
        )
        return self._export(request, mixture).text

    def write_export(
        self,
        path: Path | str,
        format: str = "yaml",
        *,
        mixture: Mixture | None = None,
        location: str | None = None,
        locations: Path | str | None = None,
        draws: str | None = None,
        tokens: int | str | None = None,
        max_epochs: float | None = None,
        allow_repeats: bool = False,
        leave_out: bool = False,
        sequence_length: int | None = None,
    ) -> Receipt:
        """The same into a file, with its receipt in it or beside it, and the receipt; see `export`."""
        request = export_request.ExportRequest.of(
            self.file,
            format,
            location=location,
            locations=_path(locations),
            draws=draws,
            tokens=tokens,
            max_epochs=max_epochs,
            allow_repeats=allow_repeats,
            leave_out=leave_out,
            sequence_length=sequence_length,
        )
        made = self._export(request, mixture)
        made.write(Path(path))
        return made.receipt

    def _export(self, request: export_request.ExportRequest, mixture: Mixture | None) -> Export:
        from mixopt.exports.mixtures import known_now

        known, _ = known_now(self.file, needs_answer=mixture is None)
        if mixture is not None:
            weights = mixture.reordered(tuple(self.file.domains))
        else:
            assert known.answer is not None
            weights = Mixture.of(known.answer.mixture)
        return request.export(known, weights)


def space(
    tokens: Mapping[str, float | str],
    bounds: Mapping[str | tuple[str, ...], tuple[float, float]] | None = None,
    *,
    target_tokens: float | str | None = None,
    max_epochs: float | Mapping[str, float] = 4.0,
) -> Space:
    """The mixtures that may be the answer, from plain numbers.

    space({"web": "6B", "code": "1B", "books": 5e8}, {"code": (0.1, 0.4), ("code", "books"): (0.2, 0.6)})

    Args:
        tokens: the supply of each domain.
        bounds: the smallest and the largest share of a domain, or of several together.
        target_tokens: of the run that the mixture is for: no domain is then repeated more than `max_epochs` times.
        max_epochs: of all domains, or by domain; those that are not named have 4.

    Raises:
        ConfigError: a bound is on a domain that is not there, or an amount of tokens is none.
        SearchError: the bounds leave no mixture.
    """
    single = {name: limits for name, limits in (bounds or {}).items() if isinstance(name, str)}
    if unknown := [name for name in single if name not in tokens]:
        raise ConfigError(f"bounds on {unknown[0]}: no such domain", hint=f"choose from {', '.join(tokens)}")
    epochs = max_epochs if isinstance(max_epochs, Mapping) else {}
    if odd := [name for name in epochs if name not in tokens]:
        raise ConfigError(f"max_epochs of {odd[0]}: no such domain", hint=f"choose from {', '.join(tokens)}")
    return Space(
        tuple(
            DomainLimits(name, _count(name, supply), *single.get(name, (0.0, 1.0)), epochs.get(name))
            for name, supply in tokens.items()
        ),
        tuple(
            Group(" and ".join(names), names, *limits)
            for names, limits in (bounds or {}).items()
            if isinstance(names, tuple)
        ),
        None if target_tokens is None else _count("target_tokens", target_tokens),
        EPOCHS if isinstance(max_epochs, Mapping) else max_epochs,
    )


def read_space(path: Path | str) -> Space:
    """The limits in a study file, or in a file of its sections domains, groups and target.

    Raises:
        ConfigError: one line for each mistake, or the tokens of a domain are not given.
        SearchError: the limits leave no mixture.
    """
    return read_limits(Path(path)).space


@dataclass(frozen=True)
class Fit:
    """What `mixopt fit` says.

    Attributes:
        result: all of it, as `mixopt fit --json`.
    """

    result: FitResult

    @property
    def mixture(self) -> Mixture:
        """The recommendation."""
        return Mixture.of(self.result.recommendation.mixture)

    @property
    def predicted(self) -> Interval | None:
        """Objective of one new run of the mixture, `mean`, and its 95% interval, `lower` and `upper`.

        None where no prediction is trusted, and the mixture is the best of the runs.
        """
        return self.result.recommendation.predicted

    @property
    def trusted(self) -> bool:
        """Whether the surrogate is shown to rank mixtures better than chance; `why` says how."""
        return self.result.trusted

    @property
    def why(self) -> str:
        return self.result.why

    @property
    def notes(self) -> list[str]:
        """What was decided on the way, and what to be careful about."""
        return list(self.result.notes)

    @property
    def scores(self) -> pd.DataFrame:
        """A row per surrogate: how its cross-validation predicts the objective, or why it is `skipped`.

        Columns `basin_...` are of the best quarter of the mixtures alone.
        """
        basin = ["basin_spearman", "basin_pairwise", "basin_regret"]
        columns = ["spearman", "rmse", "r2", "coverage_80", "coverage_95", *basin, "skipped"]
        rows = {
            name: dict(each) if isinstance(each, SkippedSurrogate) else _flat(each.cross_validation.objective)
            for name, each in self.result.surrogates.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns)

    @property
    def shares(self) -> pd.DataFrame:
        """A row per domain: `natural` and `recommended` share, and `lowest` and `highest` among mixtures as good."""
        found, natural = self.result.recommendation, self.result.natural.mixture
        rows = {
            name: [natural[name], weight, *found.ranges.get(name, (None, None))]
            for name, weight in found.mixture.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=["natural", "recommended", "lowest", "highest"])

    @property
    def predictability(self) -> pd.DataFrame:
        """A row per metric, the objective first: whether it can be predicted at all, and the numbers."""
        rows = {card.metric: card.model_dump(exclude={"metric"}) for card in self.result.predictability}
        columns = ["verdict", "explained", "ceiling", "noise_sd", "freedom"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns)

    @property
    def front(self) -> pd.DataFrame:
        """Under the objective pareto, mixtures that no other is predicted to beat in every metric: a table of runs."""
        return pd.DataFrame(
            [
                {WEIGHT + name: share for name, share in point.mixture.items()}
                | {METRIC + name: value for name, value in point.predicted.items()}
                for point in self.result.recommendation.front
            ]
        )


def fit(
    runs: Table,
    *,
    metrics: Sequence[str] = (),
    objective: str = "mean",
    maximize: Sequence[str] = (),
    minimize: Sequence[str] = (),
    space: Space | Path | str | None = None,
    target_fidelity: str | None = None,
    target_params: int | str | None = None,
    target_tokens: int | str | None = None,
    surrogates: Sequence[str] | str = (),
    every: bool = False,
    holdout: Table | None = None,
    renamed: Mapping[str, str] | None = None,
    split: Mapping[str, Sequence[str]] | None = None,
    reading: Reading | Path | str | None = None,
    seed: int = 0,
) -> Fit:
    """Fit surrogates to finished runs, say how far they can be trusted, and recommend a mixture, as `mixopt fit`.

    Args:
        metrics: those that count. Default: all.
        objective: mean, standardized, worst, no-worse, hinge or pareto, of the metrics; or a YAML file whose section
            objective has weights or families.
        maximize, minimize: metrics of which more, or less, is better. Default: by their names; see the notes.
        space: limits on the mixture.
        target_fidelity: what the mixture is for. Default: the dearest.
        target_params, target_tokens: of the run that the mixture is for, where it is larger than all of the table's.
        surrogates: the first gives the mixture. Default: the default one, which gives it, and the few that it is
            compared with.
        every: compare with every surrogate.
        holdout: further runs, to be predicted.
        renamed, split: what became of domains of the runs that the space has not.
        reading: what the columns of the tables are, or a mapping file that says it. Default: told from the tables.

    Raises:
        ConfigError, SearchError: a table or an option is wrong, or nothing can be said.
    """
    kind, settings = objective_option(objective)
    request = FitRequest(
        runs=_source(runs, "runs", reading),
        holdout=None if holdout is None else _source(holdout, "holdout", reading),
        metrics=tuple(metrics),
        objective=kind,
        objective_settings=settings,
        maximize=tuple(maximize),
        minimize=tuple(minimize),
        limits=None if space is None else _limits(space),
        target=target_fidelity,
        goal_params=count_of("target_params", target_params),
        goal_tokens=count_of("target_tokens", target_tokens),
        surrogates=(surrogates,) if isinstance(surrogates, str) else tuple(surrogates),
        every=every,
        changes=Changes(renamed or {}, split or {}),
        seed=seed,
    )
    return Fit(fit_runs.fit(request, _silently))


@dataclass(frozen=True)
class Backtest:
    """What `mixopt backtest` says.

    Attributes:
        result: all of it, as `mixopt backtest --json`.
    """

    result: BacktestResult

    @property
    def recommended(self) -> dict[str, str | None]:
        """By table, the surrogate for its kind; None where none is shown to rank mixtures better than chance."""
        return {table.table: table.recommended.surrogate for table in self.result.tables}

    @property
    def leaked(self) -> bool:
        """Whether measurements that were dealt to other mixtures were predicted: no score is to be trusted then."""
        return self.result.leaked

    @property
    def scores(self) -> pd.DataFrame:
        """A row per table, surrogate, number of `known` mixtures and subset, in the objective's unit."""
        names = ["spearman", "permuted", "pairwise", "regret", "optimism", "coverage_80", "coverage_95"]
        rows = []
        for table in self.result.tables:
            for surrogate, curve in table.curves.items():
                for point in curve.points:
                    spreads = [getattr(point, name) for name in names]
                    rows += [
                        {"table": table.table, "surrogate": surrogate, "known": point.known, "subset": subset}
                        | {
                            name: None if spread is None else spread.by_subset[subset]
                            for name, spread in zip(names, spreads, strict=True)
                        }
                        for subset in range(self.result.subsets)
                    ]
        return pd.DataFrame(rows)


def backtest(
    *tables: Table,
    surrogates: Sequence[str] | str = (),
    every: bool = False,
    known: Sequence[int] = (),
    seeds: int = 5,
    metrics: Sequence[str] = (),
    objective: str = "mean",
    maximize: Sequence[str] = (),
    minimize: Sequence[str] = (),
    space: Space | Path | str | None = None,
    target_fidelity: str | None = None,
    strategies: Sequence[str] = (),
    replays: int = 20,
    reading: Reading | Path | str | None = None,
    seed: int = 0,
) -> Backtest:
    """Let surrogates that know some of the runs predict the others, as `mixopt backtest` with the same options.

    Args:
        tables: each is judged by itself.
        known: how many mixtures are known. Default: 16, 32, 64, ... while 20 are left.
        seeds: random subsets of each size.

    Raises:
        ConfigError, SearchError: a table or an option is wrong, or a table has too few mixtures.
    """
    if not tables:
        raise ConfigError("no table to backtest", hint="give one or more")
    kind, settings = objective_option(objective)
    requests = [
        BacktestRequest(
            runs=_source(table, f"runs {place}" if len(tables) > 1 else "runs", reading),
            metrics=tuple(metrics),
            objective=kind,
            objective_settings=settings,
            maximize=tuple(maximize),
            minimize=tuple(minimize),
            limits=None if space is None else _limits(space),
            target=target_fidelity,
            surrogates=(surrogates,) if isinstance(surrogates, str) else tuple(surrogates),
            every=every,
            known=tuple(known),
            seeds=seeds,
            strategies=tuple(strategies),
            replays=replays,
            seed=seed,
        )
        for place, table in enumerate(tables, start=1)
    ]
    return Backtest(backtest_runs.backtest(requests, lambda _stage, done, total: _silently(done, total)))


def replay(
    runs: Table,
    *,
    strategies: Sequence[str] = (),
    seeds: int = 20,
    metrics: Sequence[str] = (),
    objective: str = "mean",
    maximize: Sequence[str] = (),
    minimize: Sequence[str] = (),
    target_fidelity: str | None = None,
    warm_start: int | None = None,
    acquisition: str | None = None,
    surrogate: str = DEFAULT,
    batch: int = 1,
    budget: float = inf,
    reading: Reading | Path | str | None = None,
) -> pd.DataFrame:
    """Simulate strategies on finished runs, as `mixopt replay`; the options are the command's.

    Returns:
        A row per strategy. `median` and `q75` over the seeds of the cost, in target runs, until the best run was found,
        NaN where it was not; `found`, in how many seeds; `regret@N`, the median regret after N target runs, in the
        objective's unit. `attrs["result"]` is what `mixopt replay --json` prints, notes included.

    Raises:
        ConfigError, SearchError: the table or an option is wrong, or there is too little to replay.
    """
    kind, settings = objective_option(objective)
    request = ReplayRequest(
        runs=_source(runs, "runs", reading),
        metrics=tuple(metrics),
        objective=kind,
        objective_settings=settings,
        maximize=tuple(maximize),
        minimize=tuple(minimize),
        target=target_fidelity,
        strategies=tuple(strategies),
        seeds=seeds,
        warm_start=warm_start,
        acquisition=acquisition,
        surrogate=surrogate,
        batch=batch,
        budget=budget,
    )
    result = replay_runs.replay(request, _silently)
    rows = {
        name: {
            "median": played.median,
            "q75": played.q75,
            "found": played.found,
            **{
                f"regret@{cost}": regret for cost, regret in zip(played.regret.costs, played.regret.median, strict=True)
            },
        }
        for name, played in result.strategies.items()
    }
    frame = pd.DataFrame.from_dict(rows, orient="index").astype({"median": float, "q75": float})
    # Plain: pandas writes what is in here into files, as JSON.
    frame.attrs["result"] = result.plain()
    return frame


def export(
    mixture: Mixture | Mapping[str, float],
    format: str = "yaml",
    *,
    location: str | None = None,
    locations: Path | str | None = None,
    draws: str | None = None,
    mean_document_tokens: Mapping[str, float] | None = None,
    tokens: int | str | None = None,
    max_epochs: float = 1.0,
    seed: int = 0,
    supply: Mapping[str, float] | None = None,
    sequence_length: int | None = None,
    leave_out: bool = False,
) -> str:
    """Any mixture as a trainer's configuration; see `mixopt export --list`.

    Args:
        location: what the trainer reads; {domain} in it stands for the domain's name.
        locations: in its place, a YAML file: `domain: place`, or `domain: {place: size, ...}`.
        draws: what the trainer draws: tokens, sequences or documents. Default: what it draws first.
        mean_document_tokens: by domain; needed where the trainer draws documents.
        tokens: of the run that the mixture is for.
        max_epochs: how often it may read a domain, for trainers that have to be told.
        supply: tokens that there are, by domain; needed where weights count passes, and for epochs in the receipt.
        sequence_length: of the trainer's sequences, for the receipt.
        leave_out: domains that the trainer would draw nothing of.

    Raises:
        ConfigError: an option is wrong, or the format cannot say this mixture.
        SearchError: the weights are no mixture.
    """
    mixture = mixture if isinstance(mixture, Mixture) else Mixture.of(mixture)
    chosen = exporter(format)
    drawn = export_request.choose_draws(chosen, draws)
    lengths = mean_document_tokens or {}
    weighty = [name for name, weight in mixture.as_dict().items() if weight > 0]
    if drawn is Draws.DOCUMENTS and (missing := [name for name in weighty if lengths.get(name, 0) <= 0]):
        raise ConfigError(
            f"{format} draws documents, and the mean length of those of {missing[0]} is not known",
            hint="give mean_document_tokens, by domain",
        )
    where = export_request.resolve_locations(mixture.domains, location, _path(locations))
    exportable = Exportable(
        *(mixture, drawn, lengths, where, export_request.run_tokens(tokens), max_epochs, seed),
        supply=supply or {},
        sequence_length=sequence_length,
    )
    return exported(chosen, exportable, Source(), leave_out).text


def compare(
    a: Study | Mixture | Path | str, b: Study | Mixture | Path | str, study: Study | Path | str | None = None
) -> Comparison:
    """Two studies or mixtures side by side, as `mixopt compare --json`; see docs/comparing.md.

    Args:
        a, b: a study, a study file, a file with a mixture, the name of a baseline, the id of a trial, or a mixture.
        study: whose surrogate and trials judge them. Default: the studies among `a` and `b`, else study.yaml.

    Raises:
        ConfigError: one of them is none of these, or a study has not run.
        SearchError, ProxyError, TrackingError: a study cannot be opened.
    """
    from mixopt import comparison

    one, other = (each.file.file if isinstance(each, Study) else each for each in (a, b))
    return comparison.compare(one, other, study.file.file if isinstance(study, Study) else _path(study))


def find_domains(
    data: Path | str | Sequence[Path | str],
    output: Path | str,
    *,
    count: int | None = None,
    text: str | None = None,
    embedding: Path | str | None = None,
    drop_duplicates: bool = False,
    skip_bad: bool = False,
    sample: int = 100_000,
    fine: int = 1000,
    seed: int = 0,
    workers: int | None = None,
) -> FoundDomains:
    """Sort documents into domains, pools and a study file, as `mixopt domains --json`; see docs/how-to/domains.md.

    Args:
        data: files, folders, globs, URLs or hub names.
        output: a new folder; or one in which an earlier call was killed, which is gone on with.
        count: of domains. Default: 20, fewer where there are less than 100 documents that differ.
        text: the field of records that holds the text. Default: text, or what it is called in the first file.
        embedding: the folder of a sentence-transformers model; or a study file, for the hidden states of its proxy,
            which is trained once more. Default: n-grams, learned from the documents.
        drop_duplicates: leave out what is there already, or nearly.
        skip_bad: leave out records that cannot be used, and rests of files that cannot be read.
        sample, fine: documents that are learned from, and clusters that are merged into domains, at most.
        workers: processes; all cores by default.

    Raises:
        ConfigError, ProxyError: the documents, the settings or the folder are no good.
    """
    from mixopt.domains.finding import find
    from proxies.domains.finding import Search

    search = Search(count, seed, _path(embedding), sample, fine, drop_duplicates, workers, skip_bad)
    return find([data] if isinstance(data, Path | str) else data, Path(output), search, text, err)


def refine_domains(
    study: Study | Path | str,
    output: Path | str,
    *,
    split: Mapping[str, int] | None = None,
    merge: Mapping[str, Sequence[str]] | None = None,
    embedding: Path | str | None = None,
    sample: int = 100_000,
    fine: int = 1000,
    seed: int = 0,
    workers: int | None = None,
) -> RefinedStudy:
    """Split or merge domains of a study, for one that goes on from its runs, as `mixopt domains STUDY --json`.

    Args:
        output: a new folder for pools and runs; the new study file lies beside the old, with the folder's name.
        split: how many parts a domain is to have.
        merge: by new name, the domains that it is to consist of.
        embedding, sample, fine, seed, workers: as for `find_domains`.

    Raises:
        ConfigError, ProxyError, TrackingError: it cannot be done with this study, or the folder is no good.
    """
    from mixopt.domains.refined_file import Refinement
    from mixopt.domains.refining import refine
    from proxies.domains.finding import Search

    file = study.file if isinstance(study, Study) else load(Path(study))
    search = partial(Search, seed=seed, embedding=_path(embedding), sample=sample, fine=fine, workers=workers)
    return refine(file, Refinement(split or {}, merge or {}), Path(output), search, err)


def cut_pools(study: Path | str, output: Path | str = "pools", study_file: Path | str | None = None) -> Quality:
    """Cut the pools of a study that asks for it into levels of quality, as `mixopt quality --json`.

    Args:
        study: the file.
        output: a folder, which gets one for each domain with a file for each level.
        study_file: the new study file, beside the other. Default: its name and -levels.

    Raises:
        ConfigError, ProxyError: no domain asks for levels, or the text does not go together with what is asked.
    """
    from mixopt import quality
    from mixopt.study.stages import Stages

    path = Path(study)
    new = path.with_name(f"{path.stem}-levels{path.suffix}") if study_file is None else Path(study_file)
    with Stages(err) as stages:
        return quality.cut_pools(
            load(path), Path(output), new, lambda step: stages.advance(step.stage, step.done, step.total, step.unit)
        )


def _source(table: Table, name: str, reading: Reading | Path | str | None) -> TableSource:
    if isinstance(table, Experiment):
        cells: Frame | Path | Experiment = table
    else:
        cells = Frame(table, name) if isinstance(table, pd.DataFrame) else Path(table)
    if reading is None:
        return cells
    if isinstance(reading, Reading):
        return Described(cells, reading)
    return Described(cells, read_mapping(Path(reading)), Path(reading))


def _limits(space: Space | Path | str) -> Limits:
    return Limits.of(space) if isinstance(space, Space) else read_limits(Path(space))


def _path(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)


def _count(name: str, amount: float | str) -> int:
    try:
        return parse_count(amount)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None


def _flat(score: Score) -> dict[str, float | None]:
    """Scores by name, those of the best quarter as `basin_...`."""
    basin = {} if score.basin is None else {f"basin_{name}": value for name, value in score.basin}
    return {**score.model_dump(exclude={"basin"}), **basin}


def _silently(done: int, total: int) -> None:
    """Progress that nobody is told of."""
