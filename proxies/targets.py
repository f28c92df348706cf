"""What stands for a token that is read, but not to be predicted; the data and the models agree on it here."""

from __future__ import annotations

IGNORED = -100  # PyTorch's own
