"""Whether a step can be compiled here, and compiling it once.

A compiled step is fused into a few kernels, and about half as fast again as the same step run operation by operation.
torch keeps what it compiled on disk (TORCHINDUCTOR_CACHE_DIR), where every later process of this machine finds it. What
both take stands in docs/proxies.md.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

import torch

from proxies.recipe import Recipe

Function = TypeVar("Function", bound=Callable[..., object])


def missing(recipe: Recipe) -> str | None:
    """What is lacking here to compile its steps, in words; None where nothing is."""
    if recipe.model.experts is not None and recipe.precision == "fp32":
        return "bf16: torch compiles the experts' products in no other precision"
    if recipe.device == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package triton"
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        return "a C++ compiler (g++)"
    if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        return "Python's C headers (Python.h)"
    return None


def mode(recipe: Recipe) -> str | None:
    """How to compile its steps: on a GPU as CUDA graphs, so that small kernels follow each other without gaps."""
    if recipe.device != "cuda":
        return None
    # Before Hopper the grouped product asks the host for its sizes, which no graph can.
    if recipe.model.experts is not None and torch.cuda.get_device_capability() < (9, 0):
        return None
    return "reduce-overhead"


@cache
def compiled(function: Function, mode: str | None) -> Function:
    """`function`, compiled for each new shape when it is first called with it: do that inside `compiling`."""
    return cast("Function", torch.compile(function, dynamic=False, mode=mode))


@contextmanager
def compiling(what: str) -> Iterator[None]:
    """Of the processes of this machine that compile `what`, one does; the others wait, and find what it made."""
    import torch._dynamo.config
    import torch._functorch.config

    name = f"mixopt-compiling-{os.getuid()}-{hashlib.sha256(what.encode()).hexdigest()[:16]}"
    with (Path(tempfile.gettempdir()) / name).open("a+") as file:
        if not file.tell():  # nobody has come to the end of it yet
            fcntl.flock(file, fcntl.LOCK_EX)
        with (
            # torch keeps nothing that has a custom backward pass unless told that it depends on its inputs alone.
            torch._functorch.config.patch(autograd_cache_allow_custom_autograd_functions=True),
            # Each recipe is a shape; beyond torch's eight it would fall back to slow steps, with a warning.
            torch._dynamo.config.patch(recompile_limit=1000, accumulated_recompile_limit=1000),
        ):
            yield
        file.write("made\n")
