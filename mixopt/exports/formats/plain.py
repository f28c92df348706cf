"""JSON, YAML and CSV for whatever is not listed: shares of training tokens."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from mixopt.base import plain_yaml
from mixopt.exports.formats.base import Carries, Draws, Exportable, Exporter, Weights
from mixopt.exports.formats.yaml_text import yaml_text
from search.mixture import counts


class Json(Exporter):
    name = "json"
    describes = "JSON: domain -> share of tokens, and where it comes from"
    draws = (Draws.TOKENS,)
    suffix = ".json"
    by_place = False
    receipt = Carries.KEY

    def render(self, exportable: Exportable) -> str:
        return json.dumps(_content(exportable), indent=2) + "\n"

    def read(self, text: str) -> Weights:
        return _weights(json.loads(text))


class Yaml(Exporter):
    name = "yaml"
    describes = "YAML: domain -> share of tokens, and where it comes from"
    draws = (Draws.TOKENS,)
    suffix = ".yaml"
    by_place = False
    receipt = Carries.KEY

    def render(self, exportable: Exportable) -> str:
        return yaml_text(_content(exportable))

    def read(self, text: str) -> Weights:
        return _weights(plain_yaml.load(text))


class Csv(Exporter):
    name = "csv"
    describes = "CSV: domain, share of tokens, and tokens of the run where that is known"
    draws = (Draws.TOKENS,)
    suffix = ".csv"
    by_place = False
    receipt = Carries.BESIDE

    def render(self, exportable: Exportable) -> str:
        mixture, tokens = exportable.mixture, exportable.tokens
        rows = {domain: [domain, repr(weight)] for domain, weight in mixture.as_dict().items()}
        if tokens is not None:
            for domain, count in counts(mixture, tokens).items():
                rows[domain].append(str(count))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["domain", "weight"] + ["tokens"] * (tokens is not None))
        writer.writerows(rows.values())
        return text.getvalue()

    def read(self, text: str) -> Weights:
        return [(row["domain"], float(row["weight"])) for row in csv.DictReader(io.StringIO(text, newline=""))]


def _content(exportable: Exportable) -> dict[str, Any]:
    return {
        "weights_mean": "shares of training tokens",
        "weights": exportable.mixture.as_dict(),
        "provenance": dict(exportable.provenance),
    }


def _weights(content: dict[str, Any]) -> Weights:
    """Of a file of ours, or of one that is nothing but `domain: weight`."""
    return list(content.get("weights", content).items())
