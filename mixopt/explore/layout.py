"""The page: where everything stands, before anybody has touched it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from dash import dcc, html

from mixopt.explore import views
from mixopt.explore.pictures import CONFIG, SPARK
from mixopt.explore.subject import ANSWER, Subject, trained_range
from mixopt.explore.what_if import WhatIf, WhatIfs
from mixopt.exports.formats import EXPORTERS
from mixopt.settings.levels import Row, in_levels, sum_over
from mixopt.study.queue import LONGEST_NOTE
from search.mixture import Mixture

# A slider's scale is that of square roots: most domains have a small share, which has to be set finely.
STEPS = 1000
WITHIN = "within"
# Of pictures, which know no other height.
HIGH, TALL = "21rem", "25rem"


def position(share: float) -> int:
    """Where a share stands on its slider."""
    return round(STEPS * math.sqrt(min(max(share, 0.0), 1.0)))


def share_at(place: float) -> float:
    """The share at a place of a slider."""
    return (min(max(place, 0.0), STEPS) / STEPS) ** 2


def shown_percent(share: float) -> float:
    """As the field beside a slider shows it."""
    return round(100 * share, 3)


def share_of(typed: Any) -> float | None:
    """The share that somebody typed in percent; None where it is none, for it is no number from 0 to 100."""
    try:
        percent = float(str(typed).strip().removesuffix("%").replace(",", "."))
    except ValueError:
        return None
    return percent / 100 if 0 <= percent <= 100 else None


def shown(found: WhatIf, subject: Subject, reach: float) -> dict[str, Any]:
    """What the page shows of a mixture at once, as assets/explore.js writes it into the elements of these names.

    Args:
        reach: the gain at the ends of the scale on which gains are drawn.
    """
    weights = found.mixture.weights
    return {
        "share": [position(share) for share in weights],
        "percent": [shown_percent(share) for share in weights],
        "epochs": [views.epochs(found.domains[name]) for name in subject.domains],
        "level": [views.sum_in(found, domains) for domains in subject.problem.levels.values()],
        "summary": views.summary(found, subject, reach),
        "details": views.details(found, subject),
    }


def state_of(
    mixture: Mixture, moved: int | None = None, start: Mixture | None = None, held: Sequence[str] = ()
) -> dict[str, Any]:
    """What the page remembers of the mixture.

    Args:
        moved: the domain that was moved last,
        start: and the mixture that it was moved from: while it goes to and fro, the others give way from there,
        held: as long as these are held, and no others.
    """
    start = start or mixture
    return {"weights": list(mixture.weights), "moved": moved, "start": list(start.weights), "held": [*held]}


def pins_of(subject: Subject) -> str:
    """Under what a browser keeps the pins, which are of one subject, whatever else is served at its address."""
    folder = "" if subject.study is None else str(subject.study.work_directory)
    told = json.dumps([subject.name, folder, subject.domains])
    return f"pins-{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def page(what_ifs: WhatIfs, reach: float) -> Any:
    """
    Args:
        reach: the gain at the ends of the scale on which gains are drawn.
    """
    subject = what_ifs.subject
    start = subject.mixtures[ANSWER]
    trusted = subject.predictor.validation.trustworthy
    return html.Div(
        [
            dcc.Store(id="mixture", data=state_of(start)),
            dcc.Store(id="shown", data=shown(what_ifs.of(start), subject, reach)),
            dcc.Store(id="touched"),
            dcc.Store(id="settled", data=0),
            dcc.Store(id=pins_of(subject), data={}, storage_type="session"),
            dcc.Download(id="download"),
            html.Header(
                [
                    html.H1([html.Span("mixopt explore", className="muted"), " ", subject.name]),
                    html.P(views.source(subject), className="muted"),
                    *([html.P(views.answered(subject), id="verdict")] if subject.answer else []),
                    *(
                        []
                        if trusted
                        else [
                            html.P(
                                "Predictions are not trusted: cross-validation does not show that they rank mixtures "
                                "better than chance.",
                                className="banner",
                                role="alert",
                            )
                        ]
                    ),
                ]
            ),
            html.Main(
                [
                    html.Section(id="summary", className="tiles", **{"aria-label": "what is expected"}),
                    html.Div(
                        [
                            _mixture(subject),
                            html.Section([html.H2("Losses"), html.Div(id="details")]),
                        ],
                        className="columns",
                    ),
                    html.Section(
                        [html.H2("Side by side"), html.Div(views.comparison(what_ifs, start, {}), id="comparison")]
                    ),
                    html.Div([*_trade(subject), _effect(subject)], className="columns even"),
                    _runs(),
                    html.Div([_export(), _queue(subject.study is not None)], className="columns even"),
                    _notes(subject.notes),
                ]
            ),
            html.Div(id="said", role="status", **{"aria-live": "polite"}),
        ],
        id="page",
    )


def _mixture(subject: Subject) -> Any:
    ranges = trained_range(subject)
    numbers = {name: number for number, name in enumerate(subject.domains)}
    rows = [
        _level(row, list(subject.problem.levels).index(row.name))
        if row.is_level
        else _row(numbers[row.name], row, subject.proportional[row.name], ranges[numbers[row.name]])
        for row in in_levels(subject.domains, subject.problem.levels)
    ]
    return html.Section(
        [
            html.H2("Mixture"),
            html.Div(
                [
                    html.Label("Begin from", htmlFor="begin"),
                    dcc.Dropdown(
                        list(subject.mixtures),
                        None,
                        id="begin",
                        placeholder="choose",
                        clearable=False,
                        searchable=False,
                    ),
                    html.Button("Pin", id="pin", title="Keep this mixture to compare others with it"),
                    dcc.Checklist(
                        [{"label": "within the limits", "value": WITHIN}], [WITHIN], id="within", className="check"
                    ),
                ],
                className="bar-of-tools",
            ),
            html.Div(
                [
                    html.Div(
                        [
                            html.Span("hold", title="A domain that is held keeps its share"),
                            html.Span("domain"),
                            html.Span("share (√ scale)", className="of-slider"),
                            html.Span("%", className="number"),
                            html.Span("epochs", className="number"),
                            html.Span("effect", className="of-effect"),
                        ],
                        className="row head",
                        **{"aria-hidden": "true"},
                    ),
                    *rows,
                ],
                className="rows" if subject.space.target_tokens else "rows no-epochs",
            ),
            html.P(
                f"Band: shares that were trained. Tick: {subject.natural}. What one domain takes, the others give "
                "alike, as far as the limits let them. Effect: the objective over the shares that were trained, the "
                "others in proportion; lower is better.",
                className="muted legend",
            ),
        ],
        id="shares",
    )


def _level(row: Row, number: int) -> Any:
    """The heading of a level's domains, with the sum of their shares."""
    return html.Div(
        [
            html.Span(),
            html.Span(row.page_label, title=row.name, className="name"),
            html.Span(className="of-slider"),
            html.Span(id={"level": number}, className="sum"),
        ],
        className="row level",
    )


