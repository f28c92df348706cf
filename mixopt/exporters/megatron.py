"""Megatron-LM and Megatron-core: `--data-path`, or a file for `--data-args-path`.

Megatron draws sequences of a fixed number of tokens, so its weights are token shares as they are. It takes a list
of odd length for paths without weights, without a word, and its index builder fails on a source that is to give
less than one sample; sources with weight 0 are therefore left out.
"""

from __future__ import annotations

import shlex

from mixopt.exporters.base import Exportable, Exporter


class Megatron(Exporter):
    name = "megatron"
    weights_mean = "sequences"
    describes = "Megatron --data-path: weight and path prefix in turn"

    def render(self, exportable: Exportable) -> str:
        pairs = [
            f"{share:.9g} {shlex.quote(exportable.locations[domain])}"
            for domain, share in exportable.token_shares.items()
        ]
        return "--data-path " + " ".join(pairs) + "\n"
