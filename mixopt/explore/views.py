"""What the page says of mixtures, as elements."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dash import html

from mixopt.explore.subject import Subject
from mixopt.explore.what_if import DomainNow, Verdict, WhatIf, WhatIfs
from mixopt.results.answer import Outcome
from mixopt.results.queue import QueuedMixture
from mixopt.settings.levels import Row, in_levels
from mixopt.settings.units import show_count
from search.mixture import Mixture
from search.recommendation.recommendation import Estimate

# Sentences of a kind that are shown before the rest is counted.
MOST_SENTENCES = 4
NO_EPOCHS = "–"
NOW = "now"
# Of any training.
LEAST_FLOPS = 1e6
# In explore.css.
TONES = {Verdict.BETTER: "good", Verdict.WORSE: "bad", Verdict.NOT_TOLD: ""}


def signed(value: float) -> str:
    """With a true minus, and a plus where it is above 0."""
    return f"{value:+.4f}".replace("-", "−")


def plain(value: float) -> str:
    return f"{value:.4f}".replace("-", "−")


def percent(share: float) -> str:
    if share == 0:
        return "0"
    return f"{share:.1%}" if share >= 0.0995 else f"{share:.2%}"


def summary(found: WhatIf, subject: Subject, reach: float) -> Any:
    """What is looked at first.

    Args:
        reach: the gain at the ends of the scale on which gains are drawn.
    """
    return [_gain(found, subject, reach), _objective(found, subject), _evidence(found), _limits(found)]


def details(found: WhatIf, subject: Subject) -> Any:
    """What there is to be careful about, and each metric."""
    return [*_sentences(found), _losses(found, subject)]


def _gain(found: WhatIf, subject: Subject, reach: float) -> Any:
    gain, title = found.expected.gain, f"Gain over {subject.natural}"
    if gain is None:
        return _tile(title, "–", "there is no proportional mixture")
    if found.mixture.same_as(subject.proportional):
        return _tile(title, "0", f"this is {_with_article(subject.natural)}")
    tone = "" if found.verdict is None else TONES[found.verdict]
    said = "" if found.verdict is None else f"{found.verdict} {subject.natural}"
    measured = _measured(subject.confirmed(found.mixture))
    return _tile(
        title,
        signed(gain.mean),
        [
            *measured,
            *(["predicted of one new run: "] if measured else []),
            html.Span(said, className=tone),
            html.Br(),
            f"95%: {signed(gain.lower)} to {signed(gain.upper)}",
        ],
        _bar(gain, reach, tone),
        name="now-gain",
    )


def _with_article(natural: str) -> str:
    return natural if natural.startswith("the ") else f"the {natural} mixture"


def _measured(outcome: Outcome | None) -> list[Any]:
    """What the confirmation of the study's answer says of a mixture."""
    if outcome is None or outcome.difference is None:
        return []
    margin = "" if outcome.margin is None else f" ± {outcome.margin:.4f}"
    tone = {"better": "good", "worse": "bad"}.get(outcome.verdict, "")
    return [
        f"confirmed: {signed(-outcome.difference)}{margin}, ",
        html.Span(outcome.verdict, className=tone),
        html.Br(),
    ]


def _objective(found: WhatIf, subject: Subject) -> Any:
    value = found.expected.objective
    unit = f" {subject.unit}" if subject.unit else ""
    return _tile(
        "Objective",
        plain(value.mean),
        [f"{subject.objective}{unit}", html.Br(), f"95%: {plain(value.lower)} to {plain(value.upper)}"],
        name="now-objective",
    )


def _evidence(found: WhatIf) -> Any:
    inside = not found.outside
    return _tile(
        "From the nearest run",
        f"{found.nearest:.0%}",
        [
            html.Span(
                "inside the evidence" if inside else "outside the evidence", className="" if inside else "caution"
            ),
            html.Br(),
            f"of the tokens; usual is up to {found.usual:.0%}",
        ],
        name="now-evidence",
    )


