"""How many slots of a pack stand idle: trials that are stopped early, others that wait for their slots.

    python -m benchmarks.slots --json benchmarks/results/slots.json
    python -m benchmarks.slots --device cuda

64 trials in packs of 16, of which each quarter ends after 1/4, 1/2, 3/4 and all of its steps. Refilled: the next trial
takes the slot of one that has ended. In waves: the next pack begins when the one before has ended, as it would without.
A slot is idle where no trial learns in it while others wait; beside this share stands the time that all trials took. On
a CPU steps are taken as a CPU does, one by one, and as a GPU does, in blocks whose losses are read one block late.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from proxies import slots
from proxies.evaluate import EvaluationTokens
from proxies.member import Member
from proxies.models.size import model_size
from proxies.pack import Pack
from proxies.recipe import Recipe, recipe
from proxies.result import CurvePoint, TrainingResult
from proxies.train import train_pack

TRIALS, SLOTS, QUARTERS = 64, 16, 4
VOCABULARY, LENGTH, ROWS, STEPS = 512, 64, 4, 400


class Rows(NamedTuple):
    inputs_BT: NDArray[np.int64]
    targets_BT: NDArray[np.int64]


@dataclass(frozen=True)
class Noise:
    """Random tokens; `begun` gets a number when the first are asked for: how many steps the pack had taken."""

    seed: int
    begun: list[int]
    taken: list[int]

    def rows(self, start: int, count: int) -> Rows:
        if start == 0:
            self.begun.append(len(self.taken))
        tokens_BT = np.random.default_rng([self.seed, start]).integers(VOCABULARY, size=(count, LENGTH + 1))
        return Rows(tokens_BT[:, :-1], tokens_BT[:, 1:])


@dataclass(frozen=True)
class Held:
    tokens_N: NDArray[np.int64]
    bytes: int = 1000
    loss_mask_N: None = None
    group_N: None = None
    bytes_G: tuple[int, ...] = ()


@dataclass(frozen=True)
class Until:
    """Hopeless from so many tokens on."""

    tokens: int

    def __call__(self, point: CurvePoint) -> bool:
        return point.tokens >= self.tokens


def measured(asked: Recipe, is_refilled: bool) -> dict[str, float]:
    taken: list[int] = []  # of each step of a pack, how many members learnt
    begun: list[int] = []
    plain = Pack.step

    def watched(pack: Pack, inputs_MBT: Tensor, targets_MBT: Tensor, rate_M: Tensor) -> Tensor:
        taken.append(int((rate_M > 0).sum()))
        return plain(pack, inputs_MBT, targets_MBT, rate_M)

    members = [
        Member(
            Noise(seed, begun, taken),
            seed=seed,
            hopeless=Until(asked.tokens * (seed % QUARTERS + 1) // QUARTERS),
        )
        for seed in range(TRIALS)
    ]
    sets: dict[str, EvaluationTokens] = {"noise": Held(np.random.default_rng(0).integers(VOCABULARY, size=LENGTH + 1))}
    waves = [members] if is_refilled else [members[at : at + SLOTS] for at in range(0, TRIALS, SLOTS)]
    Pack.step = watched  # type: ignore[method-assign,assignment]
    began = time.perf_counter()
    steps = 0
    try:
        for wave in waves:
            for _, event in train_pack(asked, wave, sets, slots=SLOTS):
                steps += event.steps if isinstance(event, TrainingResult) else 0
    finally:
        Pack.step = plain  # type: ignore[method-assign]
    seconds = time.perf_counter() - began
    assert sum(taken) == steps
    waited = taken[: max(begun)]  # from then on nobody waits any more
    return {
        "idle_while_others_wait": 1 - sum(waited) / (SLOTS * len(waited)),
        "idle": 1 - steps / (SLOTS * len(taken)),
        "pack_steps": len(taken),
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    size = model_size("dense", 2, VOCABULARY, LENGTH, width=32, heads=1, feed_forward=64)
    settings: dict[str, Any] = {"batch_rows": ROWS, "device": options.device, "decay_share": 1 / QUARTERS}
    asked = recipe(size, STEPS * ROWS * LENGTH, evaluations=QUARTERS, **settings)
    ways = {"step by step": (1, 0), "in blocks": (32, 1)} if options.device == "cpu" else {"in blocks": (32, 1)}
    rows: list[dict[str, Any]] = []
    for way, (slots.BLOCK_STEPS[options.device], slots.UNREAD_BLOCKS[options.device]) in ways.items():
        for name, is_refilled in (("waves", False), ("refilled", True)):
            rows.append({"taken": way, "slots": name, **measured(asked, is_refilled)})
    table = Table("steps", "slots", "idle while others wait", "idle in all", "steps of the pack", "s")
    for row in rows:
        shares = (f"{row['idle_while_others_wait']:.1%}", f"{row['idle']:.1%}")
        table.add_row(row["taken"], row["slots"], *shares, str(row["pack_steps"]), f"{row['seconds']:.1f}")
    Console().print(table)
    if options.json:
        machine = platform.processor() or platform.machine()
        document = {"date": time.strftime("%Y-%m-%d"), "machine": machine, "torch": str(torch.__version__)}
        options.json.write_text(json.dumps(document | {"trials": TRIALS, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
