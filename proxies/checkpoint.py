"""Checkpoints of a run: written whole or not at all, and read back only by the run that wrote them."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import torch

DIGEST_BYTES = 32


def save(path: Path, identity: str, state: dict[str, Any]) -> None:
    """Write tensors, numbers, strings and containers of these; `identity` names the run that they belong to."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(_digest(identity, buffer.getbuffer()))
        file.write(buffer.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load(path: Path, identity: str) -> dict[str, Any] | None:
    """What was saved, its tensors on the CPU; None where the file is damaged or another run's.

    Raises:
        FileNotFoundError: there is no checkpoint.
    """
    content = memoryview(path.read_bytes())
    digest, payload = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if digest != _digest(identity, payload):
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return state


def _digest(identity: str, payload: memoryview) -> bytes:
    digest = hashlib.sha256(identity.encode())
    digest.update(payload)
    return digest.digest()