def _row(number: int, row: Row, natural: float, trained: tuple[float, float]) -> Any:
    name = row.name
    least, most = (position(each) / STEPS * 100 for each in trained)
    return html.Div(
        [
            dcc.Checklist(
                [{"label": html.Span(f"hold {name}", className="unseen"), "value": "held"}],
                [],
                id={"held": number},
                className="check",
            ),
            html.Label(row.page_label, htmlFor=_slider_id(number), title=name, className="name"),
            html.Div(
                [
                    html.Span(
                        className="band", style={"left": f"{least:.1f}%", "width": f"{max(most - least, 0.6):.1f}%"}
                    ),
                    html.Span(className="tick", style={"left": f"{position(natural) / STEPS * 100:.1f}%"}),
                    _input("slider", {"id": _slider_id(number), "type": "range", "min": 0, "max": STEPS}),
                ],
                className="track of-slider",
            ),
            _input(
                "percent",
                {
                    "id": f'{{"percent":{number}}}',
                    "type": "text",
                    "inputmode": "decimal",
                    "autocomplete": "off",
                    "aria-label": f"{name} in percent",
                },
            ),
            html.Span(id={"epochs": number}, className="number"),
            html.Img(
                id={"spark": number}, width=SPARK[0], height=SPARK[1], alt=f"effect of {name}", className="of-effect"
            ),
        ],
        className="row",
    )


