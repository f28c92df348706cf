"""Trainers' formats: one class each, listed here."""

from __future__ import annotations

from pathlib import Path

from mixopt.base.errors import ConfigError
from mixopt.exports.formats.axolotl import Axolotl
from mixopt.exports.formats.base import Carries, Draws, Exportable, Exporter, Grid, amounts_in, mixture_in, weights_in
from mixopt.exports.formats.doremi import Doremi
from mixopt.exports.formats.energon import Energon
from mixopt.exports.formats.gpt_neox import GptNeox
from mixopt.exports.formats.hf_interleave import HfInterleave
from mixopt.exports.formats.levanter import Levanter
from mixopt.exports.formats.litgpt import LitGpt
from mixopt.exports.formats.llama_factory import LlamaFactory
from mixopt.exports.formats.llm_foundry import LlmFoundry
from mixopt.exports.formats.megatron import Megatron, MegatronSplits
from mixopt.exports.formats.megatron_bridge import MegatronBridge
from mixopt.exports.formats.nanotron import Nanotron
from mixopt.exports.formats.nemo import Nemo, NemoAutomodel
from mixopt.exports.formats.olmix import Olmix
from mixopt.exports.formats.olmo_core import OlmoCore
from mixopt.exports.formats.passes import Passes
from mixopt.exports.formats.plain import Csv, Json, Yaml
from mixopt.exports.formats.regmix import Regmix
from mixopt.exports.formats.streaming import Streaming
from mixopt.exports.formats.torchtitan import Torchtitan
from mixopt.exports.formats.trl import Trl
from mixopt.exports.formats.webdataset import WebDataset
from mixopt.exports.locations import Locations

EXPORTERS: dict[str, Exporter] = {
    exporter.name: exporter
    for exporter in (
        Yaml(),
        Json(),
        Csv(),
        Passes(),
        Axolotl(),
        Doremi(),
        Energon(),
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
        Nemo(),
        NemoAutomodel(),
        Olmix(),
        OlmoCore(),
        Regmix(),
        Streaming(),
        Torchtitan(),
        Trl(),
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


def looks_like_another(chosen: Exporter, path: Path) -> bool:
    """Whether a file is called as those of other formats are: what reads it by its name reads it wrongly."""
    suffix = path.suffix.lower().replace(".yml", ".yaml")
    return suffix != chosen.suffix and suffix in {each.suffix for each in EXPORTERS.values()}


__all__ = [
    "EXPORTERS",
    "Carries",
    "Draws",
    "Exportable",
    "Exporter",
    "Grid",
    "Locations",
    "amounts_in",
    "exporter",
    "looks_like_another",
    "mixture_in",
    "weights_in",
]
