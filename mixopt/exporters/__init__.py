"""Trainers' formats: one class each, listed here."""

from __future__ import annotations

from mixopt.errors import ConfigError
from mixopt.exporters.base import Draws, Exportable, Exporter, mixture_in
from mixopt.exporters.hf_interleave import HfInterleave
from mixopt.exporters.megatron import Megatron, MegatronSplits
from mixopt.exporters.places import Places
from mixopt.exporters.plain import Csv, Json, Yaml

EXPORTERS: dict[str, Exporter] = {
    exporter.name: exporter for exporter in (Yaml(), Json(), Csv(), HfInterleave(), Megatron(), MegatronSplits())
}


def exporter(name: str) -> Exporter:
    """
    Raises:
        ConfigError: there is none of this name.
    """
    if name not in EXPORTERS:
        raise ConfigError(f"no export format {name}", hint=f"choose from {', '.join(EXPORTERS)}")
    return EXPORTERS[name]


__all__ = ["EXPORTERS", "Draws", "Exportable", "Exporter", "Places", "exporter", "mixture_in"]
