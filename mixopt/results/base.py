"""What all results have in common: they are frozen, say the version of their form, and are whole as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, JsonValue

# Shares of training tokens, by domain.
Shares = Mapping[str, float]


class Part(BaseModel):
    """A value in a result. Its numbers are finite; None stands for what is not known or not defined."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        # For a key that is no name in Python, such as `is`.
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    def plain(self) -> dict[str, JsonValue]:
        """The value as JSON has it: what is recorded, and what `--json` prints."""
        return self.model_dump(mode="json")

    def json_text(self) -> str:
        return json.dumps(self.plain(), indent=2, allow_nan=False)


class Result(Part):
    """What a command answers."""

    schema_version: int
    """Of the form of this result: raised whenever a key comes, goes or changes its meaning."""
