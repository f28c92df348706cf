"""OLMo-core's source mixture, which takes a share of the run's tokens from each source.

sources = SourceMixtureList.from_yaml("mixture.yaml")
mixture = SourceMixtureDatasetConfig(sources, requested_tokens=..., global_batch_size=...)

Its ratios must sum to one. Paths are .npy files of token ids, and a `*` in one is a pattern. A source that is too
small for its share, repeated as often as `max_repetition_ratio` allows, stops the run. Of a source that is used in
part, version 3.0.0 reads the beginning of each file.
"""

from __future__ import annotations

from mixopt.base import plain_yaml
from mixopt.exports.formats.base import Draws, Exportable, Exporter, Weights
from mixopt.exports.formats.yaml_text import yaml_text


class OlmoCore(Exporter):
    name = "olmo-core"
    describes = "OLMo-core: a SourceMixtureList"
    draws = (Draws.TOKENS,)
    suffix = ".yaml"
    by_place = False

    def render(self, exportable: Exportable) -> str:
        sources = [
            {
                "source_name": domain,
                "target_ratio": weight,
                "max_repetition_ratio": max(1.0, exportable.most_epochs(domain)),
                "paths": exportable.locations.all(domain),
            }
            for domain, weight in exportable.weights.items()
        ]
        return yaml_text({"sources": sources})

    def read(self, text: str) -> Weights:
        return [(source["source_name"], source["target_ratio"]) for source in plain_yaml.load(text)["sources"]]
