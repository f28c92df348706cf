"""What happens when something on the page is touched; each answer is computed here, in Python.

slider, field, "begin from", a click on a picture ──▶ the mixture ──▶ what is expected of it   (at once)
                                                          │
                                                          └──▶ pictures, effects, side by side  (once it rests)
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np
from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, no_update

from mixopt.base.shown import shown_name
from mixopt.explore import pictures, views
from mixopt.explore.exporting import exported
from mixopt.explore.layout import WITHIN, pins_of, position, share_at, share_of, shown, state_of
from mixopt.explore.what_if import WhatIfs
from mixopt.exports.formats import exporter
from mixopt.results.queue import QueuedMixture
from mixopt.study.queue import became_of, broken_by, enqueue, is_same, queued
from mixopt.study.record import read_record
from proxies.errors import ProxyError
from search.errors import ExplainedError
from search.mixture import FloatArray, Mixture

log = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])

MOST_PINS = 8


def answers(app: Dash, *parts: Any, **options: Any) -> Callable[[Function], Function]:
    """The function answers these inputs: Dash's own decorator, which hides the types of what it decorates."""
    return cast("Callable[[Function], Function]", app.callback(*parts, **options))


def register(app: Dash, what_ifs: WhatIfs, reach: float) -> None:
    """Connect the elements of the page.

    Args:
        reach: the gain at the ends of the scale on which gains are drawn.
    """
    subject = what_ifs.subject
    domains = subject.domains
    count = len(domains)
    _register_moves(app, what_ifs, reach)
    app.clientside_callback(ClientsideFunction("mixopt", "show"), Input("shown", "data"))

    def now(state: Mapping[str, Any]) -> Mixture:
        return Mixture.from_array(domains, _array(state["weights"], count))

    def pinned(pins: Mapping[str, Any] | None) -> dict[str, Mixture]:
        return {
            str(name): Mixture.from_array(domains, _array(weights, count)) for name, weights in (pins or {}).items()
        }

    @answers(
        app,
        Output({"spark": ALL}, "src"),
        Input("settled", "data"),
        State("mixture", "data"),
        prevent_initial_call=False,
    )
    def sparks(_settled: int, state: Mapping[str, Any]) -> list[str]:
        mixture = now(state)
        found = what_ifs.effects(mixture)
        scale = pictures.scale_of(found)
        return [pictures.spark(found[name], mixture[name], *scale) for name in domains]

    if len(subject.metrics) > 1:

        @answers(
            app,
            Output("trade", "figure"),
            Input("settled", "data"),
            Input(pins_of(subject), "data"),
            Input("across", "value"),
            Input("up", "value"),
            State("mixture", "data"),
        )
        def trade(_settled: int, pins: Mapping[str, Any] | None, across: str, up: str, state: Mapping[str, Any]) -> Any:
            kept = {name: what_ifs.of(mixture) for name, mixture in pinned(pins).items()}
            return pictures.trade_picture(subject, across, up, what_ifs.of(now(state)), kept)

    @answers(
        app,
        Output("trials", "figure"),
        Input("settled", "data"),
        Input(pins_of(subject), "data"),
        State("mixture", "data"),
    )
    def trials(_settled: int, pins: Mapping[str, Any] | None, state: Mapping[str, Any]) -> Any:
        return pictures.trials_picture(subject, now(state), pinned(pins))

    @answers(
        app, Output("effect", "figure"), Input("settled", "data"), Input("domain", "value"), State("mixture", "data")
    )
    def effect(_settled: int, domain: str, state: Mapping[str, Any]) -> Any:
        mixture = now(state)
        curve = what_ifs.curve(mixture, domain)
        share = math.fsum(mixture[name] for name in subject.problem.levels.get(domain, (domain,)))
        return pictures.effect_picture(subject, domain, share, curve, subject.metrics)

    @answers(
        app,
        Output("comparison", "children"),
        Input("settled", "data"),
        Input(pins_of(subject), "data"),
        State("mixture", "data"),
    )
    def compare(_settled: int, pins: Mapping[str, Any] | None, state: Mapping[str, Any]) -> Any:
        return views.comparison(what_ifs, now(state), pinned(pins))

    @answers(
        app,
        Output(pins_of(subject), "data"),
        Output("said", "children", allow_duplicate=True),
        Input("pin", "n_clicks"),
        Input({"unpin": ALL}, "n_clicks"),
        State(pins_of(subject), "data"),
        State("mixture", "data"),
        prevent_initial_call=True,
    )
    def pin(_pin: int | None, _unpin: list[int | None], pins: dict[str, Any] | None, state: Any) -> Any:
        kept = {name: list(mixture.weights) for name, mixture in pinned(pins).items()}
        touched = ctx.triggered_id
        if not ctx.triggered[0]["value"] or touched is None:
            return no_update, no_update
        if isinstance(touched, dict):
            kept.pop(touched["unpin"], None)
            return kept, f"{touched['unpin']} is no longer pinned"
        mixture = now(state)
        if same := next((name for name, other in pinned(pins).items() if other.same_as(mixture)), None):
            return no_update, f"this mixture is pinned already, as {same}"
        if len(kept) >= MOST_PINS:
            return no_update, f"{MOST_PINS} mixtures are pinned, the most: unpin one first"
        name = _name_of(mixture, subject.mixtures, kept)
        return kept | {name: list(mixture.weights)}, f"pinned as {name}"

    def text_of(
        state: Mapping[str, Any], format: str, location: str | None, tokens: str | None
    ) -> tuple[str, list[str]]:
        return exported(subject, now(state), format, location or None, tokens or None)

    @answers(
        app,
        Output("exported", "children"),
        Output("said", "children", allow_duplicate=True),
        Input("show", "n_clicks"),
        State("mixture", "data"),
        State("format", "value"),
        State("location", "value"),
        State("tokens", "value"),
        prevent_initial_call=True,
    )
    def show(_clicks: int, state: Any, format: str, location: str | None, tokens: str | None) -> Any:
        try:
            text, notes = text_of(state, format, location, tokens)
        except ExplainedError as error:
            return "", _mistake(error)
        return text, "; ".join(notes) or f"shown as {format}"

    @answers(
        app,
        Output("download", "data"),
        Output("said", "children", allow_duplicate=True),
        Input("save", "n_clicks"),
        State("mixture", "data"),
        State("format", "value"),
        State("location", "value"),
        State("tokens", "value"),
        prevent_initial_call=True,
    )
    def save(_clicks: int, state: Any, format: str, location: str | None, tokens: str | None) -> Any:
        try:
            text, notes = text_of(state, format, location, tokens)
        except ExplainedError as error:
            return no_update, _mistake(error)
        name = f"mixture-{format}{exporter(format).suffix}"
        return dcc.send_string(text, name), "; ".join(notes) or f"saved as {name}"

    if subject.study is not None:
        file, folder = subject.study, subject.study.work_directory

        def queue() -> tuple[QueuedMixture, ...]:
            """What was queued, by what is recorded now."""
            history = read_record(file, apart_from="inventory").history
            problem = subject.problem
            return became_of(queued(folder), history, problem.target.proxy, broken_by(problem))

        @answers(
            app,
            Output("queued", "children"),
            Output("said", "children", allow_duplicate=True),
            Input("enqueue", "n_clicks"),
            State("mixture", "data"),
            State("note", "value"),
            prevent_initial_call="initial_duplicate",
        )
        def ask(clicks: int | None, state: Any, note: str | None) -> Any:
            said: Any = no_update
            try:
                if clicks:
                    mixture = now(state)
                    if broken := what_ifs.of(mixture).broken:
                        said = f"not queued, for it breaks the limits: {broken[0]}"
                    else:
                        new = enqueue(folder, mixture, (note or "").strip())
                        [asked] = [each for each in queue() if is_same(Mixture.of(each.mixture), mixture)]
                        said = _said_of(asked, subject.name, new)
                return views.queue([each for each in queue() if each.state != "trained"]), said
            except (ExplainedError, ProxyError, OSError) as error:
                return no_update, f"not queued: {error}"


