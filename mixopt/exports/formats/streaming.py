"""MosaicML Streaming, which draws samples: documents, or sequences where they were packed before they were written.

streams = [Stream(**stream) for stream in json.load(open("streams.json"))]
mixed = StreamingDataset(streams=streams, epoch_size=..., shuffle=True, batch_size=...)

It normalises proportions and fixes how many samples of each stream an epoch has; scarce ones are repeated. An epoch
is as long as all streams together unless `epoch_size` says otherwise.
"""

from __future__ import annotations

import json
from typing import Any

from mixopt.exports.formats.base import Carries, Draws, Exportable, Exporter, Weights


class Streaming(Exporter):
    name = "streaming"
    describes = "MosaicML Streaming: the arguments of each Stream"
    draws = (Draws.DOCUMENTS, Draws.SEQUENCES)
    suffix = ".json"
    receipt = Carries.BESIDE

    def render(self, exportable: Exportable) -> str:
        streams = [stream(place, weight) for place, weight in exportable.weighted_places.items()]
        return json.dumps(streams, indent=2) + "\n"

    def read(self, text: str) -> Weights:
        return weights_of(json.loads(text))


def stream(place: str, proportion: float) -> dict[str, Any]:
    """A Stream's arguments: what is at a URL is `remote`, and is kept in a temporary folder unless `local` is given."""
    return {"remote" if "://" in place else "local": place, "proportion": proportion}


def weights_of(streams: list[dict[str, Any]]) -> Weights:
    """Proportion by place; the remote one where a stream has both."""
    return [(stream.get("remote") or stream["local"], stream["proportion"]) for stream in streams]
