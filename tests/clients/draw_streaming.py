"""MosaicML Streaming reads MDS files through the streams of an export."""

from __future__ import annotations

import ast
import json
import sys
from importlib.metadata import files
from types import ModuleType
from typing import Any

import numpy as np
import yaml

# Only pictures need torchvision, which is not to be had for every build of torch.
sys.modules["streaming.vision"] = ModuleType("streaming.vision")

from streaming import MDSWriter, Stream, StreamingDataset  # noqa: E402
from streaming.base.util import clean_stale_shared_memory  # noqa: E402

from tests.clients.blends import Blend, answer  # noqa: E402

SAMPLES = 100_000


def draw(blend: Blend) -> list[int]:
    for place in blend.lengths:
        with MDSWriter(out=place, columns={"tokens": "ndarray:uint16"}) as writer:
            for _ in range(100):
                writer.write({"tokens": blend.document(place)})
    clean_stale_shared_memory()
    dataset = StreamingDataset(streams=streams(blend), epoch_size=SAMPLES, shuffle=True, batch_size=1)
    # The first sample sets the order of the epoch; reading on is slow, for threads wait for each other.
    next(iter(dataset))
    samples, times = np.unique(dataset._iterator.sample_ids, return_counts=True)
    dataset._iterator.exit()
    tokens: list[int] = (times @ np.array([blend.counted(dataset[sample]["tokens"]) for sample in samples])).tolist()
    return tokens


def streams(blend: Blend) -> list[Stream]:
    if blend.format == "streaming":
        return [Stream(**stream) for stream in json.loads(blend.text)]
    dataset = yaml.safe_load(blend.text)["train_loader"]["dataset"]
    built: list[Stream] = build_streams()(dataset["streams"])
    return built


def build_streams() -> Any:
    """LLM Foundry's function alone: the package wants torch below 2.7.1."""
    (source,) = (file for file in files("llm-foundry") or () if str(file) == "llmfoundry/data/text_data.py")
    module = ast.parse(source.read_text())
    module.body = [each for each in module.body if isinstance(each, ast.FunctionDef) and each.name == "build_streams"]
    names: dict[str, Any] = {"Stream": Stream, "Optional": Any, "Any": Any}
    exec(compile(module, str(source), "exec"), names)
    return names["build_streams"]


if __name__ == "__main__":
    answer(draw)