def _input(kind: str, attributes: Mapping[str, Any]) -> Any:
    """The place of an element <input> with these attributes, which assets/explore.js puts there.

    Dash's own would keep a value besides the one that stands in the page.
    """
    return html.Span(className=kind, **{"data-input": json.dumps(attributes)})


def _slider_id(number: int) -> str:
    return f'{{"share":{number}}}'


def _trade(subject: Subject) -> list[Any]:
    """Two metrics against each other; nothing where there is but one."""
    metrics = list(subject.metrics)
    if len(metrics) == 1:
        return []
    return [
        html.Section(
            [
                html.H2("Trade of two metrics"),
                html.Div(
                    [
                        html.Label("across", htmlFor="across"),
                        dcc.Dropdown(metrics, metrics[0], id="across", clearable=False, searchable=False),
                        html.Label("up", htmlFor="up"),
                        dcc.Dropdown(metrics, metrics[1], id="up", clearable=False, searchable=False),
                    ],
                    className="bar-of-tools",
                ),
                dcc.Graph(id="trade", config=CONFIG, className="picture", style={"height": HIGH}, figure={}),
                html.P(
                    "Star: now, with its 95% intervals. A click on the front takes that mixture.", className="muted"
                ),
            ]
        )
    ]


def _effect(subject: Subject) -> Any:
    return html.Section(
        [
            html.H2("Effect of a domain"),
            html.Div(
                [
                    html.Label("domain", htmlFor="domain"),
                    dcc.Dropdown(
                        [
                            *subject.domains,
                            *({"label": sum_over(name), "value": name} for name in subject.problem.levels),
                        ],
                        subject.domains[0],
                        id="domain",
                        clearable=False,
                    ),
                ],
                className="bar-of-tools",
            ),
            dcc.Graph(id="effect", config=CONFIG, className="picture", style={"height": HIGH}, figure={}),
            html.P(
                "Thick: the objective; thin: each metric; all less what they are now, the other domains in proportion.",
                className="muted",
            ),
        ]
    )


def _runs() -> Any:
    return html.Section(
        [
            html.H2("Runs"),
            dcc.Graph(id="trials", config=CONFIG, className="picture", style={"height": TALL}, figure={}),
            html.P(
                "A line a run, over its shares: each axis from 0 to the largest share, which stands beside its name. "
                "A click takes that run's mixture.",
                className="muted",
            ),
        ]
    )


def _export() -> Any:
    return html.Section(
        [
            html.H2("Export"),
            html.Div(
                [
                    html.Label("format", htmlFor="format"),
                    dcc.Dropdown(list(EXPORTERS), "yaml", id="format", clearable=False),
                    html.Label("places", htmlFor="location"),
                    dcc.Input(id="location", type="text", placeholder="/data/{domain}", className="text"),
                    html.Label("tokens", htmlFor="tokens"),
                    dcc.Input(id="tokens", type="text", placeholder="100B", className="text short"),
                ],
                className="bar-of-tools",
            ),
            html.Div(
                [html.Button("Show", id="show"), html.Button("Download", id="save")],
                className="bar-of-tools",
            ),
            html.Pre("", id="exported", tabIndex="0", **{"aria-label": "the exported text"}),
        ]
    )


def _queue(is_study: bool) -> Any:
    if not is_study:
        return html.Section(
            [
                html.H2("Queue for a trial"),
                html.P("A table of runs has no study that could train a mixture.", className="muted"),
            ]
        )
    return html.Section(
        [
            html.H2("Queue for a trial"),
            html.Div(
                [
                    html.Label("why", htmlFor="note"),
                    dcc.Input(
                        id="note",
                        type="text",
                        maxLength=LONGEST_NOTE,
                        placeholder="less web, as asked",
                        className="text",
                    ),
                    html.Button("Queue", id="enqueue"),
                ],
                className="bar-of-tools",
            ),
            html.Div(id="queued"),
        ]
    )


def _notes(notes: tuple[str, ...]) -> Any:
    return html.Section(
        [html.Details([html.Summary(f"Notes ({len(notes)})"), html.Ul([html.Li(note) for note in notes])])],
        hidden=not notes,
    )
