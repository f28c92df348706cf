"""Whether a step can be compiled here, and compiling it once.

A compiled step is fused into a few kernels, and about half as fast again as the same step run operation by operation.
torch keeps what it compiled on disk (TORCHINDUCTOR_CACHE_DIR), where every later process of this machine finds it. What
both take stands in docs/proxies.md.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import stat
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

import torch

from proxies.lock import LockHeld, locked
from proxies.recipe import Recipe

Function = TypeVar("Function", bound=Callable[..., object])

# A compilation takes a minute or two. Whoever has waited so long for another's makes its own: only time is lost.
WAIT_SECONDS = 900.0


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
def compile_function(function: Function, mode: str | None) -> Function:
    """`function`, compiled for each new shape when it is first called with it: do that inside `compiling`."""
    return cast("Function", torch.compile(function, dynamic=False, mode=mode))


@contextmanager
def compiling(what: str) -> Iterator[None]:
    """Of the processes of this machine that compile `what`, one does; the others wait, and find what it made."""
    import torch._dynamo.config
    import torch._functorch.config
    import torch._inductor.config

    bits = _loop_bits()
    folder, name = _own_folder(), hashlib.sha256(f"{what} {bits}".encode()).hexdigest()[:16]
    with ExitStack() as stack:
        if folder is not None and not (folder / f"{name}.made").exists():
            with suppress(LockHeld):
                stack.enter_context(locked(folder / f"{name}.lock", WAIT_SECONDS))
        # torch keeps nothing that has a custom backward pass unless told that it depends on its inputs alone.
        stack.enter_context(torch._functorch.config.patch(autograd_cache_allow_custom_autograd_functions=True))
        # Each recipe is a shape; beyond torch's eight it would fall back to slow steps, with a warning.
        stack.enter_context(torch._dynamo.config.patch(recompile_limit=1000, accumulated_recompile_limit=1000))
        stack.enter_context(torch._inductor.config.patch({"cpp.simdlen": bits}))
        yield
        if folder is not None:
            (folder / f"{name}.made").touch()


def _loop_bits() -> int | None:
    """How wide the loops of compiled steps are; None for as wide as the processor has them.

    With loops of 512 bits, torch 2.13's bf16 steps of some shapes (width 128, 256 positions) are NaN from the second
    on, on processors with AMX. There the matrix products, most of a step, are the library's in any case.
    """
    return 256 if torch.cpu._is_amx_tile_supported() else None


def counted() -> Counter[str]:
    """What this process's compiled steps have done so far that makes them slower than they should be, and how often.

    torch goes on without a word: it leaves the graph for Python, runs kernels one by one that were to be one CUDA
    graph, or compiles anew for another shape.
    """
    from torch._dynamo.utils import counters

    return Counter(
        {
            "graph breaks": sum(counters["graph_break"].values()),
            "skipped CUDA graphs": counters["inductor"]["cudagraph_skips"],
            "compilations": counters["stats"]["unique_graphs"],
        }
    )


def _own_folder() -> Path | None:
    """A folder of this user on this machine that nobody else may enter; None where somebody else took its name."""
    folder = Path(tempfile.gettempdir(), f"mixopt-compiling-{os.getuid()}")
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077
    return folder if is_own else None
