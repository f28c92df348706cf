"""Domains as one HTML page that needs nothing else: a table, a map, a tree, and typical documents."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mixopt import report
from mixopt.domains.pictures import map_of, tree_of
from mixopt.results.domains import FoundDomains
from mixopt.settings.units import show_count
from proxies.domains.finding import Found

HERE = Path(__file__).parent
STYLE = Path(report.__file__).parent / "style.css"


def page_of(result: FoundDomains, found: Found) -> str:
    """
    Args:
        found: the same domains in their own order, with their clusters.
    """
    templates = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    number = {name: place for place, name in enumerate(result.domains, 1)}
    names = [domain.about.name for domain in found.domains]
    clusters = found.clusters
    return templates.get_template("page.html").render(
        result=result,
        numbered=[(number[name], name, domain) for name, domain in result.domains.items()],
        count=show_count,
        style=Markup(STYLE.read_text(encoding="utf-8")),
        map=Markup(map_of(clusters.centres_FE, clusters.sizes_F, clusters.domain_F, [number[name] for name in names])),
        tree=Markup(tree_of(clusters.tree_M4, clusters.domain_F, [f"{number[name]} {name}" for name in names])),
    )
