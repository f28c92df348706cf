"""What `mixopt fit` shows a person: its result as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mixopt.base.console import note
from mixopt.cli.tables.table import bar_of, epochs_of, flat_shares, plain_table, share_of
from mixopt.results.fit import FitResult
from mixopt.results.objective import RunsObjective
from mixopt.results.recommendation import Interval, Score
from mixopt.results.replay import ReplayResult
from mixopt.results.scale import ScalePath
from mixopt.runs.final_run import name_of, sentence
from mixopt.settings.levels import in_levels
from mixopt.settings.units import show_count
from search.problem import PROPORTIONAL

if TYPE_CHECKING:
    from mixopt.runs.fit import FirstAnswer

# Of the front: with more metrics than this, a column each is too wide; of each mixture the largest shares are named.
METRIC_COLUMNS = 4
SHARES_NAMED = 3
LEAST_NAMED = 0.01
# Metrics whose predictability is shown.
METRICS_NAMED = 8
STYLES = {"predictable": "green", "partly": "yellow", "not shown": "red"}
SHARES_ON_PATH = 4
# What noise leaves to be explained is itself known roughly with fewer.
FEW_REPEATS = 10

# Name of a score, those of the best quarter after "basin.", -> heading and format.
Scores = Mapping[str, tuple[str, str]]
SCORES: Scores = {
    "spearman": ("Spearman", ".3f"),
    "rmse": ("rmse", ".4g"),
    "coverage_80": ("in 80%", ".0%"),
    "coverage_95": ("in 95%", ".0%"),
}
BASIN_SCORES: Scores = {
    "basin.spearman": ("best ¼: Spearman", ".3f"),
    "basin.pairwise": ("pairs right", ".0%"),
    "basin.regret": ("regret of pick", ".3g"),
}
CALIBRATED_SCORES: Scores = {"spearman": ("Spearman", ".3f"), "calibrated_rmse": ("calibrated rmse", ".4g")}


def fit_view(result: FitResult) -> RenderableType:
    runs = ", ".join(f"{count} at {fidelity}" for fidelity, count in result.runs.items())
    units = "" if result.predicted_at == result.target else f", in the units of {result.predicted_at}"
    parts: list[RenderableType] = [
        Text(f"runs: {runs}; predictions are for {result.target}{units}"),
        *([] if result.goal is None else [Text(f"the mixture is for a run of {name_of(result.goal)}")]),
        objective_line(result.objective),
        _cross_validation(result),
        *(Text(f"{name} is not fitted: {reason}", style="dim") for name, reason in result.skipped.items()),
    ]
    if result.holdout:
        parts.append(_holdout(result))
    if result.predictability:
        parts.append(_predictability(result))
    parts += [Text(f"\n{result.why}\n", style="bold"), _mixture(result)]
    if result.recommendation.front:
        parts.append(_front(result))
    if result.path is not None:
        parts.append(path_view(result.path))
    return Group(*parts, Text(), *remarks(result))


def first_answer_line(first: FirstAnswer) -> str:
    largest = sorted(first.mixture.as_dict().items(), key=lambda each: -each[1])
    named = [f"{name} {share:.1%}" for name, share in largest if share >= LEAST_NAMED]
    rest = [f"{len(largest) - len(named)} more below {LEAST_NAMED:.0%}"] if len(named) < len(largest) else []
    return (
        f"first answer, by {first.surrogate} and before validation: {', '.join(named + rest)}; "
        f"predicted {first.objective} {first.expected:.4g}"
    )


def objective_line(objective: RunsObjective) -> Text:
    metrics = ", ".join(
        f"{name} (more is better)" if name in objective.maximised else name for name in objective.metrics
    )
    return Text(f"objective, lower is better: {objective.kind} of {metrics}\n")


def remarks(result: FitResult | ReplayResult) -> list[RenderableType]:
    """Notes and the names of files, a line each."""
    lines = [note(each) for each in result.notes]
    written = [Text("wrote " + ", ".join(result.files))] if result.files else []
    return [*lines, *written]


def _cross_validation(result: FitResult) -> Table:
    title = "Cross-validation (in 80%: runs inside their 80% interval)"
    shown = _with_basin(SCORES, [validation.objective for validation in result.fitted.values()])
    table = plain_table("surrogate", *(f">{heading}" for heading, _ in shown.values()), title=title)
    for name, validation in result.fitted.items():
        table.add_row(_name(name, result), *_scores(validation.objective, shown))
    return table


def _holdout(result: FitResult) -> Table:
    first = next(iter(result.holdout.values()))
    # Measured at another fidelity than predicted: errors in its units and intervals mean nothing.
    scores = SCORES if first.fidelity == result.predicted_at else CALIBRATED_SCORES
    shown = _with_basin(scores, list(result.holdout.values()))
    title = f"\nHoldout, {first.runs} runs at {first.fidelity}"
    table = plain_table("surrogate", *(f">{heading}" for heading, _ in shown.values()), ">rank of pick", title=title)
    for name, score in result.holdout.items():
        table.add_row(_name(name, result), *_scores(score, shown), str(score.pick.rank))
    return table


def _name(surrogate: str, result: FitResult) -> Text:
    """Bold where the mixture rests on it."""
    return Text(surrogate, style="bold" if surrogate == result.default else "")


def _with_basin(shown: Scores, scores: Sequence[Score]) -> Scores:
    """With the scores of the best quarter, where that has enough mixtures for any."""
    return {**shown, **BASIN_SCORES} if any(score.basin for score in scores) else shown


def _scores(score: Score, shown: Scores) -> list[str]:
    return [_number(score, name, form) for name, (_, form) in shown.items()]


def _number(score: Score, name: str, form: str) -> str:
    *inside, last = name.split(".")
    part = score.basin if inside else score
    number = None if part is None else getattr(part, last)
    return "-" if number is None else format(number, form)


def _mixture(result: FitResult) -> RenderableType:
    recommendation, natural = result.recommendation, result.natural
    with_epochs = [">epochs"] if result.epochs else []
    columns = ("domain", ">natural", ">recommended", "", ">range as good", *with_epochs)
    table = plain_table(*columns, title=f"The mixture ({recommendation.method})")
    levels = recommendation.levels
    for row in in_levels(recommendation.mixture, {name: level.domains for name, level in levels.items()}):
        weight = row.sum_in(recommendation.mixture)
        span = levels[row.name].range if row.is_level else recommendation.ranges.get(row.name)
        table.add_row(
            row.label,
            f"{row.sum_in(natural.mixture):.1%}",
            share_of(row, weight),
            bar_of(row, weight),
            f"{span[0]:.1%} to {span[1]:.1%}" if span else "",
            *([epochs_of(each.recommended, each.max_epochs)] if (each := result.epochs.get(row.name)) else []),
        )
    lines = [f"natural is {natural.source}"]
    if result.target_tokens is not None:
        lines.append(f"epochs are those of a run of {show_count(result.target_tokens)} tokens")
    if recommendation.predicted and natural.predicted:
        lines += [
            f"predicted {result.objective.name} of one new run, with its 95% interval: "
            f"{_interval(recommendation.predicted)}, of the natural mixture {_interval(natural.predicted)}",
            "it beats one of "
            + ", ".join(
                f"the {'natural' if name == PROPORTIONAL else name} mixture with probability {probability:.0%}"
                for name, probability in recommendation.beats.items()
            ),
        ]
    lines += [f"{bound.domain} is {bound.says}" for bound in result.bounds]
    if flat := flat_shares(recommendation):
        lines.append(f"domains whose share, changed alone, hardly matters: {', '.join(flat)}")
    return Group(table, Text("\n".join(lines)))


def _predictability(result: FitResult) -> Table:
    """Of many metrics the least predictable ones, these first."""
    objective, *metrics = result.predictability
    metrics.sort(key=lambda card: -math.inf if card.explained is None else card.explained)
    shown = [objective, *metrics[:METRICS_NAMED]]
    title = f"\nWhat can be predicted, by {result.default}, of held-out runs"
    table = plain_table("metric", "", ">variance explained", ">at most, for noise", title=title)
    for card in shown:
        ceiling = "unknown: no repeats"
        if card.ceiling is not None:
            about = "about " if card.freedom < FEW_REPEATS else ""
            ceiling = f"{about}{card.ceiling:.0%} ({card.freedom} repeats)"
        explained = "-" if card.explained is None else f"{card.explained:.0%}"
        table.add_row(card.metric, Text(card.verdict, style=STYLES[card.verdict]), explained, ceiling)
    if len(shown) < len(result.predictability):
        table.caption = f"the {len(result.predictability) - len(shown)} others are better explained, see --json"
        table.caption_justify = "left"
    return table


def path_view(path: ScalePath) -> RenderableType:
    """How the best mixture moves: the domains that have the most of it somewhere on the way."""
    most = {name: max(point.mixture[name] for point in path.points) for name in path.points[0].mixture}
    shown = sorted(most, key=lambda name: -most[name])[:SHARES_ON_PATH]
    title = f"\nThe best mixture as runs grow{', its largest shares' if len(shown) < len(most) else ''} (95% intervals)"
    table = plain_table("", ">parameters", ">tokens", *(f">{name}" for name in shown), ">predicted", title=title)
    for point in path.points:
        shares = (
            f"{point.mixture[name]:.0%} ({100 * point.shares[name][0]:.0f}-{100 * point.shares[name][1]:.0f})"
            for name in shown
        )
        scale = ("-" if number is None else show_count(number) for number in (point.params, point.tokens))
        place = "trained" if point.trained else Text("final", style="bold") if point is path.points[-1] else ""
        predicted = point.predicted
        table.add_row(place, *scale, *shares, f"{predicted.mean:.3g} ({predicted.lower:.3g}-{predicted.upper:.3g})")
    return Group(table, Text(sentence(path)))


def _front(result: FitResult) -> Table:
    """Predicted metrics of the mixtures that no other beats; of many metrics, those that a mixture is the best in."""
    front, objective = result.recommendation.front, result.objective
    metrics = objective.metrics
    few = len(metrics) <= METRIC_COLUMNS
    columns = [f">{name}" for name in metrics] if few else ["best of these in"]
    table = plain_table(">", *columns, "largest shares", title="\nThe predicted Pareto front (all of it: front.csv)")
    best_at = {
        name: (max if name in objective.maximised else min)(point.predicted[name] for point in front)
        for name in metrics
    }
    for number, point in enumerate(front, start=1):
        predicted = point.predicted
        best_in = ", ".join(name for name in metrics if predicted[name] == best_at[name])
        largest = sorted(point.mixture.items(), key=lambda share: -share[1])[:SHARES_NAMED]
        table.add_row(
            str(number),
            *([f"{predicted[name]:.4g}" for name in metrics] if few else [best_in]),
            ", ".join(f"{name} {share:.0%}" for name, share in largest if share >= LEAST_NAMED),
        )
    return table


def _interval(estimate: Interval) -> str:
    return f"{estimate.mean:.4g} ({estimate.lower:.4g} to {estimate.upper:.4g})"
