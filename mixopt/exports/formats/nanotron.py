"""Nanotron, which draws sequences of one length from folders that datatrove has tokenized.

It has stages, each with weights of its own; a mixture is one stage.
"""

from __future__ import annotations

from mixopt.base import plain_yaml
from mixopt.base.errors import ConfigError
from mixopt.exports.formats.base import Draws, Exportable, Exporter, Weights, in_pairs
from mixopt.exports.formats.yaml_text import yaml_text


class Nanotron(Exporter):
    name = "nanotron"
    describes = "Nanotron: data_stages; places are folders that datatrove has tokenized"
    draws = (Draws.SEQUENCES,)
    suffix = ".yaml"

    def render(self, exportable: Exportable) -> str:
        weights = exportable.weighted_places
        stage = {
            "name": "mixture",
            "start_training_step": 1,
            "data": {
                "seed": exportable.seed,
                "dataset": {"dataset_folder": list(weights), "dataset_weights": list(weights.values())},
            },
        }
        return yaml_text({"data_stages": [stage]})

    def read(self, text: str) -> Weights:
        stages = plain_yaml.load(text)["data_stages"]
        if len(stages) != 1:
            raise ConfigError(f"it has {len(stages)} data_stages", hint="give a file with one of them")
        dataset = stages[0]["data"]["dataset"]
        return in_pairs(dataset["dataset_folder"], dataset["dataset_weights"])
