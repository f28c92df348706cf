"""What to try next, and what to recommend: one file a strategy."""

from __future__ import annotations

from search.registry import Registry
from search.strategies.base import Strategy

STRATEGIES: Registry[Strategy] = Registry(
    "strategy",
    {
        "random": "search.strategies.random:Random",
        "regmix": "search.strategies.regmix:RegMix",
        "climb": "search.strategies.climb:Climb",
        "bayes": "search.strategies.bayes:Bayes",
    },
)
