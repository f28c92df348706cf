"""Trainers' own samplers, for `mixopt check`: by format the module that runs one, and the package that it needs."""

from __future__ import annotations

import logging
from importlib import import_module

from mixopt.base.errors import ConfigError
from mixopt.exports.samplers.base import Counted, Drawing, Source

# Each is imported when it is asked for; versions are those of tests/clients/install.py.
MEGATRON = ("megatron", "megatron.core", "megatron-core")
MOSAIC = ("mosaic", "streaming", "mosaicml-streaming")
SAMPLERS = {
    "hf": ("hf", "datasets", "datasets"),
    "litgpt": ("litdata_blocks", "litdata", "litdata"),
    "llm-foundry": MOSAIC,
    "megatron": MEGATRON,
    "megatron-bridge": MEGATRON,
    "megatron-splits": MEGATRON,
    "nemo": MEGATRON,
    "nemo-automodel": MEGATRON,
    "olmo-core": ("olmo_core", "olmo_core", "ai2-olmo-core"),
    "streaming": MOSAIC,
}


def require_sampler(format: str) -> None:
    """
    Raises:
        ConfigError: check has none of this trainer.
    """
    if format not in SAMPLERS:
        raise ConfigError(
            f"check runs no sampler of {format}, but of {', '.join(SAMPLERS)}",
            hint="mixopt audit compares what a run's log says that it drew",
        )


def draw(format: str, drawing: Drawing) -> Counted:
    """What the trainer's own code draws.

    Raises:
        ConfigError: its package is not installed, or the data are not there.
    """
    require_sampler(format)
    module, package, distribution = SAMPLERS[format]
    try:
        sampler = import_module(f"mixopt.exports.samplers.{module}")
    except ImportError as error:
        missing = error.name or ""
        says = "" if package.startswith(missing.partition(".")[0]) and missing else f" ({error})"
        raise ConfigError(
            f"{format} is drawn by {distribution}, which is not installed here{says}",
            hint=f"pip install {distribution}",
        ) from error
    logging.disable(logging.WARNING)  # trainers tell much about what they build
    try:
        counted: Counted = sampler.draw(drawing)
    except ConfigError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise ConfigError(
            f"{distribution} cannot draw from this: {type(error).__name__}: {first}",
            hint="--data says where the data are",
        ) from error
    finally:
        logging.disable(logging.NOTSET)
    return counted


__all__ = ["SAMPLERS", "Counted", "Drawing", "Source", "draw", "require_sampler"]
