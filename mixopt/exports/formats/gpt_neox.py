"""GPT-NeoX, which draws sequences of one length, as Megatron does.

With weight_by_num_documents it would overrule the weights. It wants paths for validation and test as well, which belong
into another of the files that it is given.
"""

from __future__ import annotations

from mixopt.base import plain_yaml
from mixopt.base.errors import ConfigError
from mixopt.exports.formats.base import Draws, Exportable, Exporter, Weights, in_pairs
from mixopt.exports.formats.yaml_text import yaml_text


class GptNeox(Exporter):
    name = "gpt-neox"
    describes = "GPT-NeoX: a file beside its others; places are path prefixes"
    draws = (Draws.SEQUENCES,)
    suffix = ".yml"

    def render(self, exportable: Exportable) -> str:
        weights = exportable.weighted_places
        content = {
            "train-data-paths": list(weights),
            "train-data-weights": list(weights.values()),
            "weight_by_num_documents": False,
        }
        return yaml_text(content)

    def read(self, text: str) -> Weights:
        # It takes underscores and hyphens alike.
        content = {str(key).replace("_", "-"): value for key, value in plain_yaml.load(text).items()}
        if content.get("weight-by-num-documents"):
            raise ConfigError(
                "with weight_by_num_documents GPT-NeoX overrules the weights in this file",
                hint="set weight_by_num_documents: false in it, where the weights are meant",
            )
        return in_pairs(content["train-data-paths"], content["train-data-weights"])
