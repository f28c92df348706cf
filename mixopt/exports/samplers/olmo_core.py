"""OLMo-core takes so many tokens of each file; token ids are taken for two bytes each."""

from __future__ import annotations

import numpy as np
from olmo_core.data.source_mixture import SourceMixtureConfig, SourceMixtureDatasetConfig, SourceMixtureList

from mixopt.exports.samplers.base import Counted, Drawing

SEQUENCE_LENGTH = 1024
# It refuses where a source would be repeated more often than this, which an export has looked at.
REPEATS = 1_000_000.0


def draw(drawing: Drawing) -> Counted:
    drawing.require("")
    length = drawing.sequence_length or SEQUENCE_LENGTH
    weights = dict.fromkeys(drawing.domains, 0.0) | {source.domain: source.weight for source in drawing.sources}
    sources = [
        SourceMixtureConfig(
            source_name=domain,
            target_ratio=weights[domain],
            paths=[source.place for source in drawing.sources if source.domain == domain],
            max_repetition_ratio=REPEATS,
        )
        for domain in drawing.domains
    ]
    mixture = SourceMixtureDatasetConfig(
        source_list=SourceMixtureList(sources=sources),
        requested_tokens=drawing.samples * length,
        global_batch_size=length,
        quiet=True,
        render_tables=False,
    ).build(npdtype=np.uint16, sequence_length=length)
    return Counted(
        "tokens", {outcome.name: float(sum(path.tokens for path in outcome.path_tokens)) for outcome in mixture.sources}
    )
