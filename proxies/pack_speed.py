"""How many proxies a GPU takes side by side, and how fast one is: measured, for each machine is another."""

from __future__ import annotations

from itertools import count, takewhile
from time import perf_counter

import torch

from proxies import device
from proxies.errors import ProxyError
from proxies.pack import MOST_GROUPS, Pack
from proxies.recipe import Recipe

# Twice the members have to bring so much more, or they only take memory.
WORTHWHILE = 1.1


def pack_speeds(recipe: Recipe, seconds: float = 2.0) -> dict[int, float]:
    """Tokens a second of whole packs by their members: 1, 2, 4, ... until memory ends, or doubling gains little.

    Args:
        seconds: for which each is measured, once it is compiled.

    Raises:
        ProxyError: the memory is too small for one.
    """
    speeds: dict[int, float] = {}
    most = MOST_GROUPS // max(1, recipe.model.expert_count)
    with device.one_thread():
        for members in takewhile(lambda members: members <= most, (2**power for power in count())):
            try:
                speeds[members] = _speed(recipe, members, seconds)
            except torch.OutOfMemoryError:
                break
            if members > 1 and speeds[members] < WORTHWHILE * speeds[members // 2]:
                break
    if not speeds:
        raise ProxyError("not even one proxy fits into this device's memory", hint="lower its size or batch_rows")
    return speeds


def best_pack(speeds: dict[int, float]) -> int:
    """The smallest pack that no other beats by more than a tenth."""
    return min(members for members, speed in speeds.items() if speed * WORTHWHILE >= max(speeds.values()))


def eager_speed(recipe: Recipe, seconds: float) -> float:
    """Tokens a second of one proxy whose steps are not compiled, which would take longer than this measurement."""
    with device.one_thread():
        return _speed(recipe, 1, seconds, compiled=False)


def _speed(recipe: Recipe, members: int, seconds: float, compiled: bool = True) -> float:
    pack = Pack(recipe, range(members))
    if compiled:
        pack.compile()
    shape = (members, recipe.batch_rows, recipe.model.sequence_length)
    generator = torch.Generator().manual_seed(0)
    inputs_MBT, targets_MBT = (
        torch.randint(recipe.model.vocabulary, shape, generator=generator).to(recipe.device) for _ in range(2)
    )
    rate_M = torch.full((members,), recipe.learning_rate, device=recipe.device)
    for _ in range(3):
        pack.step(inputs_MBT, targets_MBT, rate_M).tolist()
    began = perf_counter()
    for steps in count(1):
        losses_M = pack.step(inputs_MBT, targets_MBT, rate_M)
        if steps % 16 == 0 or recipe.device == "cpu":
            losses_M.tolist()  # waits for the device
            if perf_counter() - began > seconds:
                break
    return steps * inputs_MBT.numel() / (perf_counter() - began)
