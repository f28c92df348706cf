"""The tokenizer of a corpus: a given tokenizer.json, or a byte-level BPE trained on a sample of the domains."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from proxies.data.format import LARGEST_VOCABULARY
from proxies.errors import ProxyError
from proxies.storage import url_options

END_OF_TEXT = "<|endoftext|>"
END_OF_TEXT_NAMES = (
    END_OF_TEXT,
    "<|end_of_text|>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",  # DeepSeek's, between wide bars
    "</s>",
    "<eos>",
    "<|im_end|>",
    "[EOS]",
    "[SEP]",
)
# Raised when the same texts give another tokenizer. 2: text without spaces is learned from in parts.
LEARNING = 2
LONG_RUN = re.compile(r"\S{1000}(?=\S)")
OTHER_TOKENIZER = "give a tokenizer made for this text, or leave tokenizer_file out to train one"
NAME_A_FILE = "name a tokenizer.json; that of a model on the hub is hf://OWNER/NAME/tokenizer.json"
LARGEST_FILE = 1 << 28  # bytes of a tokenizer.json
SMALLEST_VOCABULARY = 257  # one token a byte, and the end of text

# A tokenizer that does not match its corpus: measured on a sample of each domain.
HIGHEST_UNKNOWN_SHARE = 0.01
LOWEST_SURVIVING_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class TokenisedDocument:
    """One document as tokens, the end-of-text token last.

    Attributes:
        hash: 64 bits of its content; equal for texts that differ in white space only.
        tokens_N: its tokens, uint32.
        prompt_tokens: so many of them, at the front, carry no loss.
        text_bytes: UTF-8 bytes of its whole text.
        loss_bytes: UTF-8 bytes of the text whose tokens carry loss; the end of text has none.
    """

    hash: int
    tokens_N: NDArray[np.uint32]
    prompt_tokens: int
    text_bytes: int
    loss_bytes: int


class CorpusTokenizer:
    """A `tokenizers` tokenizer with its end-of-text token; special tokens written in a text are ordinary text.

    Raises:
        ProxyError: `definition` is no tokenizer.json, or has no end-of-text token.
    """

    def __init__(self, definition: str, name: str = "tokenizer.json") -> None:
        _check_ids(definition, name)
        hint = "give a tokenizer.json as Hugging Face tokenizers saves it"
        with _explained(f"{name} is no tokenizer", hint), _quiet():
            self._tokenizer = Tokenizer.from_str(definition)
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
            # Saved in sorted form, so that the hash depends on the tokenizer alone.
            self.definition = json.dumps(json.loads(self._tokenizer.to_str()), sort_keys=True)
            self._tokenizer.encode_special_tokens = True
            ids = self._tokenizer.get_vocab(with_added_tokens=True)
        self.hash = hashlib.sha256(self.definition.encode()).hexdigest()
        self._name = name
        self.vocabulary: int = max(ids.values(), default=0) + 1
        self.end_of_text = next((token for token in END_OF_TEXT_NAMES if token in ids), "")
        if not self.end_of_text:
            raise ProxyError(
                f"{name} has no end-of-text token, which separates documents",
                hint=f"add one of these as a special token: {' '.join(END_OF_TEXT_NAMES)}",
            )
        self.end_of_text_id: int = ids[self.end_of_text]

    @property
    def dtype(self) -> np.dtype[np.uint16] | np.dtype[np.uint32]:
        """Little-endian on every machine, so that shards may travel."""
        return np.dtype("<u2") if self.vocabulary <= 1 << 16 else np.dtype("<u4")

    def encode(self, documents: Sequence[tuple[str | None, str]]) -> list[TokenisedDocument]:
        """Tokenises pairs of prompt (or None) and text; prompt and text are encoded apart and share no token."""
        prompts = [prompt for prompt, _ in documents if prompt is not None]
        prompt_ids = iter(self._ids(prompts))
        result = []
        for (prompt, text), text_ids in zip(documents, self._ids([text for _, text in documents]), strict=True):
            front = [] if prompt is None else next(prompt_ids)
            tokens_N = np.array([*front, *text_ids, self.end_of_text_id], dtype=np.uint32)
            loss_bytes = len(text.encode())
            whole = text if prompt is None else prompt + text
            text_bytes = loss_bytes if prompt is None else len(whole.encode())
            result.append(TokenisedDocument(content_hash(whole), tokens_N, len(front), text_bytes, loss_bytes))
        return result

    def texts(self, ids: Sequence[NDArray[Any]]) -> list[str]:
        """The text of each row of tokens, without special ones; a character that is cut by its ends is lost."""
        return self._tokenizer.decode_batch([row.tolist() for row in ids], skip_special_tokens=True)

    def check_matches(self, name: str, texts: Sequence[str]) -> None:
        """Checks on a sample that domain `name` is written in a language that this tokenizer speaks.

        At most 1% of the tokens may be unknown, and most texts without an unknown token must come back from
        decode(encode(text)), case, accents and white space put aside: tokenizers that fold these on purpose pass.

        Raises:
            ProxyError: the tokenizer does not match.
        """
        unknown = self._unknown_id()
        ids = self._ids(texts)
        tokens = sum(map(len, ids))
        unknowns = sum(row.count(unknown) for row in ids) if unknown is not None else 0
        if unknowns > HIGHEST_UNKNOWN_SHARE * tokens:
            raise ProxyError(
                f"{name}: the tokenizer does not match the text: {unknowns / tokens:.1%} of {tokens:,} sampled tokens"
                " are unknown to it",
                hint=OTHER_TOKENIZER,
            )
        known = [(text, row) for text, row in zip(texts, ids, strict=True) if unknown is None or unknown not in row]
        changed = sum(
            _bare(text) != _bare(self._tokenizer.decode(row, skip_special_tokens=False)) for text, row in known
        )
        if changed > (1 - LOWEST_SURVIVING_SHARE) * len(known):
            raise ProxyError(
                f"{name}: the tokenizer does not match the text: {changed} of {len(known)} sampled documents come back"
                " changed from encoding and decoding",
                hint=OTHER_TOKENIZER,
            )

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        with _explained(f"{self._name} fails on the text", OTHER_TOKENIZER):
            return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def _unknown_id(self) -> int | None:
        model = json.loads(self.definition)["model"]
        if model.get("unk_id") is not None:
            return int(model["unk_id"])
        token = model.get("unk_token")
        return None if token is None else self._tokenizer.token_to_id(token)


def _check_ids(definition: str, name: str) -> None:
    """Before the library reads it, which would take room for every id up to the largest.

    Raises:
        ProxyError: an id is larger than that of any token.
    """
    try:
        model = json.loads(definition)["model"]["vocab"]
        ids = [each for each in model.values() if isinstance(each, int)] if isinstance(model, dict) else []
    except (ValueError, TypeError, LookupError, RecursionError):
        return  # whoever reads it says what is wrong with it
    if max(ids, default=0) >= LARGEST_VOCABULARY:
        raise ProxyError(
            f"{name}: a token has the id {max(ids):,}, and a model has a row for each id",
            hint=f"number the tokens from 0 on, below {LARGEST_VOCABULARY:,}",
        )


@contextmanager
def _explained(what: str, hint: str) -> Iterator[None]:
    """The library raises nothing narrower than Exception; and where it panics, what does not even derive from that.

    Raises:
        ProxyError: for whatever it raises.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:
        raise ProxyError(f"{what}: {' '.join(str(error).split())}", hint) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """What the library writes to the standard error of the process where it panics is left out: it raises the same."""
    sys.stderr.flush()
    with ExitStack() as stack:
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, kept)
        stack.callback(os.dup2, kept, 2)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield


