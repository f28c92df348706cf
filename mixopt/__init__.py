"""mixopt: from pools of text to the mixture that a language model should be trained on.

What the commands do, for notebooks and programs (docs/python.md):

    Study      a study file: plan, run, its trials as a DataFrame, its answer
    Mixture    shares of training tokens by domain
    Space      the mixtures that may be the answer; `space` makes one from numbers, `read_space` from a file
    fit        surrogates and a mixture from a table of finished runs
    backtest   which surrogates would have predicted finished runs, from how few of them
    replay     what strategies would have cost on finished runs
    Reading    what the columns of a table of runs are, where that cannot be told from it
    Experiment an MLflow experiment, as a table of runs
    export     a mixture as a trainer's configuration
    find_domains    pools and a study file from a heap of documents
    refine_domains  a study whose domains are split or merged, from one that has run
    cut_pools       the pools of a study cut into levels of quality
    compare    two studies or mixtures side by side

A mistake in what is given is a ValueError, mostly a `ConfigError`, whose `hint` says what to do.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mixopt.base.version import VERSION

if TYPE_CHECKING:
    from mixopt.api import (
        Backtest,
        Fit,
        Study,
        backtest,
        compare,
        cut_pools,
        export,
        find_domains,
        fit,
        read_space,
        refine_domains,
        replay,
        space,
    )
    from mixopt.base.errors import ConfigError
    from mixopt.runs.tables.reading import Reading
    from mixopt.runs.tables.sheet import Experiment
    from search.mixture import Mixture
    from search.space import Space

__version__ = VERSION

__all__ = [
    "Backtest",
    "ConfigError",
    "Experiment",
    "Fit",
    "Mixture",
    "Reading",
    "Space",
    "Study",
    "backtest",
    "compare",
    "cut_pools",
    "export",
    "find_domains",
    "fit",
    "read_space",
    "refine_domains",
    "replay",
    "space",
]


def __getattr__(name: str) -> object:
    """What `__all__` names, imported when it is first asked for: `import mixopt` alone loads nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'mixopt' has no attribute {name!r}")
    places = {"ConfigError": "mixopt.base.errors", "Mixture": "search.mixture", "Space": "search.space"}
    return getattr(import_module(places.get(name, "mixopt.api")), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
