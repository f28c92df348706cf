"""The HTTP interface of a Ray cluster's head, asked with a time limit.

Ray's own client would wait for ever for a head that is not there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mixopt.base.errors import ConfigError
from mixopt.settings.environment import ADDRESS_VARIABLE
from mixopt.workers.ray_token import MODE_VARIABLE, TOKEN_VARIABLE, use_cluster_token
from search.urls import holds_password

if TYPE_CHECKING:
    from requests import Response


class HeadAway(ConfigError):
    """The head does not answer."""


class Head:
    """
    Attributes:
        option: what a command needs to be told to find this head, with a space before it.

    Raises:
        ConfigError: the address is none, or the cluster's token is not at hand.
    """

    def __init__(self, address: str) -> None:
        if holds_password(address):
            raise ConfigError(
                "--address holds a password, which would stand in what is recorded",
                hint=f"a cluster takes a token, in {TOKEN_VARIABLE}; give the address alone",
            )
        if not re.match(r"https?://[^/\s]+/?$", address):
            raise ConfigError(
                f"--address {address} is not the address of a cluster's head", hint="write it as http://head:8265"
            )
        self.address = address.rstrip("/")
        usual = os.environ.get(ADDRESS_VARIABLE, "").rstrip("/")
        self.option = "" if usual == self.address else f" --address {self.address}"
        self._token = use_cluster_token()

    @property
    def token(self) -> str | None:
        """What it is shown; None where the user opened the cluster to all."""
        return self._token.value if self._token else None

    def ask(self, path: str, method: str = "GET") -> Any:
        """What the head answers.

        Raises:
            HeadAway: nothing, or that it cannot at the moment.
            ConfigError: that this client may not ask, or that there is no such thing.
        """
        from mixopt.base.http import ask

        with self.answering():
            answer = ask(self.address + path, self.token, method)
            if answer.ok:
                return answer.json()
        raise self._refusal(answer, path)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """
        Raises:
            HeadAway: in place of what tells that the head does not answer.
        """
        from mixopt.base.http import speaks_otherwise, why_away

        away = f"no Ray head answers at {self.address}"
        try:
            yield
        except OSError as error:  # which those of `requests` are as well
            if speaks_otherwise(error):
                raise HeadAway(f"{away}, but something else does", hint="check --address and its port") from error
            raise HeadAway(f"{away}: {why_away(error)}", hint="check --address, and that the cluster is up") from error

    def _refusal(self, answer: Response, path: str) -> ConfigError:
        match answer.status_code:
            case 401:
                return ConfigError(
                    f"{self.address} asks for a token, and {MODE_VARIABLE}=disabled shows none",
                    hint=f"unset {MODE_VARIABLE} and give the cluster's token",
                )
            case 403:
                place = self._token.place if self._token else MODE_VARIABLE
                return ConfigError(
                    f"{self.address} does not accept the token in {place}", hint="ask for this cluster's own token"
                )
            case 404:
                return ConfigError(
                    f"{self.address} knows nothing of {path}",
                    hint="is it the head of a Ray cluster? One that was replaced has forgotten its jobs: submit again",
                )
            case _:
                return HeadAway(
                    f"{self.address} answers {answer.status_code} {answer.reason}", hint="look at the head's logs"
                )
