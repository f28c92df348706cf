"""The page's pictures, as plotly and browsers take them; colours of text and grids are the page's own
(mixopt/base/colours.css).

Shapes: N runs or mixtures, D domains.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from mixopt.base.plot_style import ON_PAPER
from mixopt.explore.subject import Subject
from mixopt.explore.what_if import Curve, WhatIf, trade
from search.mixture import Mixture
from search.recommendation.effects import Effect

Picture = dict[str, Any]

BLUE, VERMILION, GREEN, PURPLE, AMBER = (
    ON_PAPER.blue,
    ON_PAPER.vermilion,
    ON_PAPER.green,
    ON_PAPER.purple,
    ON_PAPER.amber,
)
MUTED = "#8a929c"  # on light and on dark ground
# From the best runs to the worst, a fifth each.
FIFTHS = ("#08519c", "#4292c6", "#9ecae1", "#c7ccd1", "#dfe2e5")
# More lines than these are no picture.
MOST_LINES = 400
SYMBOLS = ("diamond", "square", "triangle-up", "triangle-down", "cross", "x")
SPARK = (96, 26)  # pixels
SPARK_POINTS = 24
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
CONFIG = {"displaylogo": False, "displayModeBar": False, "responsive": True}
# Where the mixture as it is now stands among a picture's traces.
NOW = "now"


def spark(effect: Effect, share: float, lowest: float, highest: float) -> str:
    """A small curve as an image's address: the objective over a domain's share, on the scales of all other domains.

    Shares are on a scale of square roots, as sliders are; what is above the highest is cut off.
    """
    width, height = SPARK

    def across(at: float) -> float:
        return 3 + (width - 6) * math.sqrt(min(max(at, 0.0), 1.0))

    def up(value: float) -> float:
        return 3 + (height - 6) * (highest - value) / max(highest - lowest, 1e-12)

    # Enough points that the scale's bend is seen.
    shares = np.linspace(math.sqrt(effect.shares[0]), math.sqrt(effect.shares[-1]), SPARK_POINTS) ** 2
    values = np.interp(shares, effect.shares, effect.values)
    points = " ".join(f"{across(at):.1f},{up(value):.1f}" for at, value in zip(shares, values, strict=True))
    here = min(max(share, effect.shares[0]), effect.shares[-1])
    now = float(np.interp(here, effect.shares, effect.values))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<polyline points="{points}" fill="none" stroke="{BLUE}" stroke-width="1.6"/>'
        f'<circle cx="{across(here):.1f}" cy="{max(up(now), 3.0):.1f}" r="3" fill="{VERMILION}"/></svg>'
    )
    return f"data:image/svg+xml,{quote(svg)}"


def scale_of(found: Mapping[str, Effect]) -> tuple[float, float]:
    """The lowest value of all effects, and one that most domains stay below: a single steep one flattens no other."""
    lowest = min(value for effect in found.values() for value in effect.values)
    highest = float(np.quantile([max(effect.values) for effect in found.values()], 0.7))
    return lowest, max(highest, lowest)


def trade_picture(subject: Subject, across: str, up: str, now: WhatIf, pins: Mapping[str, WhatIf]) -> Picture:
    """Two metrics of the runs, of what is possible between them, and of the mixtures that somebody looks at."""
    runs = subject.predictor.evidence.runs
    columns = [runs.metrics.index(name) for name in (across, up)]
    measured_N = runs.at_target_N & np.isfinite(runs.values_NM[:, columns]).all(axis=1)
    right_N, high_N = runs.values_NM[np.ix_(measured_N, columns)].T
    _, front_N2 = trade(subject, across, up)
    front_across_N, front_up_N = front_N2.T
    names = [name for name, here in zip(runs.names, measured_N, strict=True) if here]
    traces = [
        _points("measured runs", right_N, high_N, MUTED, "circle", 5, text=names, opacity=0.55),
        _points("front, predicted", front_across_N, front_up_N, BLUE, "square", 6, mode="lines+markers", opacity=0.9),
    ]
    for number, (label, found) in enumerate(pins.items()):
        symbol = SYMBOLS[number % len(SYMBOLS)]
        traces.append(_predicted(label, found, across, up, (GREEN, PURPLE, AMBER)[number % 3], symbol, 10))
    traces.append(_predicted(NOW, now, across, up, VERMILION, "star", 15))
    layout = _layout(legend=True)
    layout["xaxis"] |= {"title": {"text": _titled(subject, across), "font": {"size": 12}}}
    layout["yaxis"] |= {"title": {"text": _titled(subject, up), "font": {"size": 12}}}
    return {"data": traces, "layout": layout}


def front_mixture(subject: Subject, across: str, up: str, number: int) -> Mixture:
    """A mixture of the front in `trade_picture`."""
    weights_ND, _ = trade(subject, across, up)
    return Mixture.from_array(subject.domains, weights_ND[number])


def _ranked(subject: Subject) -> list[int]:
    """The runs with an objective, at the target where there are some, best first."""
    evidence = subject.predictor.evidence
    known_N = np.isfinite(evidence.objective_N)
    at_target_N = known_N & evidence.runs.at_target_N
    shown = np.flatnonzero(at_target_N if at_target_N.any() else known_N)
    best = shown[np.argsort(evidence.objective_N[shown], kind="stable")]
    return [int(place) for place in best]


def shown_runs(subject: Subject) -> list[int]:
    """The runs that `trials_picture` shows, best first: as many as make a picture."""
    return _ranked(subject)[:MOST_LINES]


def run_at(subject: Subject, trace: int, point: int) -> int | None:
    """The run, by its place in the evidence, of a point of `trials_picture`; None where it is no run's."""
    shown, parts = shown_runs(subject), len(FIFTHS)
    if not 0 <= trace < parts:
        return None
    fifth = parts - 1 - trace
    row = round(len(shown) * fifth / parts) + point // (len(subject.domains) + 1)
    return shown[row] if 0 <= row < round(len(shown) * (fifth + 1) / parts) else None


