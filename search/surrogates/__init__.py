"""What predicts: a metric from the mixture, one file per method and its variants."""

from __future__ import annotations

from typing import Any

from search.registry import Registry
from search.surrogates.base import Surrogate

DEFAULT = "blend"
# The one that predicts for a run of another scale than any that was trained.
SCALING_LAW = "scaling_law"

SURROGATES: Registry[Surrogate[Any]] = Registry(
    "surrogate",
    {
        "blend": "search.surrogates.blend:Blend",
        "far_blend": "search.surrogates.blend:FarBlend",
        "warped_gp": "search.surrogates.blend:WarpedGP",
        "multi_fidelity_gp": "search.surrogates.gp:MultiFidelityGP",
        "gp_ard": "search.surrogates.gp:ArdGP",
        "gp_isotropic": "search.surrogates.gp:IsotropicGP",
        "effective_data": "search.surrogates.effective_data:EffectiveData",
        "epochs": "search.surrogates.epochs:Epochs",
        SCALING_LAW: "search.surrogates.scaling_law:ScalingLaw",
        "log_linear": "search.surrogates.log_linear:LogLinear",
        "bimix": "search.surrogates.bimix:BiMix",
        "quadratic": "search.surrogates.ridge:Quadratic",
        "lightgbm": "search.surrogates.lightgbm:LightGBM",
        "regmix_lightgbm": "search.surrogates.lightgbm:RegMixLightGBM",
        "linear": "search.surrogates.ridge:Linear",
    },
)
