"""An embedding from where it lies: one that was learned here, a proxy that was kept, or a model that somebody has
on this disk."""

from __future__ import annotations

from pathlib import Path

from proxies.domains.embedding import Embedding, hidden_states
from proxies.domains.embedding.hashed_ngrams import ABOUT, HashedNgrams
from proxies.errors import ProxyError


def open_embedding(folder: Path) -> Embedding:
    """
    Raises:
        ProxyError: there is none in it, or what reads it is not installed.
    """
    if (folder / ABOUT).exists():
        return HashedNgrams.open(folder)
    if (folder / hidden_states.ABOUT).exists():
        return hidden_states.HiddenStates.open(folder)
    if (folder / "config.json").exists() or (folder / "modules.json").exists():
        from proxies.domains.embedding.sentence_transformer import SentenceTransformer

        return SentenceTransformer.open(folder)
    raise ProxyError(
        f"{folder} holds no embedding",
        hint="name a study file, the folder of a sentence-transformers model (with config.json), or of a kept proxy; "
        "or leave --embedding out",
    )
