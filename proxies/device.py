"""The device a run trains on: its fastest precision, its threads, its name in the records.

torch, which takes a second to load, is loaded by what asks it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from proxies.errors import ProxyError

if TYPE_CHECKING:
    import torch

Device = Literal["cpu", "cuda"]
Precision = Literal["bf16", "fp32"]

SLOWER = "slower"  # in an environment: why steps were slower than they were asked to be


def dtype_of(precision: Precision) -> torch.dtype:
    import torch

    return {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]


def gpus() -> int:
    """How many this process could train on; none is woken for the question."""
    import torch

    return torch.cuda.device_count()


def native_precision(device: Device) -> Precision:
    """bf16 where the device multiplies it in hardware; elsewhere it would be emulated, and slower than fp32."""
    import torch

    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # x86 names its instructions, ARM the number format.
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")) else "fp32"


def require(device: Device) -> None:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ProxyError("recipe: device is cuda, but torch finds no GPU here", hint="set device to cpu")


@contextmanager
def one_thread() -> Iterator[None]:
    """A run is one core's work: sums split over threads come out in other bits, and runs train side by side."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def environment(device: Device, precision: Precision) -> dict[str, str]:
    """What a run's numbers and speed depend on besides its recipe."""
    import torch

    return {
        "device": device,
        "processor": torch.cuda.get_device_name() if device == "cuda" else torch.cpu.get_capabilities()["cpu_name"],
        "precision": precision,
        "torch": str(torch.__version__),
        "threads": "1",
    }
