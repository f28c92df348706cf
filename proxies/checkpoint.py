"""Checkpoints of a run: written whole or not at all, by a thread, and read back only by the run that wrote them."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from time import perf_counter
from types import TracebackType
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


class Writer(AbstractContextManager["Writer"]):
    """Saves one state after the other while training goes on; whatever was begun is written when the context ends."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    def save(self, place: str | Path, identity: str, state: dict[str, Any]) -> Future[float]:
        """`save` a state that nobody changes from now on; gives the seconds that it took."""

        def write() -> float:
            began = perf_counter()
            save(place, identity, state)
            return perf_counter() - began

        return self._thread.submit(write)


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
