"""What `mixopt calibration` shows a person: its result as tables."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mixopt.base.console import note
from mixopt.cli.tables.table import plain_table
from mixopt.results.calibration import CalibrationResult, GainScore, ProposalScore, StudyCalibration, Together
from search.intervals import reach

COLUMNS = ("study", "of", ">confirmed", ">too high by", "95% interval", ">rmse", ">in 80%", ">in 95%")
TRIALS = ("study", ">trials", ">too low by", ">rmse", ">in 80%", ">in 95%")


def calibration_view(result: CalibrationResult) -> RenderableType:
    parts: list[RenderableType] = []
    if any(each.gains for each in result.studies):
        parts += [_gains(result), _scores(result)]
        parts += [Text(said) for each in result.together if (said := _next(each.candidates))]
    if any(each.proposals for each in result.studies):
        parts.append(_proposals(result))
    return Group(*parts, *(note(each) for each in result.notes))


def _gains(result: CalibrationResult) -> Table:
    title = "Gains over proportional, predicted before they were confirmed (± 95%)"
    table = plain_table("study", "mixture", ">predicted", ">confirmed", ">seeds", ">too high by", title=title)
    for study in result.studies:
        for each in study.gains:
            assert each.measured is not None and each.error is not None, "confirmed"
            table.add_row(
                study.study,
                each.label,
                f"{each.gain:+.4f} ± {reach(0.95) * each.sd:.4f}",
                f"{each.measured:+.4f} ± {reach(0.95) * each.error:.4f}",
                str(each.seeds),
                f"{each.gain - each.measured:+.4f}",
            )
    return table


def _scores(result: CalibrationResult) -> Table:
    table = plain_table(*COLUMNS, title="\nHow far predicted gains were off")
    for name, each in _named(result):
        for what, score in (("candidates", each.candidates), ("baselines", each.baselines)):
            if score is not None:
                interval = score.optimism_interval
                table.add_row(
                    *(name, what, str(score.confirmations), f"{score.optimism:+.4f}"),
                    "" if interval is None else f"{interval[0]:+.4f} to {interval[1]:+.4f}",
                    *(f"{score.rmse:.4f}", f"{score.coverage_80:.0%}", f"{score.coverage_95:.0%}"),
                )
    return table


def _next(score: GainScore | None) -> str | None:
    """What the record does to the next prediction."""
    if score is None or (score.taken_off == 0 and score.widening == 1):
        return None
    return (
        f"the next predicted gain here is corrected by {-score.taken_off:+.4f}, and its interval is "
        f"{score.widening:.2f} times as wide"
    )


def _proposals(result: CalibrationResult) -> Table:
    table = plain_table(*TRIALS, title="\nObjectives that the search expected of its trials")
    for name, each in _named(result):
        if (score := each.proposals) is not None:
            table.add_row(name, *_proposal(score))
    return table


def _proposal(score: ProposalScore) -> tuple[str, ...]:
    return (
        *(str(score.trials), f"{score.optimism:+.4f}", f"{score.rmse:.4f}"),
        *(f"{score.coverage_80:.0%}", f"{score.coverage_95:.0%}"),
    )


def _named(result: CalibrationResult) -> list[tuple[str, StudyCalibration | Together]]:
    """Every study, then those that are alike together, where they are several."""
    together = [(f"together ({each.kind}, {each.unit})", each) for each in result.together if len(each.studies) > 1]
    return [*((each.study, each) for each in result.studies), *together]
