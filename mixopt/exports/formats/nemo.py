"""NVIDIA NeMo's blend lists: weight and path prefix in turn, in one list; its trainers draw sequences of one length.

NeMo 1 has it as `model.data.data_prefix`; NeMo 2's data modules and Automodel call it `paths`, and read a list of odd
length, or one whose weights are no text, for paths without weights. Automodel takes the list as Megatron-core does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mixopt.base import plain_yaml
from mixopt.base.errors import ConfigError
from mixopt.exports.formats.base import Draws, Exportable, Exporter, Weights, in_pairs
from mixopt.exports.formats.yaml_text import yaml_text

DATASET = "nemo_automodel.components.datasets.llm.megatron_dataset.MegatronPretraining"


class Nemo(Exporter):
    name = "nemo"
    describes = "NeMo: model.data.data_prefix, weight and path prefix in turn"
    draws = (Draws.SEQUENCES,)
    suffix = ".yaml"

    def render(self, exportable: Exportable) -> str:
        return yaml_text({"model": {"data": {"data_prefix": _in_turn(exportable, as_text=False)}}})

    def read(self, text: str) -> Weights:
        content = plain_yaml.load(text)
        prefixes = content["model"]["data"]["data_prefix"]
        # Where there is one list for each of train, validation and test.
        return _pairs(prefixes["train"] if isinstance(prefixes, Mapping) else prefixes)


class NemoAutomodel(Exporter):
    name = "nemo-automodel"
    describes = "NeMo Automodel: dataset.paths of MegatronPretraining, weight and path prefix in turn"
    draws = (Draws.SEQUENCES,)
    suffix = ".yaml"

    def render(self, exportable: Exportable) -> str:
        return yaml_text({"dataset": {"_target_": DATASET, "paths": _in_turn(exportable, as_text=True)}})

    def read(self, text: str) -> Weights:
        paths = plain_yaml.load(text)["dataset"]["paths"]
        return _pairs(paths["train"] if isinstance(paths, Mapping) else paths)


def _in_turn(exportable: Exportable, as_text: bool) -> list[str | float]:
    return [
        word
        for place, weight in exportable.weighted_places.items()
        for word in (repr(weight) if as_text else weight, place)
    ]


def _pairs(words: Sequence[Any]) -> Weights:
    if isinstance(words, str) or len(words) % 2:
        raise ConfigError(
            "this list has no weight for each of its paths, which NeMo would read by their sizes",
            hint="write weight and path in turn",
        )
    return in_pairs(words[1::2], words[::2])
