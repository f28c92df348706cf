"""The version of mixopt, said here alone: pyproject.toml, images and records take it from here."""

from __future__ import annotations

VERSION = "0.2.0"
