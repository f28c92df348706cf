"""Batches larger than memory: what a step takes in micro-batches, and as a whole.

    python -m benchmarks.large_batches --json benchmarks/results/large_batches.json

The batch that the step law derives for 20 billion tokens, 442k tokens, and parts of it; a model of two layers. Each
step is a process of its own, with one thread and a limit on its memory: its seconds, the most memory that it had, and
the losses of its first two steps, which have to be the same either way.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

DERIVED_TOKENS = 20_000_000_000
LENGTH, VOCABULARY, DEPTH = 256, 4096, 2
STEPS = 2


def measured(rows: int, kind: str, whole: bool, memory: int) -> None:
    """Two steps in this process; prints JSON."""
    import torch

    from proxies import device, micro_batches
    from proxies.models.size import model_size
    from proxies.pack import Pack
    from proxies.recipe import recipe

    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    if whole:
        micro_batches.CPU_BYTES = 2**60
    size = model_size("moe" if kind == "moe" else "dense", DEPTH, VOCABULARY, LENGTH)
    # In full precision, where the two differ by the order of sums alone.
    asked = recipe(size, DERIVED_TOKENS, batch_rows=rows, precision="fp32")
    with device.one_thread():
        pack = Pack(asked, [0])
        generator = torch.Generator().manual_seed(0)
        shape = (1, rows, LENGTH)
        tokens = [torch.randint(VOCABULARY, shape, generator=generator) for _ in range(2 * STEPS)]
        began = time.perf_counter()
        losses = [
            pack.step(inputs, targets, torch.tensor([asked.learning_rate])).item()
            for inputs, targets in zip(tokens[::2], tokens[1::2], strict=True)
        ]
    print(
        json.dumps(
            {
                "losses": losses,
                "seconds_a_step": (time.perf_counter() - began) / STEPS,
                "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
                "micro_batch_rows": pack.micro_batches.rows,
            }
        )
    )


def one(rows: int, kind: str, whole: bool, memory: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.large_batches", "--measure", str(rows), "--kind", kind]
    command += ["--memory", str(memory), *(["--whole"] if whole else [])]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    row = {"kind": kind, "batch_tokens": rows * LENGTH, "in": "one" if whole else "micro-batches"}
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1]
        return row | {"failed": "out of memory" if "memory" in last.lower() else last}
    return row | dict(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", type=int, default=20 * 2**30, help="bytes that a step may take")
    parser.add_argument("--kinds", nargs="+", choices=["dense", "moe"], default=["dense", "moe"])
    parser.add_argument("--parts", nargs="+", type=int, default=[16, 4, 1], help="of the derived batch")
    parser.add_argument("--kind", choices=["dense", "moe"], help="of --measure")
    parser.add_argument("--measure", type=int, metavar="ROWS", help="two steps of so many rows, in this process")
    parser.add_argument("--whole", action="store_true", help="of --measure: as a whole")
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    if options.measure:
        measured(options.measure, options.kind, options.whole, options.memory)
        return

    from proxies.models.size import model_size
    from proxies.recipe import recipe

    derived = recipe(model_size("dense", DEPTH, VOCABULARY, LENGTH), DERIVED_TOKENS).batch_rows
    rows = []
    for kind in options.kinds:
        for part in options.parts:
            for whole in (True, False):
                rows.append(one(derived // part, kind, whole, options.memory))
                print(rows[-1], flush=True)
    if options.json:
        document = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": platform.processor() or platform.machine(),
            "memory": options.memory,
            "rows": rows,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
