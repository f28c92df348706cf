"""DoReMi's domain configuration, whose trainer draws sequences of one length.

It numbers the domains in alphabetical order, once for training and once for evaluation: both have to name the same.
"""

from __future__ import annotations

import json

from mixopt.exports.formats.base import Carries, Draws, Exportable, Exporter, Weights


class Doremi(Exporter):
    name = "doremi"
    describes = "DoReMi: a domain configuration, by domain"
    draws = (Draws.SEQUENCES,)
    suffix = ".json"
    by_place = False
    at_random = True
    receipt = Carries.KEY

    def render(self, exportable: Exportable) -> str:
        weights = exportable.weights
        return json.dumps({"train_domain_weights": weights, "eval_domain_weights": weights}, indent=2) + "\n"

    def read(self, text: str) -> Weights:
        weights: dict[str, float] = json.loads(text)["train_domain_weights"]
        return list(weights.items())
