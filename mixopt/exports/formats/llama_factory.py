"""LLaMA-Factory, which draws examples, a document each, and packs them afterwards.

It takes probabilities only where it interleaves, as many as there are datasets; without packing it cuts each document
at cutoff_len, and then the shares of tokens are others.
"""

from __future__ import annotations

from mixopt.base import plain_yaml
from mixopt.base.errors import ConfigError
from mixopt.exports.formats.base import Draws, Exportable, Exporter, Weights, in_pairs
from mixopt.exports.formats.yaml_text import yaml_text


class LlamaFactory(Exporter):
    name = "llama-factory"
    describes = "LLaMA-Factory: training arguments; places are names in its dataset_info.json"
    draws = (Draws.DOCUMENTS,)
    suffix = ".yaml"
    at_random = True
    until_exhausted = True

    def render(self, exportable: Exportable) -> str:
        weights = exportable.weighted_places
        if odd := next((place for place in weights if "," in place), None):
            raise ConfigError(f"LLaMA-Factory would read {odd} as two names", hint="name the dataset without a comma")
        content = {
            "dataset": ",".join(weights),
            # A scarce dataset starts again when it is read through, so that the shares hold to the end.
            "mix_strategy": "interleave_over",
            "interleave_probs": ",".join(map(repr, weights.values())),
        }
        return yaml_text(content)

    def read(self, text: str) -> Weights:
        arguments = plain_yaml.load(text)
        # Concatenation is also what it does where nothing is said.
        if arguments.get("mix_strategy", "concat") == "concat":
            raise ConfigError(
                "LLaMA-Factory concatenates these datasets, and its interleave_probs mean nothing",
                hint="set mix_strategy: interleave_over in it, where the probabilities are meant",
            )
        names = [name.strip() for name in arguments["dataset"].split(",")]
        return in_pairs(names, [part.strip() for part in arguments["interleave_probs"].split(",")])
