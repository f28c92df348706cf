"""A sentence-transformers model that lies in a folder of this machine, read by Transformers; nothing is downloaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float

from proxies.domains.embedding.ngrams import excerpt
from proxies.errors import ProxyError

KIND = "transformer"
MODULES, POOLING = "modules.json", "1_Pooling/config.json"
KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")
MEAN, FIRST = "pooling_mode_mean_tokens", "pooling_mode_cls_token"
# Texts at once: more take memory, and no less time.
BATCH = 32
LONGEST = 512  # tokens; models say a length of their own, some of them an endless one


@dataclass(frozen=True)
class SentenceTransformer:
    """
    Attributes:
        by_first: whether a text's vector is that of its first token, and not the mean of all.
    """

    identity: str
    width: int
    tokenizer: Any
    model: Any
    by_first: bool

    @classmethod
    def open(cls, folder: Path) -> Self:
        """
        Raises:
            ProxyError: Transformers is not installed, or cannot read the folder.
        """
        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError as error:
            raise ProxyError(
                f"{folder} is read by Transformers, which is not installed",
                hint="pip install 'mixopt[sentences]', or leave --embedding out",
            ) from error
        by_first = _by_first(folder)
        try:
            # Of what is in the folder alone: no code of its author's is run.
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            model = AutoModel.from_pretrained(str(folder), local_files_only=True).eval()
        except Exception as error:  # the library has many; the cause stays attached
            reason = " ".join(str(error).split())
            raise ProxyError(
                f"{folder} cannot be read as a model: {reason}", hint="name the folder that holds its config.json"
            ) from error
        identity = f"{KIND}-{_digest(folder)}"
        return cls(identity, model.config.hidden_size, tokenizer, model, by_first)

    def embed(self, texts: Sequence[str]) -> Float[np.ndarray, "N E"]:
        """As `Embedding.embed`, but for rounding: texts of one batch are padded to one length."""
        import torch
        from torch.nn.functional import normalize

        if not texts:
            return np.zeros((0, self.width), dtype=np.float32)
        rows = []
        longest = min(LONGEST, self.tokenizer.model_max_length)
        for start in range(0, len(texts), BATCH):
            batch = [excerpt(text) for text in texts[start : start + BATCH]]
            given = self.tokenizer(batch, padding=True, truncation=True, max_length=longest, return_tensors="pt")
            with torch.inference_mode():
                hidden_NTE = self.model(**given).last_hidden_state.float()
            mask_NT1 = given["attention_mask"][:, :, None]
            pooled_NE = (
                hidden_NTE[:, 0] if self.by_first else (hidden_NTE * mask_NT1).sum(1) / mask_NT1.sum(1).clamp(min=1)
            )
            rows.append(normalize(pooled_NE).numpy())
        return np.concatenate(rows)


def _by_first(folder: Path) -> bool:
    """Whether the model was trained for the vector of the first token; a folder that says nothing is for the mean.

    Raises:
        ProxyError: it was trained for something else: vectors made in one of these ways mean nothing.
    """
    for module in _read(folder / MODULES, []):
        kind = str(module.get("type")).rpartition(".")[2] if isinstance(module, dict) else str(module)
        if kind not in KNOWN_MODULES:
            raise ProxyError(
                f"{folder / MODULES}: a model with a module {kind} is not read here", hint="choose a model without it"
            )
    pooling = _read(folder / POOLING, {MEAN: True})
    modes = [name for name, chosen in pooling.items() if name.startswith("pooling_mode_") and chosen is True]
    if modes not in ([MEAN], [FIRST]):
        raise ProxyError(
            f"{folder / POOLING}: pooling by {', '.join(modes) or 'nothing'} is not read here",
            hint=f"choose a model of {MEAN} or {FIRST}",
        )
    return modes == [FIRST]


def _read(path: Path, otherwise: Any) -> Any:
    """The JSON of a file, of the same kind as what is taken where there is no file.

    Raises:
        ProxyError: it holds something else.
    """
    if not path.exists():
        return otherwise
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ProxyError(f"{path} is damaged: {error}", hint="copy the model again") from error
    if not isinstance(found, type(otherwise)):
        raise ProxyError(f"{path} is no {type(otherwise).__name__}", hint="copy the model again")
    return found


def _digest(folder: Path) -> str:
    """Of its files' names and contents."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
