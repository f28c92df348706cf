"""A report as one HTML page that needs nothing else: no network, no script."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mixopt.base.plot_style import PAGE_COLOURS
from mixopt.report.content import Content
from mixopt.report.decision import decision_plots, tiles
from mixopt.report.sections import sections

HERE = Path(__file__).parent


def render(content: Content) -> str:
    templates = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template("page.html").render(
        content=content,
        style=Markup("".join(path.read_text(encoding="utf-8") for path in (PAGE_COLOURS, HERE / "style.css"))),
        tiles=tiles(content),
        decision=decision_plots(content),
        sections=sections(content),
    )
