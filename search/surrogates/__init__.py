"""What predicts: losses from mixtures, one file a method."""

from __future__ import annotations

from search.registry import Registry
from search.surrogates.base import Surrogate

SURROGATES: Registry[Surrogate] = Registry(
    "surrogate",
    {
        "lightgbm": "search.surrogates.lightgbm:LightGBM",
        "linear": "search.surrogates.linear:Linear",
    },
)