def _limits(found: WhatIf) -> Any:
    known = {name: each.epochs for name, each in found.domains.items() if each.epochs is not None}
    most = max(known, key=lambda name: known[name] or 0.0, default=None)
    repeats = "no target.tokens, so no epochs" if most is None else f"{known[most]:.2g} epochs of {most}, the most"
    broken = len(found.broken)
    # In a table of runs the unit of cost is its own.
    cost = f"a trial costs {found.trial_flops:.2g} FLOPs" if found.trial_flops >= LEAST_FLOPS else ""
    return _tile(
        "Limits",
        "kept" if not broken else f"{broken} broken",
        [repeats, *([html.Br(), cost] if cost else [])],
        tone="" if not broken else "bad",
        name="now-limits",
    )


def _tile(title: str, value: str, under: Any, bar: Any = None, tone: str = "", name: str = "") -> Any:
    return html.Div(
        [
            html.H3(title),
            html.Div(value, className=f"value {tone}".strip(), **({"id": name} if name else {})),
            *([bar] if bar is not None else []),
            html.Div(under, className="under"),
        ],
        className="tile",
    )


def _bar(value: Estimate, reach: float, tone: str = "") -> Any:
    """An interval on a scale from -reach to reach, whose middle is 0."""

    def at(x: float) -> float:
        return 100 * min(max((x + reach) / (2 * reach), 0.0), 1.0)

    low, high = at(value.lower), at(value.upper)
    return html.Div(
        [
            html.Span(className="zero"),
            html.Span(className="interval", style={"left": f"{low:.1f}%", "width": f"{max(high - low, 0.5):.1f}%"}),
            html.Span(className="mean", style={"left": f"{at(value.mean):.1f}%"}),
        ],
        className=f"bar {tone}".strip(),
        role="img",
        **{"aria-label": f"between {signed(value.lower)} and {signed(value.upper)}"},
    )


def _sentences(found: WhatIf) -> list[Any]:
    parts = []
    for head, sentences, tone in (
        ("Limits", found.broken, "bad"),
        ("Constraints", found.risks, "caution"),
        ("Evidence", found.outside, "caution"),
    ):
        if sentences:
            left = len(sentences) - MOST_SENTENCES
            shown = [*sentences[:MOST_SENTENCES], *([f"and {left} more"] if left > 0 else [])]
            parts.append(html.Ul([html.Li([html.B(f"{head}: "), each]) for each in shown], className=f"remarks {tone}"))
    return parts


def _losses(found: WhatIf, subject: Subject) -> Any:
    """Each metric as it is predicted, beside what is predicted of the mixture that all are compared with."""
    beside = subject.predictor.expect(subject.proportional)[2]
    signs = subject.problem.objective.sign_M
    changes = {
        name: float(value.mean - other)
        for (name, value), other in zip(found.expected.losses.items(), beside, strict=True)
    }
    widest = max((abs(change) for change in changes.values()), default=0.0) or 1.0
    rows = []
    for (name, value), sign in zip(found.expected.losses.items(), signs, strict=True):
        change = changes[name]
        better = sign * change < 0
        part = 50 * abs(change) / widest
        rows.append(
            html.Tr(
                [
                    html.Th(name, scope="row"),
                    html.Td(plain(value.mean), className="number"),
                    html.Td(f"± {(value.upper - value.lower) / 2:.4f}", className="number muted"),
                    html.Td(signed(change), className="number"),
                    html.Td(
                        html.Div(
                            html.Span(
                                className="good" if better else "bad",
                                style={"left": f"{50 - part if change < 0 else 50:.1f}%", "width": f"{part:.1f}%"},
                            ),
                            className="change",
                        ),
                        **{"aria-hidden": "true"},
                    ),
                ]
            )
        )
    head = html.Tr(
        [html.Th(each, scope="col") for each in ("metric", "predicted", "95%", f"from {subject.natural}", "")]
    )
    return html.Div(html.Table([html.Thead(head), html.Tbody(rows)], className="losses"), className="scroll")


def epochs(now: DomainNow) -> tuple[str, bool]:
    """How often a domain is read, and whether that is as often as it may be."""
    if now.epochs is None:
        return NO_EPOCHS, False
    return f"{now.epochs:.2f}", now.max_epochs is not None and now.epochs > now.max_epochs * (1 - 1e-6)


