"""What small models are taken to reach on GPUs, where nothing was measured: one assumption, in one place."""

from __future__ import annotations

import difflib

from mixopt.base.errors import ConfigError
from mixopt.base.shown import shown_name

# Dense products in 16 bits a second, as the makers' data sheets give them.
PEAK_FLOPS = {
    "v100": 125e12,
    "t4": 65e12,
    "a10": 125e12,
    "rtx3090": 71e12,
    "rtx4090": 165e12,
    "l4": 121e12,
    "l40s": 362e12,
    "a100": 312e12,
    "h100": 989e12,
    "h200": 989e12,
    "b200": 2250e12,
}
# Of that, packs of proxies of some million parameters are taken to reach so much: their kernels are short.
SMALL_MODELS_REACH = 0.1


def assumed_flops(gpu: str) -> float:
    """FLOP/s that small models are taken to reach on a GPU of this name.

    Raises:
        ConfigError: no such GPU is known here.
    """
    name = gpu.lower().replace(" ", "").replace("-", "").replace("nvidia", "")
    if name not in PEAK_FLOPS:
        near = difflib.get_close_matches(name, PEAK_FLOPS, n=1, cutoff=0.6)
        known = f"did you mean {near[0]}? Else" if near else f"choose from {', '.join(PEAK_FLOPS)}, or"
        raise ConfigError(f"--gpu {shown_name(gpu)}: its speed is not known", hint=f"{known} measure where it is")
    return SMALL_MODELS_REACH * PEAK_FLOPS[name]


def assumption(gpu: str) -> str:
    """The assumption, in words."""
    return f"assumed for one {gpu.lower()} at {assumed_flops(gpu):.1e} FLOP/s, a tenth of its peak"
