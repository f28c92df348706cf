"""What checks the types of arguments in the tests, those of arrays with their shapes (see pyproject.toml)."""

from functools import partial

import numpy as np
from beartype import BeartypeConf, BeartypeHintOverrides, beartype

# A whole number is a float, as everywhere in Python's typing, and one of NumPy's is a whole number.
NUMBERS = BeartypeHintOverrides(
    {int: int | np.integer, float: float | int | np.integer}  # type: ignore[operator]  # classes, to mypy objects
)
check = partial(beartype, conf=BeartypeConf(hint_overrides=NUMBERS))