def _register_moves(app: Dash, what_ifs: WhatIfs, reach: float) -> None:
    """Whatever changes the mixture, and at once what is expected of it."""
    subject = what_ifs.subject
    domains = subject.domains
    count = len(domains)

    def outputs(**options: Any) -> tuple[Output, ...]:
        return (
            # All that is shown at once is one value, which the page's own script writes into the page.
            Output("shown", "data", **options),
            Output("mixture", "data", **options),
            Output("begin", "value", **options),
            Output("said", "children", allow_duplicate=True),
        )

    @answers(
        app,
        *outputs(),
        # Nothing else that is touched: Dash asks again where a table with buttons is drawn anew, and drops the answer
        # that is under way.
        Input("touched", "data"),
        State("begin", "value"),
        State("within", "value"),
        State({"held": ALL}, "value"),
        State("mixture", "data"),
        prevent_initial_call=True,
    )
    def move(
        by_hand: Mapping[str, Any],
        begin: str | None,
        within: list[str] | None,
        held: list[list[str]],
        state: Mapping[str, Any],
    ) -> Any:
        """A slider (share) or a field (percent) was moved.

        Args:
            by_hand: its number and its value, as assets/explore.js tells them.
        """
        before = Mixture.from_array(domains, _array(state["weights"], count))
        limited = WITHIN in (within or [])
        given = by_hand["value"]
        match by_hand:
            case {"share": int(moved)}:
                share: float | None = share_at(float(given))
            case {"percent": int(moved)}:
                share = share_of(given)
            case _:
                raise ValueError("what was touched is neither a slider nor a field")
        kept = [name for name, each in zip(domains, held, strict=True) if each and name != domains[moved]]
        start = before
        if (state.get("moved"), state.get("held")) == (moved, kept):
            start = Mixture.from_array(domains, _array(state["start"], count))
        if share is None:
            # The mixture stays as it is, and the field says so again.
            mixture, said = before, f"{shown_name(given)} is no share: give a number from 0 to 100"
        else:
            mixture = what_ifs.moved(start, domains[moved], share, kept, limited)
            said = _said_of_move(domains[moved], share, mixture, limited, kept)
        return (
            shown(what_ifs.of(mixture), subject, reach),
            state_of(mixture, moved, start, kept),
            # Once it was moved, it can be begun from again.
            no_update if begin is None else None,
            said,
        )

    @answers(
        app,
        *outputs(allow_duplicate=True),
        Input("begin", "value"),
        Input("within", "value"),
        Input({"take": ALL}, "n_clicks"),
        Input("trade", "clickData", allow_optional=True),
        Input("trials", "clickData"),
        State("mixture", "data"),
        State(pins_of(subject), "data"),
        State("across", "value", allow_optional=True),
        State("up", "value", allow_optional=True),
        prevent_initial_call=True,
    )
    def take_up(
        begin: str | None,
        within: list[str] | None,
        _take: list[int | None],
        on_front: Any,
        on_runs: Any,
        state: Mapping[str, Any],
        pins: Mapping[str, Any] | None,
        across: str | None,
        up: str | None,
    ) -> Any:
        """A mixture that was there already was chosen, or the nearest within the limits."""
        touched = ctx.triggered_id
        match touched:
            case {"take": str(name)} if ctx.triggered[0]["value"] and name in (pins or {}):
                mixture = Mixture.from_array(domains, _array((pins or {})[name], count))
            case "begin" if begin is not None and begin in subject.mixtures:
                mixture = subject.mixtures[begin]
            case "trade" if on_front and across and up and _on_front(on_front):
                mixture = pictures.front_mixture(subject, across, up, on_front["points"][0]["pointNumber"])
            case "trials" if on_runs and (run := _run(on_runs, subject)) is not None:
                mixture = subject.predictor.evidence.runs.mixture(run).reordered(domains)
            case "within" if WITHIN in (within or []):
                mixture = what_ifs.inside(Mixture.from_array(domains, _array(state["weights"], count)))
            case _:
                return no_update, no_update, no_update, no_update
        begun = no_update if touched == "begin" or begin is None else None
        return shown(what_ifs.of(mixture), subject, reach), state_of(mixture), begun, ""


