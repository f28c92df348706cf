"""Hugging Face `datasets.interleave_datasets`, which draws documents.

settings = json.load(open("mixture.json"))
parts = [load_dataset(...) for place in settings["datasets"]]
mixed = interleave_datasets(parts, probabilities=settings["probabilities"],
                            stopping_strategy=settings["stopping_strategy"], seed=settings["seed"])
mixed = mixed.take(settings["take"])

A pass ends when the last domain was read through, and has read the others many times by then; `take` ends with the
run's tokens, or, where nobody told these, with as many documents as there are. It is there where documents are drawn.
"""

from __future__ import annotations

import json

from mixopt.exports.formats.base import Carries, Draws, Exportable, Exporter, Weights, in_pairs


class HfInterleave(Exporter):
    name = "hf"
    describes = "Hugging Face datasets.interleave_datasets: its arguments"
    draws = (Draws.DOCUMENTS, Draws.SEQUENCES)
    suffix = ".json"
    at_random = True
    receipt = Carries.KEY

    def render(self, exportable: Exportable) -> str:
        weights = exportable.weighted_places
        content = {
            "datasets": list(weights),
            "probabilities": list(weights.values()),
            # A scarce domain starts again when it is read through, so that the shares hold to the end.
            "stopping_strategy": "all_exhausted",
            "seed": exportable.seed,
            **({} if exportable.documents is None else {"take": exportable.documents}),
        }
        return json.dumps(content, indent=2) + "\n"

    def read(self, text: str) -> Weights:
        settings = json.loads(text)
        return in_pairs(settings["datasets"], settings["probabilities"])
