"""An export drawn from by its trainer's own sampler, beside its receipt."""

from __future__ import annotations

from pathlib import Path

from mixopt.base.errors import ConfigError
from mixopt.exports.asked import asked_by_receipt
from mixopt.exports.formats import Draws, Locations, exporter, weights_in
from mixopt.exports.judging import judge
from mixopt.exports.locations import locations_by_pattern, read_locations
from mixopt.exports.receipt import read_receipt
from mixopt.exports.samplers import Counted, Drawing, Source, draw, require_sampler
from mixopt.results.drawn import SAMPLES, TOLERANCE, Drawn
from mixopt.results.receipt import Receipt


def check(export: Path, data: str | None = None, samples: int = SAMPLES, tolerance: float = TOLERANCE) -> Drawn:
    """
    Args:
        data: where the data are here: a pattern with {domain}, or a file with `domain: place`; by default where the
            export says.

    Raises:
        ConfigError: the export has no receipt, its trainer's package is not here, or its data are not.
    """
    receipt, text = read_receipt(export)
    require_sampler(receipt.format)
    asked = asked_by_receipt(receipt, export)
    sources = _sources(receipt, text, None if data is None else _places(receipt, data))
    drawing = Drawing(sources, samples, receipt.seed or 0, receipt.sequence_length)
    counted = draw(receipt.format, drawing)
    if counted.unit == "documents" and receipt.weights_count is Draws.SEQUENCES:
        counted = Counted("sequences", counted.counts)  # what is packed beforehand
    notes: tuple[str, ...] = ()
    if counted.unit == "documents":
        notes = ("tokens of a document: the mean of its domain, as the receipt says; what is read was not tokenised",)
    return judge(asked, counted, str(export), tolerance, notes)


def _places(receipt: Receipt, data: str) -> Locations:
    weighty = [name for name, each in receipt.domains.items() if each.count != 0 and each.asked > 0]
    if "{domain}" in data:
        return locations_by_pattern(data, weighty)
    if not Path(data).exists():
        raise ConfigError(
            f"data {data}: no such file",
            hint="give a pattern with {domain}, or a file with `domain: place`, a line each",
        )
    return read_locations(Path(data), weighty)


def _sources(receipt: Receipt, text: str, places: Locations | None) -> list[Source]:
    """What the export draws from, with the weights that stand in it, at the places here."""
    format = exporter(receipt.format)
    of_place = {place: name for name, each in receipt.domains.items() for place in each.places}
    sources = []
    for name, weight in weights_in(format, text):
        domain = of_place.get(name, name) if format.by_place else name
        if domain not in receipt.domains:
            raise ConfigError(
                f"{name} is no domain or place of the receipt", hint="somebody changed the file; export it anew"
            )
        theirs = list(receipt.domains[domain].places)
        here = theirs if places is None else places.all(domain)
        if len(here) != len(theirs):
            raise ConfigError(
                f"domain {domain} has {len(theirs)} places in the export, and {len(here)} here",
                hint="--data names as many, in the same order",
            )
        for place, there in zip(here, theirs, strict=True):
            if not format.by_place or there == name:
                sources.append(Source(domain, place, weight))
    return sources
