"""Axolotl, which takes a part of each dataset: `weight` is above 0 and 1 at most, and nothing is drawn by it.

A dataset of weight 0.3 is shuffled once and cut to the first 30% of its documents; then all are put together, and
read `num_epochs` times. So a weight is how often a domain is read, and not its share: the shares follow from the
sizes too. More than one pass is to be had through num_epochs alone, which reads the same part of each domain again.

Streaming leaves the weights out. `type` says how a document becomes tokens: `completion` is plain text, and whoever
tunes on chats or instructions replaces it.
"""

from __future__ import annotations

import math

from mixopt.base import plain_yaml
from mixopt.base.errors import ConfigError
from mixopt.base.shown import shown_name
from mixopt.exports.formats.base import Draws, Exportable, Exporter, Grid, Weights
from mixopt.exports.formats.yaml_text import yaml_text


class Axolotl(Exporter):
    name = "axolotl"
    describes = "Axolotl: datasets with the part of each that is read; places are paths or names of datasets"
    draws = (Draws.PASSES,)
    suffix = ".yaml"
    same_part = True

    def render(self, exportable: Exportable) -> str:
        epochs, parts = _epochs(exportable), _parts(exportable)
        datasets = [
            {"path": place, "type": "completion", "weight": part}
            for domain, part in parts.items()
            for place in exportable.locations.all(domain)
        ]
        known = {} if exportable.tokens is None else {"num_epochs": epochs}
        return yaml_text({"datasets": datasets, **known, "dataset_shuffle_seed": exportable.seed})

    def read(self, text: str) -> Weights:
        content = plain_yaml.load(text)
        if content.get("streaming") or "pretraining_dataset" in content:
            raise ConfigError(
                "Axolotl leaves weights out where it streams", hint="give a file with datasets, and without streaming"
            )
        weights = [(each["path"], each.get("weight", 1.0)) for each in content["datasets"]]
        for path, weight in weights:
            if isinstance(weight, int | float) and not 0 < weight <= 1:
                raise ConfigError(
                    f"{shown_name(path)}: weight {weight} is no part of a dataset",
                    hint="Axolotl reads a part of each, above 0 and 1 at most; more is num_epochs",
                )
        return weights

    def grid(self, exportable: Exportable) -> Grid | None:
        """Whole documents, rounded down, of each domain and in each epoch."""
        if exportable.tokens is None:
            return None
        epochs, lengths = _epochs(exportable), exportable.mean_document_tokens
        parts = {domain: part * exportable.supply[domain] for domain, part in _parts(exportable).items()}
        if not lengths:
            whole = {domain: math.floor(tokens + 1e-9) * epochs for domain, tokens in parts.items()}
            return Grid("tokens", whole, whole)
        whole = {domain: math.floor(tokens / lengths[domain] + 1e-9) * epochs for domain, tokens in parts.items()}
        return Grid("documents", whole, {domain: count * lengths[domain] for domain, count in whole.items()})


def _epochs(exportable: Exportable) -> int:
    """As many as the domain needs that is read most often."""
    return max(1, math.ceil(max(exportable.passes.values()) - 1e-9))


def _parts(exportable: Exportable) -> dict[str, float]:
    """Of each domain, in each epoch."""
    epochs = _epochs(exportable)
    return {domain: min(1.0, passes / epochs) for domain, passes in exportable.passes.items()}
