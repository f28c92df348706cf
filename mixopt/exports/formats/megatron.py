"""Megatron-LM and Megatron-core, which draw sequences of one length.

They take a list of odd length for paths without weights, without a word, and refuse a weight of 0.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from itertools import takewhile

from mixopt.base.errors import ConfigError
from mixopt.exports.formats.base import Carries, Draws, Exportable, Exporter, Weights, in_pairs

OPTION = "--data-path"


class Megatron(Exporter):
    name = "megatron"
    describes = "Megatron-LM: --data-path, weight and path prefix in turn"
    draws = (Draws.SEQUENCES,)
    suffix = ".txt"
    receipt = Carries.BESIDE

    def render(self, exportable: Exportable) -> str:
        return f"{OPTION} " + shlex.join(_in_turn(exportable)) + "\n"

    def read(self, text: str) -> Weights:
        # As a shell does with a line that ends in a backslash.
        words = shlex.split(text.replace("\\\n", " ").replace("\\\r\n", " "), comments=True)
        if words and not any(word.startswith("--") for word in words):
            return _pairs(words)  # a file for --data-args-path
        if OPTION not in words:
            raise ConfigError(f"there is no {OPTION}", hint="it is followed by weight and prefix in turn")
        after = words[words.index(OPTION) + 1 :]
        return _pairs(list(takewhile(lambda word: not word.startswith("--"), after)))


class MegatronSplits(Exporter):
    """The same weights for training alone; validation and test need lists of their own, so they stay empty."""

    name = "megatron-splits"
    describes = "Megatron-LM: a file for --per-split-data-args-path"
    draws = (Draws.SEQUENCES,)
    suffix = ".json"
    receipt = Carries.BESIDE

    def render(self, exportable: Exportable) -> str:
        return json.dumps({"train": _in_turn(exportable), "valid": None, "test": None}, indent=2) + "\n"

    def read(self, text: str) -> Weights:
        train = json.loads(text)["train"]
        return _pairs(train.split() if isinstance(train, str) else train)


def _in_turn(exportable: Exportable) -> list[str]:
    return [word for place, weight in exportable.weighted_places.items() for word in (repr(weight), place)]


def _pairs(words: Sequence[str]) -> Weights:
    if len(words) % 2:
        raise ConfigError(
            f"{len(words)} words are no pairs", hint="Megatron would read them as prefixes without weights"
        )
    return in_pairs(words[1::2], words[::2])
