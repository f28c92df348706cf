"""Olmix, whose weights are shares of tokens: what `olmix launch` needs of the data, beside its other sections.

A source that is too small for its share, repeated as often as `repetition_factor` allows, stops the run.
Topics within sources are neither written nor read.
"""

from __future__ import annotations

from mixopt.base import plain_yaml
from mixopt.exports.formats.base import Draws, Exportable, Exporter, Weights
from mixopt.exports.formats.yaml_text import yaml_text


class Olmix(Exporter):
    name = "olmix"
    describes = "Olmix: data and mix of a launch configuration; places are .npy files or patterns of them"
    draws = (Draws.TOKENS,)
    suffix = ".yaml"
    by_place = False

    def render(self, exportable: Exportable) -> str:
        weights = exportable.weights
        content = {
            "data": {"sources": [{"name": domain, "paths": exportable.locations.all(domain)} for domain in weights]},
            "mix": {
                domain: {"weight": weight, "repetition_factor": max(1.0, exportable.most_epochs(domain))}
                for domain, weight in weights.items()
            },
        }
        return yaml_text(content)

    def read(self, text: str) -> Weights:
        return [(source, part["weight"]) for source, part in plain_yaml.load(text)["mix"].items()]
