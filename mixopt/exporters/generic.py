"""Plain JSON and YAML: the token shares, with where they come from."""

from __future__ import annotations

import json
from typing import Any

import yaml

from mixopt.exporters.base import Exportable, Exporter


def _content(exportable: Exportable) -> dict[str, Any]:
    return {
        "weights_mean": "shares of training tokens",
        "weights": exportable.mixture.as_dict(),
        "provenance": dict(exportable.provenance),
    }


class Json(Exporter):
    name = "json"
    weights_mean = "tokens"
    describes = "JSON: domain -> share of tokens, and its provenance"

    def render(self, exportable: Exportable) -> str:
        return json.dumps(_content(exportable), indent=2) + "\n"


class Yaml(Exporter):
    name = "yaml"
    weights_mean = "tokens"
    describes = "YAML: domain -> share of tokens, and its provenance"

    def render(self, exportable: Exportable) -> str:
        text: str = yaml.safe_dump(_content(exportable), sort_keys=False, allow_unicode=True)
        return text
