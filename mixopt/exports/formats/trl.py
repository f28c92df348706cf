"""TRL's scripts, which put datasets together as they are: there are no weights, so the file takes so many documents of
each.

trl sft --config mixture.yaml ...

A `split` is cut by the number of documents, `train[:2500]`; percentages would be whole ones. A domain that is read
more than once stands there again. Nothing of this works on streams. The trainer shuffles what was put together, and
reads it once: num_train_epochs is 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mixopt.base import plain_yaml
from mixopt.base.errors import ConfigError
from mixopt.base.shown import shown, shown_name
from mixopt.exports.formats.base import Draws, Exportable, Exporter, Grid, Weights
from mixopt.exports.formats.yaml_text import yaml_text
from search.mixture import Mixture, counts

FIRST = re.compile(r"\s*\w+\[:(\d+)\]\s*")


class Trl(Exporter):
    name = "trl"
    describes = "TRL: datasets of its scripts, with so many documents of each; places are names of datasets"
    draws = (Draws.DOCUMENTS,)
    suffix = ".yaml"
    whole = True

    def render(self, exportable: Exportable) -> str:
        there = {
            place: max(1, int(documents))
            for domain in exportable.weights
            for place, documents in exportable.locations.split(domain, _documents(exportable, domain)).items()
        }
        datasets = [
            {"path": place, "split": f"train[:{part}]"}
            for place, count in _counts(exportable, exportable.weighted_places).items()
            for part in _passes(count, there[place])
        ]
        return yaml_text({"datasets": datasets, "dataset_streaming": False, "num_train_epochs": 1})

    def read(self, text: str) -> Weights:
        content = plain_yaml.load(text)
        if content.get("dataset_streaming") or content.get("streaming"):
            raise ConfigError("TRL cannot take a part of a stream", hint="give a file without streaming")
        return [(each["path"], _count(each["path"], each.get("split", "train"))) for each in content["datasets"]]

    def grid(self, exportable: Exportable) -> Grid | None:
        whole = _counts(exportable, exportable.weights)
        lengths = exportable.mean_document_tokens
        return Grid("documents", whole, {domain: count * lengths[domain] for domain, count in whole.items()})


def _documents(exportable: Exportable, domain: str) -> float:
    """How many a domain has."""
    return exportable.supply_of(domain) / exportable.mean_document_tokens[domain]


def _counts(exportable: Exportable, weights: dict[str, float]) -> dict[str, int]:
    """Documents of the run; of a run that nobody told of, the longest that reads no domain twice."""
    passes = exportable.passes  # which knows that every supply is there
    total = sum(part * _documents(exportable, domain) for domain, part in passes.items())
    return counts(Mixture.of(weights), round(total))


def _passes(count: int, there: int) -> Iterator[int]:
    for _ in range(count // there):
        yield there
    if count % there:
        yield count % there


def _count(path: object, split: object) -> int:
    found = FIRST.fullmatch(str(split))
    if found is None:
        raise ConfigError(
            f"{shown_name(path)}: split {shown(split)} does not say how many documents are read",
            hint="write train[:N], with N documents",
        )
    return int(found[1])
