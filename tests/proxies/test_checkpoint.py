"""Checkpoints behind a URL: a run goes on from them on another machine, and nothing in them is ever executed."""

from __future__ import annotations

import errno
import hashlib
import pickle
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from proxies import checkpoint, storage
from proxies.run import UNWRITTEN
from proxies.train import train
from tests.proxies.toy import EVALUATION_SETS, ToyStream, numbers, result_of, toy_recipe


@pytest.fixture(params=["memory://", "file://", ""])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}{tmp_path}/checkpoints/study/trial.pt"


def test_a_run_closed_midway_goes_on_from_wherever_its_checkpoint_is(place: str) -> None:
    recipe = toy_recipe("dense")
    begun = train(recipe, ToyStream(), EVALUATION_SETS, seed=1, checkpoint=place, checkpoint_seconds=0)
    next(begun)
    begun.close()
    saved = checkpoint_steps(place)

    assert 0 < saved < recipe.steps
    assert numbers(result_of(recipe, checkpoint=place)) == numbers(result_of(recipe))
    assert checkpoint_steps(place) == recipe.steps
    assert list(storage.sizes(place.removesuffix("/trial.pt"))) == ["trial.pt"]


def checkpoint_steps(place: str) -> int:
    """The step that a run is saved at, whoever's it is."""
    payload = storage.read(place)[checkpoint.DIGEST_BYTES :]
    storage.write(f"{place}.copy", hashlib.sha256(b"anyone" + payload).digest() + payload)
    state = checkpoint.load(f"{place}.copy", "anyone")
    storage.remove(f"{place}.copy")
    assert state is not None
    steps: int = state["run"]["step"]
    return steps


def test_a_removed_checkpoint_begins_anew(place: str) -> None:
    first = result_of(toy_recipe("dense"), checkpoint=place)
    storage.remove(place)
    storage.remove(place)

    with pytest.raises(FileNotFoundError):
        storage.read(place)
    assert numbers(result_of(toy_recipe("dense"), checkpoint=place)) == numbers(first)


class Full(MemoryFileSystem):  # type: ignore[misc]
    protocol = "full"
    cachable = False

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_run_whose_checkpoint_cannot_be_written_ends_all_the_same_and_says_so() -> None:
    fsspec.register_implementation("full", Full, clobber=True)
    recipe = toy_recipe("dense")

    result = result_of(recipe, checkpoint="full://trial.pt")

    assert result.losses == result_of(recipe).losses
    assert 1 <= result.diagnostics[UNWRITTEN] <= recipe.steps


def test_code_in_a_checkpoint_is_not_executed(tmp_path: Path) -> None:
    payload = pickle.dumps(Touch(str(tmp_path / "executed")), protocol=2)
    content = hashlib.sha256(b"run" + payload).digest() + payload
    with fsspec.open(f"memory://{tmp_path}/trial.pt", "wb") as file:
        file.write(content)

    with pytest.raises(pickle.UnpicklingError):
        checkpoint.load(f"memory://{tmp_path}/trial.pt", "run")
    assert not (tmp_path / "executed").exists()


class Touch:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")
