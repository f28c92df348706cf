"""Weights that are epochs: how often each domain is read, for trainers and recipes that count so.

web: 0.31
code: 2.5

Shares follow from these and from what there is of each domain. Where the run's tokens are known these are its epochs;
else the domain that is read most often is read once.
"""

from __future__ import annotations

from mixopt.base import plain_yaml
from mixopt.exports.formats.base import Draws, Exportable, Exporter, Weights
from mixopt.exports.formats.yaml_text import yaml_text


class Passes(Exporter):
    name = "passes"
    describes = "YAML: domain -> how often it is read, for trainers whose weights are epochs"
    draws = (Draws.PASSES,)
    suffix = ".yaml"
    by_place = False

    def render(self, exportable: Exportable) -> str:
        return yaml_text(exportable.passes)

    def read(self, text: str) -> Weights:
        passes: dict[str, float] = plain_yaml.load(text)
        return list(passes.items())