def load_tokenizer(file: str) -> CorpusTokenizer:
    """The tokenizer in a tokenizer.json, on a disk or behind an fsspec URL.

    Raises:
        ProxyError: the file cannot be read, or see `CorpusTokenizer`.
    """
    if "://" not in file and not Path(file).is_file():
        what = "is a folder, a pipe or a device" if Path(file).exists() else "is not there"
        raise ProxyError(f"tokenizer {file} {what}", hint=NAME_A_FILE)
    try:
        with fsspec.open(file, "rb", **url_options(file)) as opened:
            content = opened.read(LARGEST_FILE + 1)
        definition = content.decode()
    except Exception as error:  # every file system has its own; the cause stays attached
        reason = " ".join(str(error).split())
        raise ProxyError(f"tokenizer {file} cannot be read: {reason}", hint=NAME_A_FILE) from error
    if len(content) > LARGEST_FILE:
        raise ProxyError(f"tokenizer {file} is larger than {LARGEST_FILE >> 20} MB", hint="name a tokenizer.json")
    return CorpusTokenizer(definition, file)


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> CorpusTokenizer:
    """A byte-level BPE of at most `vocabulary` tokens; the same texts give the same tokenizer.

    Raises:
        ProxyError: the vocabulary cannot hold every byte.
    """
    if vocabulary < SMALLEST_VOCABULARY:
        raise ProxyError(
            f"a vocabulary of {vocabulary} cannot hold every byte",
            hint=f"set vocabulary to {SMALLEST_VOCABULARY} or more",
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((part for text in texts for part in _parts(text)), trainer)
    return CorpusTokenizer(tokenizer.to_str())


def _parts(text: str) -> Iterator[str]:
    """A text cut where it runs on without white space: pairs are counted anew in the whole of a word that one is in,
    so that proteins or base64 would take minutes a million letters."""
    start = 0
    for run in LONG_RUN.finditer(text):
        yield text[start : run.end()]
        start = run.end()
    yield text[start:]


def content_hash(text: str) -> int:
    """64 bits that texts share when they differ in white space only: "Q?" before "A" is the text "Q? A"."""
    bare = "".join(text.split()).encode()
    return int.from_bytes(hashlib.blake2b(bare, digest_size=8).digest(), "little")


def _bare(text: str) -> str:
    """`text` without case, accents and white space."""
    split = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in split if not (unicodedata.combining(letter) or letter.isspace()))
