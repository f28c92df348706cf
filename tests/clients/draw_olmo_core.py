"""OLMo-core chooses from files of token ids, and its dataset reads the sequences."""

from __future__ import annotations

import tempfile

import numpy as np
from olmo_core.data import NumpyFSLDatasetConfig, TokenizerConfig
from olmo_core.data.source_mixture import SourceMixtureDatasetConfig, SourceMixtureList

from tests.clients.blends import Blend, answer

SEQUENCES, SEQUENCE_LENGTH = 4_000, 32
END_OF_DOCUMENT = 0


def draw(blend: Blend) -> list[int]:
    for place in blend.lengths:
        documents = -(-SEQUENCES * SEQUENCE_LENGTH // blend.lengths[place])
        text = np.tile(np.append(blend.document(place)[1:], np.uint16(END_OF_DOCUMENT)), documents)
        text.tofile(place)
    mixture = SourceMixtureDatasetConfig(
        source_list=SourceMixtureList.from_yaml(blend.export),
        requested_tokens=SEQUENCES * SEQUENCE_LENGTH,
        global_batch_size=10 * SEQUENCE_LENGTH,
        quiet=True,
        render_tables=False,
    )
    with tempfile.TemporaryDirectory() as cache:
        dataset = NumpyFSLDatasetConfig.from_src_mix(
            mixture,
            sequence_length=SEQUENCE_LENGTH,
            work_dir=cache,
            tokenizer=TokenizerConfig(vocab_size=2**16 - 1, eos_token_id=END_OF_DOCUMENT, pad_token_id=END_OF_DOCUMENT),
        ).build()
        dataset.prepare()
        sequences = [dataset[index]["input_ids"].numpy() for index in range(len(dataset))]
    # A sequence is of one domain, its ends of documents too.
    return blend.counted(np.concatenate([np.full_like(sequence, sequence.max()) for sequence in sequences]))


if __name__ == "__main__":
    answer(draw)
