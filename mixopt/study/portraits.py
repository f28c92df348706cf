"""Portraits of a study's pools, kept with its run in MLflow: by them other studies know its text again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proxies.data.corpus import Corpus
from proxies.data.portrait import Portrait
from tracking import keys

if TYPE_CHECKING:
    from tracking.mlflow_store import StudyRun

DIGITS = 12


@dataclass(frozen=True)
class Pictured:
    """One pool, or evaluation set.

    Attributes:
        tokens: digest of a pool's tokens; "" of an evaluation set.
        held_out: digest of which documents are held out of it to be measured on.
    """

    portrait: Portrait
    tokens: str
    held_out: str


@dataclass(frozen=True)
class Portraits:
    """
    Attributes:
        tokenizer: digest of the tokenizer.
        pools, evaluation: by name; a pool's own evaluation set is with the pool.
    """

    tokenizer: str
    pools: Mapping[str, Pictured]
    evaluation: Mapping[str, Pictured]

    @classmethod
    def of(cls, corpus: Corpus) -> Portraits:
        def pictured(name: str) -> Pictured:
            tokens = corpus.content(name) if name in corpus.domains else ""
            return Pictured(corpus.portrait(name), tokens, corpus.held_out_documents(name))

        extra = [name for name in corpus.evaluation_sets if name not in corpus.domains]
        return cls(
            hashlib.sha256(corpus.tokenizer_file.read_bytes()).hexdigest(),
            {name: pictured(name) for name in corpus.domains},
            {name: pictured(name) for name in extra},
        )

    @property
    def sets(self) -> dict[str, Pictured]:
        """All that losses are measured on, by name."""
        return {**self.pools, **self.evaluation}

    def show(self, run: StudyRun) -> None:
        """Keep them with the study's run.

        Raises:
            TrackingError: the store does not take them.
        """
        text = json.dumps(self._plain(), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
        if run.tags.get(keys.PORTRAITS) != digest:
            run.attach(text, keys.PORTRAITS_FILE)
            run.set_tags({keys.PORTRAITS: digest})

    @classmethod
    def shown_by(cls, run: StudyRun) -> Portraits | None:
        """Those that a study's run has; None where it has none, as of a version before, or none that can be read.

        Raises:
            TrackingError: the store does not give them.
        """
        if not run.tags.get(keys.PORTRAITS):
            return None
        try:
            plain = json.loads(run.read(keys.PORTRAITS_FILE))
            pools, evaluation = ({name: _pictured(each) for name, each in plain[part].items()} for part in PARTS)
            return cls(str(plain["tokenizer"]), pools, evaluation)
        except (ValueError, LookupError, TypeError, AttributeError):
            return None

    def _plain(self) -> dict[str, Any]:
        parts = (self.pools, self.evaluation)
        return {"tokenizer": self.tokenizer} | {
            name: {
                pool: {"portrait": each.portrait.plain(), "tokens": each.tokens, "held_out": each.held_out}
                for pool, each in part.items()
            }
            for name, part in zip(PARTS, parts, strict=True)
        }


PARTS = ("pools", "evaluation")


def _pictured(plain: Mapping[str, Any]) -> Pictured:
    return Pictured(Portrait.from_plain(plain["portrait"]), str(plain["tokens"]), str(plain["held_out"]))
