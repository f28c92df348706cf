"""Levanter, which draws sequences of one length.

It fixes how many sequences of each component a block of so many sequences has, rounded down, and gives what is left to
the largest: with its 2048 a block a share of .0004 gives nothing, and 64 components can cost 3%. The file asks for the
largest block that it takes; a share below 1/65535 still gives nothing, with a warning.

Written after its source in marin-community/marin, where it lives now and `configs` have become `components`.
"""

from __future__ import annotations

import math

from mixopt.base import plain_yaml
from mixopt.base.errors import ConfigError
from mixopt.exports.formats.base import Draws, Exportable, Exporter, Grid, Weights
from mixopt.exports.formats.yaml_text import yaml_text

LARGEST_BLOCK = 2**16 - 1


class Levanter(Exporter):
    name = "levanter"
    describes = "Levanter: the data section; places are files of documents"
    draws = (Draws.SEQUENCES,)
    suffix = ".yaml"
    by_place = False

    def render(self, exportable: Exportable) -> str:
        weights = exportable.weights
        data = {
            "components": {
                domain: {"source": {"type": "url", "train_urls": exportable.locations.all(domain)}}
                for domain in weights
            },
            "train_weights": weights,
            "mixture_block_size": LARGEST_BLOCK,
        }
        return yaml_text({"data": data})

    def read(self, text: str) -> Weights:
        weights: dict[str, float] = plain_yaml.load(text)["data"]["train_weights"]
        if isinstance(weights, list):
            raise ConfigError("train_weights has stages", hint="give a file with the weights of one")
        return list(weights.items())

    def grid(self, exportable: Exportable) -> Grid | None:
        """Sequences of a block, rounded down; what is left over is the largest component's."""
        whole = {domain: math.floor(weight * LARGEST_BLOCK) for domain, weight in exportable.weights.items()}
        whole[max(whole, key=whole.__getitem__)] += LARGEST_BLOCK - sum(whole.values())
        return Grid("steps", whole, whole)
