"""Megatron-Bridge, NeMo's trainer on Megatron-core, which draws sequences of one length.

cfg = process_config_with_overrides(recipe(), config_filepath="mixture.yaml")

A `blend` keeps paths and weights in two lists. Megatron-core normalises the weights, refuses a weight of 0, and refuses
a recipe that has a `blend_per_split` too.
"""

from __future__ import annotations

from mixopt.base import plain_yaml
from mixopt.exports.formats.base import Draws, Exportable, Exporter, Weights, in_pairs
from mixopt.exports.formats.yaml_text import yaml_text


class MegatronBridge(Exporter):
    name = "megatron-bridge"
    describes = "Megatron-Bridge (NeMo): overrides of a recipe, dataset.blend"
    draws = (Draws.SEQUENCES,)
    suffix = ".yaml"

    def render(self, exportable: Exportable) -> str:
        weights = exportable.weighted_places
        return yaml_text({"dataset": {"blend": [list(weights), list(weights.values())]}})

    def read(self, text: str) -> Weights:
        places, weights = plain_yaml.load(text)["dataset"]["blend"]
        return in_pairs(places, weights)
