"""Where random numbers come from: generators derived from explicit parts, never from global state."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def generator(*parts: int | str) -> np.random.Generator:
    """The generator that belongs to these parts (study seed, purpose, ...), equal in every process."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
