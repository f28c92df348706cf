"""Megatron-core builds its blend of .bin and .idx files; Megatron-Bridge's overrides are put in by its own code."""

from __future__ import annotations

import importlib.util
import json
import shlex
from dataclasses import dataclass
from importlib.metadata import files
from types import SimpleNamespace
from typing import Any

import numpy as np
from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder
from megatron.core.datasets.utils import get_blend_from_list

from tests.clients.blends import Blend, answer

SEQUENCES, SEQUENCE_LENGTH = 4_000, 32


class DatasetConfig(GPTDatasetConfig):  # type: ignore[misc]  # of a package that mypy does not see
    """Complete only with its blend, as in Megatron-Bridge."""

    def __post_init__(self) -> None:
        pass

    def finalize(self) -> None:
        super().__post_init__()


@dataclass
class Recipe:
    """Of Bridge's ConfigContainer the part that an export sets."""

    dataset: DatasetConfig


def draw(blend: Blend) -> list[int]:
    for place in blend.lengths:
        write(place, blend)
    builder = BlendedMegatronDatasetBuilder(GPTDataset, [SEQUENCES, 0, 0], lambda: True, dataset_config(blend))
    train = builder.build()[0]
    return blend.counted(np.concatenate([train[index]["tokens"].numpy() for index in range(SEQUENCES)]))


def write(place: str, blend: Blend, documents: int = 100) -> None:
    document = blend.document(place)
    builder = IndexedDatasetBuilder(f"{place}.bin", np.uint16)
    for _ in range(documents):
        builder.add_document(document, [len(document)])
    builder.finalize(f"{place}.idx")


def dataset_config(blend: Blend) -> DatasetConfig:
    config = DatasetConfig(
        random_seed=1,
        sequence_length=SEQUENCE_LENGTH,
        tokenizer=SimpleNamespace(vocab_size=2**16, eod=0, unique_identifiers={}),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
    )
    match blend.format:
        case "megatron":
            _, *words = shlex.split(blend.text)
            config.blend, config.split = get_blend_from_list(words), "1,0,0"
        case "megatron-splits":
            splits = json.loads(blend.text)
            config.blend_per_split = [get_blend_from_list(splits[name]) for name in ("train", "valid", "test")]
        case "megatron-bridge":
            config.split = "1,0,0"
            bridge_overrides().process_config_with_overrides(Recipe(config), config_filepath=blend.export)
    config.finalize()
    return config


def bridge_overrides() -> Any:
    """The module alone: importing Bridge as a whole wants GPU libraries."""
    (path,) = (str(file.locate()) for file in files("megatron-bridge") or () if file.name == "omegaconf_utils.py")
    spec = importlib.util.spec_from_file_location("omegaconf_utils", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    answer(draw)
