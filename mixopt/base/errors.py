"""User mistakes, whatever room they are noticed in."""

from __future__ import annotations


class ConfigError(ValueError):
    """Something in the study file, or about the state that it refers to, is wrong."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ClusterLost(ConfigError):
    """The cluster went away, or has no room yet, and may well come back: whoever waits may try again."""
