"""The documents that the search measured a source's loss on, found again in the source: a corpus has but their tokens.

With as much text again, for whoever makes an evaluation set of them: `prepare` halves such a set, and ranks by the
lower half of the content hashes. So the rest is of the highest hashes, which no held-out set of a part of the source
has.
"""

from __future__ import annotations

import heapq

from proxies.data.manifest import Corpus
from proxies.data.sources import Document, Source, SourceFile, documents
from proxies.data.tokenizer import content_hash


def measured_on(corpus: Corpus, source: Source, files: tuple[SourceFile, ...]) -> list[Document]:
    """The documents, or pieces of long ones, of the source's first held-out set, then those of the highest hashes.

    Raises:
        ProxyError: a file is broken.
    """
    wanted, as_much = set(corpus.searched_hashes(source.name).tolist()), corpus.evaluation(source.name).bytes
    found: dict[int, Document] = {}
    highest: list[tuple[int, int]] = []  # the lowest first; bytes of each
    others: dict[int, Document] = {}
    total = 0
    for document in documents(source, files):
        code, size = content_hash((document.prompt or "") + document.text), len(document.text.encode())
        if code in wanted:
            found[code] = document
        elif not document.empty and code not in others and (total < as_much or code > highest[0][0]):
            heapq.heappush(highest, (code, size))
            others[code] = document
            total += size
            while total - highest[0][1] >= as_much:
                out, lost = heapq.heappop(highest)
                del others[out]
                total -= lost
    return [*found.values(), *others.values()]
