"""Checkpoints of a run: written whole or not at all, and read back only by the run that wrote them."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from proxies import storage

DIGEST_BYTES = 32


def save(place: str | Path, identity: str, state: dict[str, Any]) -> None:
    """Write tensors, numbers, strings and containers of these; `identity` names the run that they belong to.

    Raises:
        ProxyError: it cannot be written.
    """
    buffer = io.BytesIO(bytes(DIGEST_BYTES))
    buffer.seek(DIGEST_BYTES)
    torch.save(state, buffer)
    with buffer.getbuffer() as content:
        content[:DIGEST_BYTES] = _digest(identity, content[DIGEST_BYTES:])
    storage.write(place, buffer.getvalue())


def load(place: str | Path, identity: str) -> dict[str, Any] | None:
    """What was saved, its tensors on the CPU; None where the file is damaged or another run's.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ProxyError: it cannot be read.
    """
    content = memoryview(storage.read(place))
    digest, payload = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if digest != _digest(identity, payload):
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return state


def _digest(identity: str, payload: memoryview) -> bytes:
    digest = hashlib.sha256(identity.encode())
    digest.update(payload)
    return digest.digest()
