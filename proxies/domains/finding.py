"""From a heap of documents to domains, in steps of which each is remembered: killed, it goes on where it was.

survey        every document is read, and a sample kept                                  survey.py
learn         an embedding of the sample, fine clusters, and the domains that they make   clusters.py
describe      words, typical documents and a name for each domain                         describing.py
sort          every document into its domain's pool                                      sorting.py
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from joblib import cpu_count
from threadpoolctl import threadpool_limits

from proxies.data.intake import OnProgress, Progress
from proxies.data.sources import Source, SourceFile
from proxies.domains.clusters import Clusters, NoDomains, TooFew, room_in
from proxies.domains.describing import Description, describe
from proxies.domains.duplicates import Duplicates
from proxies.domains.embedding import Embedding
from proxies.domains.embedding.hashed_ngrams import HashedNgrams
from proxies.domains.embedding.opening import open_embedding
from proxies.domains.sorting import Pools, Sorted, sort_into_pools
from proxies.domains.survey import Survey, survey
from proxies.errors import ProxyError
from proxies.storage import write_whole

# Raised when the same documents and settings give other domains.
METHOD = 5
DOMAINS = 20
DOCUMENTS_EACH = 5  # that differ, for each domain on average, where nobody said how many
MOST_DOMAINS = 1000  # of a study
HIGHEST_SEED = 2**32 - 1  # that scikit-learn takes
EMBEDDED_AT_ONCE = 1024  # documents between two looks at how far it is


@dataclass(frozen=True)
class Search:
    """How domains are found.

    Attributes:
        count: of domains; None: DOMAINS, or as many as there are documents for.
        seed: of the decomposition and the clusters.
        embedding: the folder that one is opened from; None: n-grams, learned from the sample.
        sample: documents that embedding and clusters are learned from, at most.
        fine: clusters to begin with, at most; a sample of 8,000 has them all.
        drop_duplicates: whether documents that are there already, or nearly, are left out of the pools.
        workers: processes; None uses all cores.
        skip_bad: whether records that cannot be used, and rests of files that cannot be read, are left out.
    """

    count: int | None = None
    seed: int = 0
    embedding: Path | None = None
    sample: int = 100_000
    fine: int = 1000
    drop_duplicates: bool = False
    workers: int | None = None
    skip_bad: bool = False

    def __post_init__(self) -> None:
        count = 2 if self.count is None else self.count
        if not 2 <= count <= MOST_DOMAINS:
            least, most = "a mixture is of at least two domains", f"a study has {MOST_DOMAINS} domains at most"
            why = least if count < 2 else most
            raise ProxyError(f"count {count}: {why}", f"ask for 2 to {MOST_DOMAINS}")
        if not 0 <= self.seed <= HIGHEST_SEED:
            raise ProxyError(f"seed {self.seed} is out of range", hint=f"choose one from 0 to {HIGHEST_SEED}")
        if self.sample < count:
            raise ProxyError(f"sample {self.sample}: fewer than {count} domains", hint="take at least one for each")
        if self.fine < count:
            raise ProxyError(
                f"fine {self.fine}: fewer clusters than {count} domains", hint="domains are merged from these"
            )
        if self.workers is not None and self.workers < 1:
            raise ProxyError(f"workers {self.workers} must be above 0", hint="leave it out to use all cores")


@dataclass(frozen=True)
class Domain:
    """A domain that was found.

    Attributes:
        documents, bytes: that its pool has; bytes of UTF-8 text.
        exact: documents, dropped or not, whose text an earlier one has.
        near_within, near_across: documents that are nearly an earlier one of this domain, or of another.
        left: bytes to train on at least, whatever is held out; by the sample.
    """

    about: Description
    documents: int
    bytes: int
    exact: int
    near_within: int
    near_across: int
    left: int


@dataclass(frozen=True)
class Found:
    """
    Attributes:
        identity: of the embedding.
        documents, empty: what was read: documents with text and without.
        skipped: records that were left out as they cannot be used, and rests of files; `first_skipped`: what is wrong
            with the first.
        sampled: documents that were learned from.
    """

    identity: str
    documents: int
    empty: int
    skipped: int
    first_skipped: tuple[str, ...]
    sampled: int
    clusters: Clusters
    domains: tuple[Domain, ...]


def usual_count(sampled: int, fine: int) -> int:
    """Of domains, where nobody said how many."""
    return min(DOMAINS, fine, max(2, sampled // DOCUMENTS_EACH))


def inputs_of(source: Source, files: tuple[SourceFile, ...], search: Search) -> str:
    """A digest of all that decides the outcome."""
    how = asdict(search) | {"workers": None}
    if search.embedding is not None:
        how["embedding"] = open_embedding(search.embedding).identity
    parts = [METHOD, source.text_field, source.split, how, [asdict(file) for file in files]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def find_domains(
    source: Source, files: tuple[SourceFile, ...], search: Search, pools: Path, folder: Path, on_progress: OnProgress
) -> Found:
    """
    Args:
        files: of the source.
        pools: a folder of each domain is written into it.
        folder: for what is remembered; what is in it was made of the same inputs.

    Raises:
        ProxyError: a file is broken or lacks the field.
        NoDomains: there are too few documents that differ.
        OSError: something cannot be written.
    """
    workers = search.workers or cpu_count()
    read = survey(source, files, search.sample, search.skip_bad, workers, folder / "survey", on_progress)
    _check_enough(read, search.count or 2)
    place = folder / "embedding" if search.embedding is None else search.embedding
    clusters_file = folder / "clusters.npz"
    with threadpool_limits(1):  # as sums of several threads come in any order
        texts = [each.text for each in read.sample]
        bytes_N = np.array([each.bytes for each in read.sample], dtype=np.int64)
        on_progress(Progress("learn an embedding", 0, None, ""))
        embedding = _embedding(search, texts, place)
        vectors_NE = _vectors(embedding, texts, folder / "vectors.npy", on_progress)
        if not clusters_file.exists():
            on_progress(Progress("cluster", 0, None, ""))
            count = search.count or usual_count(len(texts), search.fine)
            Clusters.learn(vectors_NE, bytes_N, count, search.fine, search.seed).save(clusters_file)
        clusters = Clusters.open(clusters_file)
        domain_N = clusters.domains_of(vectors_NE)
        on_progress(Progress("describe the domains", 0, None, ""))
        about = describe(read.sample, vectors_NE, domain_N, clusters.count)
        names = [each.name for each in about]
        dropped = read.duplicates if search.drop_duplicates else None
        target = Pools(pools, names, place, clusters_file, dropped)
        done = sort_into_pools(
            source, files, target, read.documents, search.skip_bad, workers, folder / "sorted", on_progress
        )
    return Found(
        identity=embedding.identity,
        documents=read.documents,
        empty=read.empty,
        skipped=read.bad,
        first_skipped=read.first_bad,
        sampled=len(read.sample),
        clusters=clusters,
        domains=_domains(about, done, read.duplicates, room_in(bytes_N, domain_N, clusters.count)[1]),
    )


def _check_enough(read: Survey, count: int) -> None:
    if read.documents < 2:
        some = f"{read.documents} document{'s' * (read.documents != 1)} with text"
        if read.bad:
            some += f", {read.bad:,} bad ones left out ({read.first_bad[0]})"
        raise NoDomains(f"{some}; domains are made of at least two", hint="name a folder or file of more documents")
    if len(read.sample) == 1:
        raise NoDomains(
            f"all {read.documents:,} documents are alike", hint="there are no domains in copies of one document"
        )
    if len(read.sample) < count:
        raise TooFew(
            f"{count} domains of {len(read.sample)} documents that differ", hint="ask for fewer domains with --count"
        )


def _embedding(search: Search, texts: Sequence[str], folder: Path) -> Embedding:
    if search.embedding is not None:
        return open_embedding(search.embedding)
    try:
        return open_embedding(folder)
    except ProxyError:  # not learned yet, or a call was killed in between
        learned = HashedNgrams.learn(texts, seed=search.seed)
        learned.save(folder)
        return learned


def _vectors(
    embedding: Embedding, texts: Sequence[str], file: Path, on_progress: OnProgress
) -> Float[np.ndarray, "N E"]:
    """Those of the sample, from the file where an earlier call came so far: a large model takes hours."""
    if file.exists():
        known: Float[np.ndarray, "N E"] = np.load(file, allow_pickle=False)
        return known
    parts = []
    for start in range(0, len(texts), EMBEDDED_AT_ONCE):
        on_progress(Progress("embed the sample", start, len(texts), "documents"))
        parts.append(embedding.embed(texts[start : start + EMBEDDED_AT_ONCE]))
    on_progress(Progress("embed the sample", len(texts), len(texts), "documents"))
    found: Float[np.ndarray, "N E"] = np.concatenate(parts)
    content = io.BytesIO()
    np.save(content, found, allow_pickle=False)
    write_whole(file, content.getvalue())
    return found


def _domains(
    about: Sequence[Description], done: Sorted, duplicates: Duplicates, left_D: Int[np.ndarray, " D"]
) -> tuple[Domain, ...]:
    count = len(about)
    repeats = np.flatnonzero(duplicates.repeats_N)
    mine, first = done.domain_N[repeats], done.domain_N[duplicates.of_N[repeats]]
    exact = duplicates.exact_N[repeats]

    def per_domain(which: np.ndarray) -> Int[np.ndarray, " D"]:
        counted: Int[np.ndarray, " D"] = np.bincount(mine[which], minlength=count)
        return counted

    within, across = per_domain(~exact & (mine == first)), per_domain(~exact & (mine != first))
    return tuple(
        Domain(each, int(documents), int(size), int(same), int(near), int(other), int(left))
        for each, documents, size, same, near, other, left in zip(
            about, done.documents_D, done.bytes_D, per_domain(exact), within, across, left_D, strict=True
        )
    )
