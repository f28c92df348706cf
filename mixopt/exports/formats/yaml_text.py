"""How exports in YAML are written: in the order given, every bit of a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml


def yaml_text(content: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text
