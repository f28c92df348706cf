"""The hidden states of a proxy that was trained here: what a small language model makes of a text, as a vector.

A text's vector is the mean, over its tokens, of the last hidden states, those that the head predicts the next token
from, less what is the same in all text that the proxy was trained on. A causal model sees only what stands before, so
that what fills a row up behind a text changes nothing. It runs on the CPU, in full precision, so that the same text has
the same vector wherever the proxy was trained.

    <folder>/proxy.json        what it is, and its model's shapes; written last
    <folder>/weights.npz       the model's weights, and the mean that is taken off
    <folder>/tokenizer.json

Axes: N texts, R rows, T positions of a row, D width.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from proxies import device
from proxies.data.tokenizer import CorpusTokenizer
from proxies.domains.embedding.ngrams import excerpt
from proxies.errors import ProxyError
from proxies.models.size import Experts, ModelSize
from proxies.storage import write_whole

if TYPE_CHECKING:
    from proxies.models.transformer import Transformer

# Raised when the same weights give a text another vector.
FORMAT = 1
KIND = "proxy"
ABOUT, WEIGHTS, TOKENIZER = "proxy.json", "weights.npz", "tokenizer.json"
MEAN = "mean_D"
# Of an excerpt so many rows are read, evenly spaced: more take time, and say nearly the same.
MOST_ROWS = 4
TOKENS_AT_ONCE = 1 << 13  # more take memory, and no less time


@dataclass(frozen=True)
class HiddenStates:
    """
    Attributes:
        mean_D: of the hidden states of text that the proxy was trained on.
    """

    identity: str
    tokenizer: CorpusTokenizer
    model: Transformer
    mean_D: Float[np.ndarray, " D"]

    @property
    def width(self) -> int:
        return self.model.size.width

    def embed(self, texts: Sequence[str]) -> Float[np.ndarray, "N D"]:
        """As `Embedding.embed`, but for rounding."""
        if not texts:
            return np.zeros((0, self.width), dtype=np.float32)
        centred_ND = _mean_states(self.model, self.tokenizer, texts) - self.mean_D
        lengths_N1 = np.linalg.norm(centred_ND, axis=1, keepdims=True)
        unit_ND: Float[np.ndarray, "N D"] = centred_ND / np.maximum(lengths_N1, np.float32(1e-12))
        return unit_ND

    @classmethod
    def open(cls, folder: Path) -> Self:
        """What `keep` wrote.

        Raises:
            ProxyError: it is not there, damaged, or of another version.
        """
        hint = "make it again from its study"
        try:
            about = json.loads((folder / ABOUT).read_bytes())
            if about["format"] != FORMAT:
                raise ProxyError(f"{folder} holds a proxy of another version", hint=hint)
            content, definition = (folder / WEIGHTS).read_bytes(), (folder / TOKENIZER).read_text(encoding="utf-8")
            if about["identity"] != _identity(about["model"], content, definition):
                raise ProxyError(f"{folder} holds a proxy that is damaged", hint=hint)
            with np.load(io.BytesIO(content), allow_pickle=False) as saved:
                arrays = {name: saved[name] for name in saved.files}
            shapes = about["model"]
            experts = None if shapes["experts"] is None else Experts(**shapes["experts"])
            size = ModelSize(**shapes | {"experts": experts})
            mean_D = arrays.pop(MEAN)
            return cls(about["identity"], CorpusTokenizer(definition), _model(size, arrays), mean_D)
        except (OSError, ValueError, LookupError, TypeError, BadZipFile, RuntimeError) as error:
            raise ProxyError(f"{folder} holds no proxy: {error}", hint=hint) from error


def keep(
    folder: Path,
    size: ModelSize,
    weights: Mapping[str, NDArray[np.float32]],
    tokenizer: CorpusTokenizer,
    texts: Sequence[str],
) -> None:
    """Write a trained proxy into a folder, which is made, for `HiddenStates.open`.

    Args:
        weights: of the model, by name; without the axis of members.
        texts: of those that it was trained on, one at least.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mean_D = _mean_states(_model(size, weights), tokenizer, texts).mean(axis=0)
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **weights, **{MEAN: mean_D})
    content, shapes = packed.getvalue(), asdict(size)
    write_whole(folder / WEIGHTS, content)
    write_whole(folder / TOKENIZER, tokenizer.definition.encode())
    about = {
        "kind": KIND,
        "format": FORMAT,
        "identity": _identity(shapes, content, tokenizer.definition),
        "model": shapes,
    }
    write_whole(folder / ABOUT, json.dumps(about, indent=1).encode())


def _identity(shapes: Mapping[str, Any], content: bytes, definition: str) -> str:
    digest = hashlib.sha256(json.dumps(shapes, sort_keys=True).encode())
    for part in (content, definition.encode()):
        digest.update(hashlib.sha256(part).digest())
    return f"{KIND}-{FORMAT}-{digest.hexdigest()[:16]}"


def _model(size: ModelSize, weights: Mapping[str, NDArray[np.float32]]) -> Transformer:
    """
    Raises:
        RuntimeError: these are the weights of a model of other shapes.
    """
    import torch

    from proxies.models.transformer import Transformer

    model = Transformer(size, [torch.Generator()])
    model.load_state_dict({name: torch.from_numpy(np.array(array))[None] for name, array in weights.items()})
    return model


def _mean_states(model: Transformer, tokenizer: CorpusTokenizer, texts: Sequence[str]) -> Float[np.ndarray, "N D"]:
    """The mean hidden state of each text; of an empty one that of its beginning."""
    import torch

    rows_RT, lengths_R, text_R = _rows(tokenizer, texts, model.size.sequence_length)
    sums_ND, at_once = np.zeros((len(texts), model.size.width), np.float32), max(1, TOKENS_AT_ONCE // rows_RT.shape[1])
    with torch.inference_mode(), device.one_thread():
        for start in range(0, len(rows_RT), at_once):
            part = slice(start, start + at_once)
            hidden_RTD = model.hidden(torch.from_numpy(rows_RT[part])[None])[0].numpy()
            is_text_RT = np.arange(rows_RT.shape[1]) < lengths_R[part, None]
            np.add.at(sums_ND, text_R[part], np.einsum("rtd,rt->rd", hidden_RTD, is_text_RT.astype(np.float32)))
    tokens_N = np.bincount(text_R, lengths_R, len(texts)).astype(np.float32)
    mean_ND: Float[np.ndarray, "N D"] = sums_ND / tokens_N[:, None]
    return mean_ND


def _rows(
    tokenizer: CorpusTokenizer, texts: Sequence[str], length: int
) -> tuple[Int[np.ndarray, "R T"], Int[np.ndarray, " R"], Int[np.ndarray, " R"]]:
    """Rows of tokens, how many of each are a text's, and whose. Each begins behind an end of text, as documents do."""
    rows, lengths, owners = [], [], []
    for place, found in enumerate(tokenizer.encode([(None, excerpt(text)) for text in texts])):
        tokens_N, most = found.tokens_N[:-1], max(length - 1, 1)
        count = min(MOST_ROWS, max(1, -(-len(tokens_N) // most)))
        for start in np.linspace(0, max(len(tokens_N) - most, 0), count).round().astype(np.int64).tolist():
            row_T = np.full(length, tokenizer.end_of_text_id, dtype=np.int64)
            mine = tokens_N[start : start + length - 1]
            row_T[1 : len(mine) + 1] = mine
            rows.append(row_T)
            lengths.append(len(mine) + 1)
            owners.append(place)
    return np.stack(rows), np.array(lengths), np.array(owners)
