"""`datasets` interleaves documents that it streams."""

from __future__ import annotations

import json
from itertools import islice

import datasets
import numpy as np

from tests.clients.blends import Blend, answer

# Of each domain, and as many are read.
DOCUMENTS = 100
# Four standard errors of a share of tokens are .2%, with documents of 10 to 100 tokens.
DRAWS = 2_500_000


def draw(blend: Blend) -> list[int]:
    settings = json.loads(blend.text)
    domain_of = np.array([blend.number(place) for place in settings["datasets"]])
    mixed = datasets.interleave_datasets(
        [
            datasets.Dataset.from_dict({"tokens": [blend.document(place)] * DOCUMENTS}).to_iterable_dataset()
            for place in settings["datasets"]
        ],
        probabilities=settings["probabilities"],
        stopping_strategy=settings["stopping_strategy"],
        seed=settings["seed"],
    )
    domains = domain_of[np.fromiter(mixed._ex_iterable._get_indices_iterator(), np.int64, DRAWS)]
    for document, domain in zip(islice(mixed, DOCUMENTS), domains, strict=False):
        assert set(document["tokens"]) == {domain}, "a document that is read is not of the domain that was chosen"
    documents = blend.counted(domains)
    return [count * length for count, length in zip(documents, blend.lengths.values(), strict=True)]


if __name__ == "__main__":
    answer(draw)
