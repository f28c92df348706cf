"""Trainers' formats: one class each, listed here."""

from __future__ import annotations

from mixopt.errors import ConfigError
from mixopt.exporters.base import Exportable, Exporter
from mixopt.exporters.generic import Json, Yaml
from mixopt.exporters.hf_interleave import HfInterleave
from mixopt.exporters.megatron import Megatron

EXPORTERS: dict[str, Exporter] = {exporter.name: exporter for exporter in (Yaml(), Json(), HfInterleave(), Megatron())}


def exporter(name: str) -> Exporter:
    if name not in EXPORTERS:
        raise ConfigError(f"no export format {name}", hint=f"choose from {', '.join(EXPORTERS)}")
    return EXPORTERS[name]


__all__ = ["EXPORTERS", "Exportable", "Exporter", "exporter"]
