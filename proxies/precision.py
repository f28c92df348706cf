"""In which precision a device trains fastest without losing accuracy."""

from __future__ import annotations

from typing import Literal

import torch

Device = Literal["cpu", "cuda"]
Precision = Literal["bf16", "fp32"]

DTYPES: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp32": torch.float32}


def native_precision(device: Device) -> Precision:
    """bf16 where the device multiplies it in hardware; elsewhere it would be emulated, and slower than fp32."""
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # x86 names its instructions, ARM the number format.
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")) else "fp32"