def trials_picture(subject: Subject, now: Mixture, pins: Mapping[str, Mixture]) -> Picture:
    """Parallel coordinates: a line a run over its shares, each from 0 to the largest that any has."""
    evidence, shown = subject.predictor.evidence, shown_runs(subject)
    weights_ND, objective_N = evidence.runs.weights_ND[shown], evidence.objective_N[shown]
    drawn = [now, *pins.values()]
    most_D = np.maximum(np.vstack([weights_ND, *(each.array for each in drawn)]).max(axis=0), 1e-9)
    places = list(range(len(subject.domains)))
    traces: list[Picture] = []
    of = "" if len(shown) == len(_ranked(subject)) else f" of the best {len(shown)}"
    # The best come last, and so on top.
    for fifth in reversed(range(len(FIFTHS))):
        begin, end = (round(len(shown) * part / len(FIFTHS)) for part in (fifth, fifth + 1))
        x: list[float | None] = []
        y: list[float | None] = []
        text: list[str | None] = []
        for row in range(begin, end):
            x += [*places, None]
            y += [*(weights_ND[row] / most_D).tolist(), None]
            name = f"{evidence.runs.names[shown[row]]}: {objective_N[row]:.4f}"
            text += [
                *(
                    f"{name}<br>{domain} {share:.2%}"
                    for domain, share in zip(subject.domains, weights_ND[row], strict=True)
                ),
                None,
            ]
        label = (f"best fifth{of}", "", "middle", "", f"worst fifth{of}")[fifth]
        traces.append(
            _points(label, x, y, FIFTHS[fifth], "circle", 3, mode="lines", text=text, opacity=0.75 - 0.1 * fifth)
            | {"showlegend": bool(label), "legendrank": fifth, "connectgaps": False}
        )
    for number, (label, mixture) in enumerate(pins.items()):
        heights = (mixture.array / most_D).tolist()
        colour = (GREEN, PURPLE, AMBER)[number % 3]
        traces.append(_points(label, places, heights, colour, "diamond", 6, mode="lines+markers") | {"legendrank": 10})
    heights = (now.array / most_D).tolist()
    line = _points(NOW, places, heights, VERMILION, "circle", 7, mode="lines+markers") | {"legendrank": 9}
    line["line"]["width"] = 3
    traces.append(line)
    layout = _layout(legend=True)
    layout["xaxis"] |= {
        "tickvals": places,
        "ticktext": [f"{_short(name)} · {most:.0%}" for name, most in zip(subject.domains, most_D, strict=True)],
        "tickangle": -50,
        "range": [-0.3, len(places) - 0.7],
        "showgrid": True,
    }
    layout["yaxis"] |= {"showticklabels": False, "range": [-0.03, 1.05], "showgrid": False}
    return {"data": traces, "layout": layout}


