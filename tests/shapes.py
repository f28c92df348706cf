"""What checks the types of arguments in the tests, those of arrays with their shapes (see pyproject.toml)."""

from beartype import BeartypeConf, beartype

# A whole number is a float, as everywhere in Python's typing.
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
