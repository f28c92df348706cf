"""Hugging Face `datasets.interleave_datasets`, which draws documents.

settings = json.load(open("mixture.json"))
parts = [load_dataset(...) for domain in settings["domains"]]
mixed = interleave_datasets(parts, probabilities=settings["probabilities"],
                            stopping_strategy=settings["stopping_strategy"], seed=0)
"""

from __future__ import annotations

import json

from mixopt.exporters.base import Exportable, Exporter


class HfInterleave(Exporter):
    name = "hf"
    weights_mean = "documents"
    describes = "datasets.interleave_datasets: probabilities, divided by mean document length"

    def render(self, exportable: Exportable) -> str:
        shares = exportable.document_shares
        content = {
            "domains": [exportable.locations[domain] for domain in shares],
            "probabilities": list(shares.values()),
            # A scarce domain starts again when it is read through, so that the shares hold to the end.
            "stopping_strategy": "all_exhausted",
        }
        return json.dumps(content, indent=2) + "\n"
