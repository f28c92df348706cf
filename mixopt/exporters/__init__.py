"""Trainers' formats: one class each, listed here."""

from __future__ import annotations

from mixopt.errors import ConfigError
from mixopt.exporters.base import Draws, Exportable, Exporter, amounts_in, mixture_in
from mixopt.exporters.doremi import Doremi
from mixopt.exporters.gpt_neox import GptNeox
from mixopt.exporters.hf_interleave import HfInterleave
from mixopt.exporters.levanter import Levanter
from mixopt.exporters.litgpt import LitGpt
from mixopt.exporters.llama_factory import LlamaFactory
from mixopt.exporters.llm_foundry import LlmFoundry
from mixopt.exporters.megatron import Megatron, MegatronSplits
from mixopt.exporters.megatron_bridge import MegatronBridge
from mixopt.exporters.nanotron import Nanotron
from mixopt.exporters.olmix import Olmix
from mixopt.exporters.olmo_core import OlmoCore
from mixopt.exporters.places import Places
from mixopt.exporters.plain import Csv, Json, Yaml
from mixopt.exporters.regmix import Regmix
from mixopt.exporters.streaming import Streaming
from mixopt.exporters.torchtitan import Torchtitan
from mixopt.exporters.webdataset import WebDataset

EXPORTERS: dict[str, Exporter] = {
    exporter.name: exporter
    for exporter in (
        Yaml(),
        Json(),
        Csv(),
        Doremi(),
        GptNeox(),
        HfInterleave(),
        Levanter(),
        LitGpt(),
        LlamaFactory(),
        LlmFoundry(),
        Megatron(),
        MegatronSplits(),
        MegatronBridge(),
        Nanotron(),
        Olmix(),
        OlmoCore(),
        Regmix(),
        Streaming(),
        Torchtitan(),
        WebDataset(),
    )
}


def exporter(name: str) -> Exporter:
    """
    Raises:
        ConfigError: there is none of this name.
    """
    if name not in EXPORTERS:
        raise ConfigError(f"no export format {name}", hint=f"choose from {', '.join(EXPORTERS)}")
    return EXPORTERS[name]


__all__ = ["EXPORTERS", "Draws", "Exportable", "Exporter", "Places", "amounts_in", "exporter", "mixture_in"]
