"""What `mixopt replay` shows a person: its document as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mixopt.replay import CONTROL
