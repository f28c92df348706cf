"""LLM Foundry, which reads text through MosaicML Streaming: sequences of one length where they were packed beforehand
(its converter's --concat_tokens), else documents, each cut or padded to `max_seq_len`.

Documents that are longer than that give fewer tokens than their length says, so their domain gets less than its share.
The dataset takes streams or a `local` and `remote` of its own, not both; its `split` is a folder inside each place.
"""

from __future__ import annotations

from mixopt.base import plain_yaml
from mixopt.exports.formats.base import Draws, Exportable, Exporter, Weights
from mixopt.exports.formats.streaming import stream, weights_of
from mixopt.exports.formats.yaml_text import yaml_text


class LlmFoundry(Exporter):
    name = "llm-foundry"
    describes = "LLM Foundry: train_loader.dataset.streams"
    draws = (Draws.SEQUENCES, Draws.DOCUMENTS)
    suffix = ".yaml"

    def render(self, exportable: Exportable) -> str:
        streams = {
            # No domain's name has a slash, so names of places stay apart.
            domain if place == exportable.locations.all(domain)[0] else f"{domain}/{place}": stream(place, part)
            for domain, weight in exportable.weights.items()
            for place, part in exportable.locations.split(domain, weight).items()
        }
        return yaml_text({"train_loader": {"dataset": {"streams": streams}}})

    def read(self, text: str) -> Weights:
        return weights_of(list(plain_yaml.load(text)["train_loader"]["dataset"]["streams"].values()))
