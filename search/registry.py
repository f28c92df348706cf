"""Named kinds (surrogates, strategies, ...), each imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Generic, TypeVar

from search.errors import SearchError

Kind = TypeVar("Kind")


class Registry(Generic[Kind]):
    """Name -> class; a place is "module:Class".

    Raises:
        SearchError: on a name that is not listed.
    """

    def __init__(self, noun: str, places: Mapping[str, str]) -> None:
        self._noun = noun
        self._places = dict(places)

    def __getitem__(self, name: str) -> type[Kind]:
        if name not in self._places:
            raise SearchError(f"{self._noun} {name!r} does not exist", hint=f"choose from {', '.join(self)}")
        module, class_name = self._places[name].split(":")
        kind: type[Kind] = getattr(import_module(module), class_name)
        return kind

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)
