"""Megatron-Energon's metadatasets, whose `blend` draws samples at random: documents, or sequences packed beforehand.

Its `blend_epochized` has repetitions in place of weights: these are passes over a dataset, and whole ones. They are
not read here, for the file does not say which is meant; `-f passes` reads and writes them as `domain: passes`.
"""

from __future__ import annotations

from mixopt.base import plain_yaml
from mixopt.base.errors import ConfigError
from mixopt.exports.formats.base import Draws, Exportable, Exporter, Weights
from mixopt.exports.formats.yaml_text import yaml_text


class Energon(Exporter):
    name = "energon"
    describes = "Megatron-Energon: a metadataset with a blend; places are its datasets"
    draws = (Draws.DOCUMENTS, Draws.SEQUENCES)
    suffix = ".yaml"
    at_random = True

    def render(self, exportable: Exportable) -> str:
        blend = [{"weight": weight, "path": place} for place, weight in exportable.weighted_places.items()]
        content = {
            "__module__": "megatron.energon",
            "__class__": "MetadatasetV2",
            "splits": {"train": {"blend": blend}},
        }
        return yaml_text(content)

    def read(self, text: str) -> Weights:
        train = plain_yaml.load(text)["splits"]["train"]
        if "blend_epochized" in train:
            raise ConfigError(
                "its blend_epochized counts passes over each dataset, and no samples",
                hint="write these as `domain: passes` in a file of their own, and import it with -f passes",
            )
        return [(each["path"], each.get("weight", 1.0)) for each in train["blend"]]
