"""Quantities as people write them: `2B` tokens, `1e15` FLOPs, `90m`, `10%`."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from mixopt.base.errors import ConfigError
from mixopt.base.shown import shown

COUNT_SUFFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

# More than there is to count, so that what is computed from it stays a number: tokens, operations, seconds (10 years).
MOST_COUNTED, MOST_AMOUNT, LONGEST_SECONDS = 1e15, 1e40, 3650 * 86_400.0

NUMBER = r"(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"


def parse_number(value: Any) -> float:
    """A finite number; YAML reads 3e-4, which has no point, as text."""
    if isinstance(value, str) and re.fullmatch(rf"\s*-?{NUMBER}\s*", value):
        value = float(value.replace("_", ""))
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= sys.float_info.max:
        raise ValueError(f"{shown(value)} is not a number; write one such as 0.5 or 3e-4")
    return float(value)


def parse_amount(value: Any) -> float:
    """A number above 0 with an optional suffix: 2B, 1.5e15, 300k, 64_000."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 < value <= MOST_AMOUNT:
            raise ValueError(f"{shown(value)} is not an amount; write a number above 0")
        return float(value)
    match = re.fullmatch(rf"\s*({NUMBER})\s*([kKmMbBgGtT]?)\s*", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{shown(value)} is not an amount; write a number such as 2B, 300k or 1e15")
    amount = float(match[1].replace("_", "")) * COUNT_SUFFIXES[match[2].lower()]
    if amount > MOST_AMOUNT:
        raise ValueError(f"{shown(value)} is not an amount that anything has; write one such as 2B, 300k or 1e15")
    return amount


def parse_count(value: Any) -> int:
    amount = parse_amount(value)
    if round(amount) < 1 or amount > MOST_COUNTED:
        raise ValueError(
            f"{shown(value)} is not a count; write a whole number above 0 such as 2B, 300k or 4096, at most 1000T"
        )
    if abs(amount - round(amount)) > 1e-6 * amount:
        raise ValueError(f"{shown(value)} is not a whole number; write one")
    return round(amount)


def count_of(name: str, value: Any) -> int | None:
    """A count that somebody gave outside of a file, under the name that messages call it by; None where none is given.

    Raises:
        ConfigError: it is no count.
    """
    try:
        return None if value is None else parse_count(value)
    except ValueError as error:
        what, _, hint = str(error).partition("; ")
        raise ConfigError(f"{name}: {what}", hint=hint or "write a whole number above 0 such as 2B") from error


def parse_duration(value: Any) -> float:
    """Seconds in 45s, 90m, 6h or 2d."""
    match = re.fullmatch(rf"\s*({NUMBER})\s*([smhd])\s*", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{shown(value)} is not a duration; write it with its unit: 45s, 90m, 6h or 2d")
    seconds = float(match[1].replace("_", "")) * SECONDS[match[2]]
    if seconds > LONGEST_SECONDS:
        raise ValueError(f"{shown(value)} is longer than any study; write one such as 90m, 6h or 2d")
    return seconds


def parse_share(value: Any) -> float:
    if isinstance(value, str) and (match := re.fullmatch(rf"\s*({NUMBER})\s*%\s*", value)):
        share = float(match[1].replace("_", "")) / 100
    else:
        try:
            share = parse_number(value)
        except ValueError:
            message = f"{shown(value)} is not a share; write a number between 0 and 1, or a percentage such as 5%"
            raise ValueError(message) from None
    if not 0 <= share <= 1:
        raise ValueError(f"{shown(value)} is not between 0 and 1; write a share such as 0.05 or 5%")
    return share


def _schema(python_type: str, pattern: str, examples: list[Any]) -> WithJsonSchema:
    written = [{"type": "string", "pattern": pattern}]
    numbers = [] if python_type == "duration" else [{"type": "number"}]
    return WithJsonSchema({"anyOf": [*numbers, *written], "examples": examples})


Number = Annotated[float, BeforeValidator(parse_number), WithJsonSchema({"type": "number"})]
Amount = Annotated[float, BeforeValidator(parse_amount), _schema("amount", rf"^{NUMBER}\s*[kKmMbBgGtT]?$", ["1e15"])]
Count = Annotated[int, BeforeValidator(parse_count), _schema("count", rf"^{NUMBER}\s*[kKmMbBgGtT]?$", ["2B", "300k"])]
Duration = Annotated[
    float, BeforeValidator(parse_duration), _schema("duration", rf"^{NUMBER}\s*[smhd]$", ["90m", "6h"])
]
Share = Annotated[
    float, BeforeValidator(parse_share), Field(ge=0, le=1), _schema("share", rf"^{NUMBER}\s*%$", [0.05, "5%"])
]


def show_count(count: float) -> str:
    """1234567 as 1.23M: three significant digits, the suffixes that the study file takes."""
    for factor, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        # What rounds to 1000 of one suffix is 1 of the next.
        if abs(count) >= 0.9995 * factor:
            return f"{count / factor:.3g}{suffix}"
    return f"{count:.3g}"


def show_duration(seconds: float) -> str:
    """Seconds for a reader: 45 s, 12 min, 3.5 h, 2.1 d."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.1f} d"
