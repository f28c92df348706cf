"""User mistakes, whatever room they are noticed in."""

from __future__ import annotations

from search.errors import ExplainedError


class ConfigError(ExplainedError, ValueError):
    """Something in the study file, or about the state that it refers to, is wrong."""


class ClusterLost(ConfigError):
    """The cluster went away, or has no room yet, and may well come back: whoever waits may try again."""