def _said_of_move(domain: str, asked: float, mixture: Mixture, limited: bool, kept: Sequence[str]) -> str:
    """What kept a share from where somebody wanted it; nothing where it is there, as finely as a slider stands."""
    if position(mixture[domain]) == position(asked):
        return ""
    if len(kept) == len(mixture.domains) - 1:
        return f"{domain} stays at {100 * mixture[domain]:.4g}%: all other domains are held"
    why = [*(["the limits"] if limited else []), *(["what is held"] if kept else [])]
    most = "more" if mixture[domain] < asked else "less"
    return (
        f"{domain} is {100 * mixture[domain]:.4g}%, not {100 * asked:.4g}%: {' and '.join(why)} let it have no {most}"
    )


def _array(weights: Any, count: int) -> FloatArray:
    """Weights as the browser has them.

    Raises:
        ValueError: they are not of these domains.
    """
    array = np.array(weights, dtype=np.float64)
    if array.shape != (count,) or not np.isfinite(array).all() or (array < 0).any():
        raise ValueError("these are no weights of this study's domains")
    return array


def _on_front(clicked: Any) -> bool:
    """Whether a click on the trade was on the front, its second trace."""
    return bool(clicked["points"][0].get("curveNumber") == 1)


def _run(clicked: Any, subject: Any) -> int | None:
    """The run whose line was clicked, as its place among all; None where it was no run's."""
    point = clicked["points"][0]
    return pictures.run_at(subject, point.get("curveNumber", -1), point.get("pointNumber", -1))


def _name_of(mixture: Mixture, known: Mapping[str, Mixture], pins: Mapping[str, Any]) -> str:
    """What a pin is called: as a known mixture, or by the next letter."""
    for name, other in known.items():
        if name not in pins and other.same_as(mixture):
            return name
    letters = (chr(ord("A") + number) for number in range(26))
    return next(letter for letter in letters if letter not in pins)


def _said_of(asked: QueuedMixture, study: str, is_new: bool) -> str:
    """What somebody who queues a mixture is told of it."""
    match asked.state:
        case "waiting" if is_new:
            return f"queued: study {study} trains it next where it runs; else: mixopt run"
        case "waiting":
            return "this mixture is queued already"
        case "left_out":
            return f"queued, and not trained: {asked.why}"
        case "failed":
            return f"trial {asked.trial} of this mixture failed: {asked.why}; mixopt run --retry-failed trains it again"
        case _:
            return f"this mixture is trial {asked.trial} already, {asked.state}"


def _mistake(error: ExplainedError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message