def comparison(what_ifs: WhatIfs, now: Mixture, pins: Mapping[str, Mixture]) -> Any:
    """The mixture as it is now and the pinned ones, side by side."""
    if not pins:
        return html.P("Pin a mixture, then move on: both stand here side by side.", className="muted")
    found = {NOW: what_ifs.of(now), **{name: what_ifs.of(mixture) for name, mixture in pins.items()}}
    subject = what_ifs.subject
    outcomes = [
        _row(f"gain over {subject.natural}", [_estimate(each.expected.gain) for each in found.values()], "strong"),
        _row("now gains over it", ["–", *(_gain_over(what_ifs, now, other) for other in pins.values())]),
        _row("objective", [plain(each.expected.objective.mean) for each in found.values()]),
        _row("from the nearest run", [f"{each.nearest:.0%}" for each in found.values()]),
        _row("limits", ["kept" if not each.broken else f"{len(each.broken)} broken" for each in found.values()]),
        *(_row(name, [plain(each.expected.losses[name].mean) for each in found.values()]) for name in subject.metrics),
    ]
    shares = [
        _row(row.page_label, [_share(each, row) for each in found.values()])
        for row in in_levels(subject.domains, subject.problem.levels)
    ]
    return html.Div(
        [
            _table([_heading(name, with_buttons=name != NOW) for name in found], outcomes),
            _table([_heading(name, with_buttons=False) for name in found], shares),
        ],
        className="columns even",
    )


def _table(headings: Sequence[Any], rows: Sequence[Any]) -> Any:
    head = html.Thead(html.Tr([html.Td(), *headings]))
    return html.Div(html.Table([head, html.Tbody(rows)], className="comparison"), className="scroll")


def _heading(name: str, with_buttons: bool) -> Any:
    buttons = html.Div(
        [
            html.Button("take", id={"take": name}, className="small", title=f"Go on from {name}"),
            html.Button("unpin", id={"unpin": name}, className="small", title=f"Forget {name}"),
        ],
        className="buttons",
    )
    return html.Th([html.Div(name), *([buttons] if with_buttons else [])], scope="col", className="number")


def _row(head: str, cells: Sequence[Any], kind: str = "") -> Any:
    return html.Tr([html.Th(head, scope="row"), *(html.Td(each, className="number") for each in cells)], className=kind)


def _estimate(value: Estimate | None) -> Any:
    if value is None:
        return "–"
    return [signed(value.mean), html.Span(f" ± {(value.upper - value.lower) / 2:.4f}", className="muted")]


def _gain_over(what_ifs: WhatIfs, now: Mixture, other: Mixture) -> Any:
    return "the same mixture" if now.same_as(other) else _estimate(what_ifs.gain_over(now, other))


def sum_in(found: WhatIf, domains: Sequence[str]) -> str:
    """What a level has in a mixture."""
    return percent(math.fsum(found.domains[name].share for name in domains))


def _share(found: WhatIf, row: Row) -> Any:
    if row.is_level:
        return html.Span(sum_in(found, row.domains), className="muted")
    now = found.domains[row.name]
    repeats = "" if now.epochs is None else f" · {now.epochs:.2g} ep."
    return [percent(now.share), html.Span(repeats, className="muted")]


def queue(asked: Sequence[QueuedMixture]) -> Any:
    """What was queued and is not trained, and how it stands."""
    if not asked:
        return html.P("Nothing is queued.", className="muted")
    items = []
    for each in asked:
        largest = sorted(each.mixture.items(), key=lambda item: -item[1])[:3]
        named = ", ".join(f"{name} {share:.1%}" for name, share in largest)
        how = each.state.replace("_", " ") + (f": {each.why}" if each.why else "")
        items.append(html.Li([html.B(each.note or "no note"), html.Span(f" · {named} · {how}", className="muted")]))
    return html.Ul(items, className="queued")


def answered(subject: Subject) -> str:
    """What the study found: whatever one new run is predicted to give, that was measured."""
    if subject.answer is None:
        return ""
    return f"{'The' if subject.answer.ended else 'So far the'} study's answer: {subject.answer.verdict}"


def source(subject: Subject) -> str:
    """What the predictions rest on, in a line."""
    runs, target = subject.predictor.evidence.runs, subject.problem.target
    parts = [f"{subject.predictor.name} on {len(runs)} runs"]
    if len(runs.fidelities) > 1:
        parts.append(f"{int(runs.at_target_N.sum())} of them at {target.proxy}")
    # A table need not say how many parameters and tokens its runs had.
    if target.params > 1 and target.tokens > 1:
        parts.append(f"predicting {show_count(target.params)} parameters and {show_count(target.tokens)} tokens")
    return ", ".join(parts)
