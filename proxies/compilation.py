"""Whether a step can be compiled here, and compiling it once.

A compiled step is fused into a few kernels, about half as fast again as the same step run operation by operation.
Compiling takes from ten seconds to a minute; the result is kept on disk by torch (TORCHINDUCTOR_CACHE_DIR), where
every later process of this machine finds it within two seconds.
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

from proxies.device import Device
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


@cache
def compiled(function: Function, device: Device) -> Function:
    """`function`, compiled for each new shape when it is first called with it: do that inside `compiling`."""
    # Replayed as CUDA graphs, kernels this small follow each other without gaps.
    mode = "reduce-overhead" if device == "cuda" else None
    return cast("Function", torch.compile(function, dynamic=False, mode=mode))


@contextmanager
def compiling(what: str) -> Iterator[None]:
    """Of the processes of this machine that compile `what`, one does; the others wait, and find what it made."""
    import torch._dynamo.config
    import torch._functorch.config

    name = f"mixopt-compiling-{os.getuid()}-{hashlib.sha256(what.encode()).hexdigest()[:16]}"
    with (Path(tempfile.gettempdir()) / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with (
            # torch keeps nothing that has a custom backward pass unless told that it depends on its inputs alone.
            torch._functorch.config.patch(autograd_cache_allow_custom_autograd_functions=True),
            # Each recipe is a shape; beyond torch's eight it would fall back to slow steps, with a warning.
            torch._dynamo.config.patch(recompile_limit=1000, accumulated_recompile_limit=1000),
        ):
            yield
