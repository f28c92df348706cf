"""A prepared corpus, opened: what its manifest says, and the tokens behind it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from proxies.data.format import LARGEST_VOCABULARY, read_json
from proxies.data.portrait import WINDOWS, Portrait, windows
from proxies.data.shards import Shard, TokenArray, TokenType
from proxies.data.tokenizer import CorpusTokenizer, load_tokenizer
from proxies.errors import ProxyError

MANIFEST = "manifest.json"
# Groups of the documents of a set, at most: enough to tell how much hangs on which documents it has.
MOST_GROUPS = 32
# Of the digest of a domain's tokens, hexadecimal.
DIGITS = 16


_Amount = Annotated[int, Field(ge=0, le=1 << 60)]


@dataclass(frozen=True)
class DomainSummary:
    """What a domain holds.

    Attributes:
        documents: with text, as they stand in the sources, for training or not; a text file is one.
        train_tokens, validation_tokens: end-of-text tokens included; validation is what the search ranks by.
        bytes: UTF-8 bytes of all documents read, for training or not.
        dropped_empty: documents without text.
        dropped_contaminated: documents, or pieces of long ones, kept out of training because some evaluation set
            holds them.
        mean_document_tokens: tokens of all `documents`, for training or not, by their number.
        confirmation_tokens: of the documents that were held out for the confirmation; 0 where it has no set of its own.
    """

    documents: int
    train_tokens: int
    validation_tokens: int
    bytes: int
    dropped_empty: int
    dropped_contaminated: int
    mean_document_tokens: float
    confirmation_tokens: int = 0


@dataclass(frozen=True)
class EvaluationTokens:
    """One evaluation set. It opens with an end-of-text token, so that every token of text has one before it.

    Attributes:
        tokens_N: all its documents, each ended by an end-of-text token.
        loss_mask_N: uint8, 1 where a token carries loss; None where all do.
        bytes: UTF-8 bytes of exactly the text whose tokens carry loss.
        group_N: which group of whole documents a token is in, the end-of-text token that opens the set in the first;
            None where the set is not divided.
        bytes_G: `bytes` of each group.
    """

    tokens_N: NDArray[np.uint16] | NDArray[np.uint32]
    loss_mask_N: NDArray[np.uint8] | None
    bytes: int
    group_N: NDArray[np.int64] | None = None
    bytes_G: tuple[int, ...] = ()


def group_of_documents(documents: int) -> NDArray[np.int64]:
    """The group of each document of a set, in the order of their content hashes, dealt out one after the other, [N]."""
    return np.arange(documents) % MOST_GROUPS


def bytes_of_groups(bytes_N: NDArray[np.int64]) -> list[int]:
    """Bytes of each group, from those of each document of the set, in the order of their content hashes."""
    return [int(total) for total in np.bincount(group_of_documents(len(bytes_N)), weights=bytes_N)]


class _Checked(BaseModel):
    """A part of a manifest as `prepare` writes it; whatever is not so was damaged."""

    model_config = ConfigDict(strict=True)


class _Set(_Checked):
    """A held-out set."""

    held_out: Shard


class _Portrait(_Checked):
    coordinates: list[float]
    documents: list[str]
    whole: bool


class _Confirmation(_Set):
    group_bytes: Annotated[list[_Amount], Field(min_length=1, max_length=MOST_GROUPS)]
    searched_elsewhere: bool = False


class _Evaluation(_Set):
    loss_bytes: _Amount
    confirmation: _Confirmation | None = None
    portrait: _Portrait | None = None


class _Domain(_Evaluation):
    summary: DomainSummary
    train: Annotated[list[Shard], Field(min_length=1)]


class _Text(_Checked):
    shape: str
    sha256: str | None


class _Manifest(_Checked):
    fingerprint: str
    vocabulary: Annotated[int, Field(ge=1, le=LARGEST_VOCABULARY)]
    end_of_text_id: _Amount
    tokenizer: str
    inputs: str
    text: _Text | None = None
    dtype: Literal["<u2", "<u4"]
    domains: Annotated[dict[str, _Domain], Field(min_length=1)]
    evaluations: dict[str, _Evaluation]


class Corpus:
    """A prepared corpus, read-only. Cheap to open; pickled, only its directory travels.

    Attributes:
        fingerprint: the same on any machine for the same tokenizer and domains of the same documents, read in the
            same order and cut into the same shards.
        vocabulary: rows that an embedding table needs.
        domains: in the order in which they were named.
        evaluation_sets: all domains, then the extra evaluation sets.
        has_confirmation_sets: False of a corpus that a version before 0.2 prepared, which held out one set of each.
        inputs: fingerprint of the files and settings that it was made of.
        text: `shape`, a digest of the same but for where the files lie and what they hold, and `sha256`, of what they
            hold, None where one changed meanwhile; empty of a corpus of a version that kept neither.
    """

    def __init__(self, directory: Path, manifest: Mapping[str, Any]) -> None:
        self.directory = directory
        self.fingerprint: str = manifest["fingerprint"]
        self.vocabulary: int = manifest["vocabulary"]
        self.end_of_text_id: int = manifest["end_of_text_id"]
        self.tokenizer_file = directory / manifest["tokenizer"]
        self.inputs: str = manifest["inputs"]
        self.text: Mapping[str, str | None] = manifest.get("text") or {}
        self.domains = {name: DomainSummary(**entry["summary"]) for name, entry in manifest["domains"].items()}
        held_out = manifest["domains"] | manifest["evaluations"]
        self.evaluation_sets = tuple(held_out)
        self._dtype: TokenType = np.dtype(manifest["dtype"])
        self._train = {
            name: [Shard(**shard) for shard in entry["train"]] for name, entry in manifest["domains"].items()
        }
        self._held_out = {name: (Shard(**entry["held_out"]), entry["loss_bytes"]) for name, entry in held_out.items()}
        self.has_confirmation_sets = all("confirmation" in entry for entry in held_out.values())
        self._searched_elsewhere = tuple(
            name for name, entry in held_out.items() if entry.get("confirmation", {}).get("searched_elsewhere")
        )
        self._confirmation = {
            name: (Shard(**entry["confirmation"]["held_out"]), tuple(entry["confirmation"]["group_bytes"]))
            for name, entry in held_out.items()
            if self.has_confirmation_sets
        }
        self._train_arrays: dict[tuple[str, str], TokenArray] = {}
        self._portraits = {
            name: Portrait.from_plain(entry["portrait"]) for name, entry in held_out.items() if entry.get("portrait")
        }

    @classmethod
    def open(cls, directory: Path) -> Corpus:
        """Opens what `prepare` wrote.

        Raises:
            ProxyError: there is no finished corpus, or one that another version wrote, or its manifest is damaged.
        """
        manifest = read_json(directory / MANIFEST)
        if manifest is None:
            raise ProxyError(
                f"no finished corpus in {directory}",
                hint="prepare it; what is there already is used",
            )
        try:
            _Manifest.model_validate_json(json.dumps(manifest))
            return cls(directory, manifest)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        except (TypeError, LookupError, ValueError) as error:
            reason = str(error)
        raise ProxyError(
            f"{directory / MANIFEST} is damaged: {reason}", hint="remove it, and prepare the text again: mixopt prepare"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Corpus.open, (self.directory,)

    def verify(self) -> None:
        """Compares the sizes of all shard files with the manifest; their content is not read.

        Raises:
            ProxyError: a file is missing or has another size.
        """
        for shard in self.shards:
            shard.check_sizes(self.directory, self._dtype)

    @property
    def compared_bytes(self) -> int:
        """So many `verify_content` reads."""
        return sum(self._compared_bytes(shard) for shard in self.shards)

    def verify_content(self, on_bytes: Callable[[int], object] = lambda read: None) -> None:
        """Compares what all shard files hold with the manifest: a changed bit would be other losses, without a word.

        Args:
            on_bytes: told how many more were read.

        Raises:
            ProxyError: a file holds something else.
        """
        for shard in self.shards:
            shard.check_content(self.directory)
            on_bytes(self._compared_bytes(shard))

    def _compared_bytes(self, shard: Shard) -> int:
        return shard.tokens * (self._dtype.itemsize + shard.masked)

    @property
    def shards(self) -> list[Shard]:
        """All of them, for training and held out."""
        train = [shard for shards in self._train.values() for shard in shards]
        held_out = [shard for shard, _ in self._held_out.values()]
        return [*train, *held_out, *(self._confirmation[name][0] for name in self.confirmed_apart)]

    def content(self, domain: str) -> str:
        """A digest of the tokens of `domain`, for training and held out: the same wherever they lie."""
        apart = [self._confirmation[domain][0]] if domain in self.confirmed_apart else []
        shards = [*self._train[domain], self._held_out[domain][0], *apart]
        return hashlib.sha256(" ".join(shard.sha256 for shard in shards).encode()).hexdigest()[:DIGITS]

    def portrait(self, name: str) -> Portrait:
        """What the text of a domain, or of a further evaluation set, is like.

        As `prepare` kept it; made now of a corpus that an earlier version prepared.
        """
        known = self._portraits.get(name)
        return known if known is not None else self.draw_portrait(name, self.tokenizer())

    def draw_portrait(self, name: str, tokenizer: CorpusTokenizer) -> Portrait:
        """As `portrait`, made from the tokens."""
        texts = self.texts(name, tokenizer) if name in self.domains else self.evaluation_texts(name, tokenizer)
        apart = [self._confirmation[name][0]] if name in self.confirmed_apart else []
        shards = [*self._train.get(name, ()), self._held_out[name][0], *apart]
        hashes = np.concatenate([shard.documents_N2(self.directory)[:, 0] for shard in shards])
        return Portrait.of(texts, hashes)

    def texts(self, domain: str, tokenizer: CorpusTokenizer, count: int = WINDOWS) -> list[str]:
        """Pieces of the training text of `domain`, evenly spaced."""
        return tokenizer.texts(windows(self.train_tokens(domain), count))

    def evaluation_texts(self, name: str, tokenizer: CorpusTokenizer, count: int = WINDOWS) -> list[str]:
        """Pieces of an evaluation set, evenly spaced."""
        return tokenizer.texts(windows(self.evaluation(name).tokens_N[1:], count))

    def tokenizer(self) -> CorpusTokenizer:
        return load_tokenizer(str(self.tokenizer_file))

    def held_out_documents(self, name: str) -> str:
        """A digest of which documents evaluation set `name` holds: the same for any tokenizer."""
        codes = np.sort(self._held_out[name][0].documents_N2(self.directory)[:, 0])
        return hashlib.sha256(codes.tobytes()).hexdigest()[:DIGITS]

    def train_tokens(self, domain: str) -> TokenArray:
        """The training tokens of `domain`, all documents one after the other."""
        return self._train_array(domain, ".tokens", self._dtype)

    def train_loss_mask(self, domain: str) -> TokenArray | None:
        """1 where a training token carries loss; None where all do."""
        return self._train_array(domain, ".mask", np.dtype(np.uint8)) if self._train[domain][0].masked else None

    def searched_hashes(self, name: str) -> NDArray[np.uint64]:
        """The content hashes of the documents that the search ranks mixtures by, of one evaluation set, [N]."""
        return self._held_out[name][0].documents_N2(self.directory)[:, 0]

    @property
    def confirmed_apart(self) -> tuple[str, ...]:
        """The evaluation sets whose confirmation has documents of its own."""
        return tuple(name for name, (shard, _) in self._confirmation.items() if shard != self._held_out[name][0])

    @property
    def searched_elsewhere(self) -> tuple[str, ...]:
        """The evaluation sets whose documents for the confirmation the search measures on, in other sets."""
        return self._searched_elsewhere

    def evaluation(self, name: str) -> EvaluationTokens:
        """The evaluation set `name`, which the search ranks mixtures by."""
        return self._opened(*self._held_out[name])

    def confirmation(self, name: str) -> EvaluationTokens:
        """What stands for evaluation set `name` in a confirmation, its documents in groups.

        Other documents than the search's, where there are enough of them; a corpus of a version before 0.2 has the
        same set for both, undivided.
        """
        if not self.has_confirmation_sets:
            return self.evaluation(name)
        shard, bytes_G = self._confirmation[name]
        tokens_of_N = shard.documents_N2(self.directory)[:, 1].astype(np.int64)
        group_N = np.repeat(group_of_documents(len(tokens_of_N)), tokens_of_N)
        opened_N = np.concatenate([np.zeros(1, np.int64), group_N])
        return replace(self._opened(shard, sum(bytes_G)), group_N=opened_N, bytes_G=bytes_G)

    def _opened(self, shard: Shard, loss_bytes: int) -> EvaluationTokens:
        tokens_N = self._array([shard], ".tokens", self._dtype)[:]
        mask_N = None
        if shard.masked:
            mask_N = np.concatenate([np.zeros(1, np.uint8), self._array([shard], ".mask", np.dtype(np.uint8))[:]])
        opened_N = np.concatenate([np.array([self.end_of_text_id], self._dtype), tokens_N])
        return EvaluationTokens(opened_N, mask_N, loss_bytes)

    def _train_array(self, domain: str, ending: str, dtype: np.dtype[Any]) -> TokenArray:
        """One for all that read it: each holds files open."""
        if (domain, ending) not in self._train_arrays:
            self._train_arrays[domain, ending] = self._array(self._train[domain], ending, dtype)
        return self._train_arrays[domain, ending]

    def _array(self, shards: Sequence[Shard], ending: str, dtype: np.dtype[Any]) -> TokenArray:
        files = [self.directory / (shard.name + ending) for shard in shards]
        return TokenArray(files, [shard.tokens for shard in shards], dtype)