def effect_picture(subject: Subject, domain: str, share: float, curve: Curve, shown: Sequence[str]) -> Picture:
    """What a domain's share does to the objective and to some metrics: each less what it is at the share now."""
    percent = 100 * curve.shares_S
    sign = dict(zip(subject.metrics, subject.problem.objective.sign_M, strict=True))
    here = float(np.clip(share, curve.shares_S[0], curve.shares_S[-1]))

    def change(values_S: Any) -> Any:
        return values_S - np.interp(here, curve.shares_S, values_S)

    traces = [
        _points(name, percent, change(curve.values[name]), MUTED, "circle", 4, mode="lines", text=[name] * len(percent))
        | {"showlegend": False, "line": {"width": 1, "color": GREEN if sign[name] < 0 else MUTED}}
        for name in shown
    ]
    objective = _points("objective", percent, change(curve.objective_S), BLUE, "circle", 5, mode="lines")
    objective["line"]["width"] = 3
    traces.append(objective)
    layout = _layout(legend=False)
    layout["xaxis"] |= {"title": {"text": f"share of {_short(domain)} (%)", "font": {"size": 12}}}
    unit = f" ({subject.unit})" if subject.unit else ""
    layout["yaxis"] |= {"title": {"text": f"change of what is predicted{unit}", "font": {"size": 12}}}
    layout["shapes"] = [
        {
            "type": "line",
            "x0": 100 * share,
            "x1": 100 * share,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "line": {"color": VERMILION, "width": 1.5, "dash": "dash"},
        }
    ]
    return {"data": traces, "layout": layout}


def _predicted(label: str, found: WhatIf, across: str, up: str, colour: str, symbol: str, size: int) -> Picture:
    """A mixture's two metrics with their 95% intervals."""
    right, high = found.expected.losses[across], found.expected.losses[up]
    point = _points(label, [right.mean], [high.mean], colour, symbol, size)
    for axis, each in (("error_x", right), ("error_y", high)):
        point[axis] = {
            "type": "data",
            "array": [each.upper - each.mean],
            "color": colour,
            "thickness": 1,
            "width": 3,
        }
    return point


def _points(
    label: str,
    across: Any,
    up: Any,
    colour: str,
    symbol: str,
    size: int,
    mode: str = "markers",
    text: Sequence[str | None] | None = None,
    opacity: float = 1.0,
) -> Picture:
    named = "%{text}<extra></extra>" if text is not None and mode == "lines" else None
    return {
        "type": "scatter",
        "mode": mode,
        "name": label,
        "x": _plain(across),
        "y": _plain(up),
        "marker": {"color": colour, "symbol": symbol, "size": size},
        "line": {"color": colour, "width": 1.4},
        "opacity": opacity,
        **({} if text is None else {"text": list(text)}),
        **({} if named is None else {"hovertemplate": named}),
    }


def _plain(values: Any) -> list[float | None]:
    return [None if value is None else float(value) for value in values]


def _layout(legend: bool) -> Picture:
    axis = {"zeroline": False, "gridcolor": "rgba(128,128,128,.22)", "linecolor": "rgba(128,128,128,.5)"}
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 11, "color": MUTED},
        "margin": {"l": 56, "r": 12, "t": 34 if legend else 12, "b": 44},
        "xaxis": dict(axis) | {"automargin": True},
        "yaxis": dict(axis) | {"automargin": True},
        "showlegend": legend,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"},
        "hoverlabel": {"font": {"family": FONT, "size": 12}},
        "dragmode": False,
        # What somebody has zoomed to stays while shares are moved.
        "uirevision": "kept",
    }


def _titled(subject: Subject, metric: str) -> str:
    better = ", more is better" if metric in subject.problem.objective.maximised else ""
    return f"{_short(metric)}{f' ({subject.unit})' if subject.unit else ''}{better}"


def _short(name: str, longest: int = 22) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
