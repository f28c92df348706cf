"""The HTTP interface of a Ray cluster's head, asked with a time limit.

Ray's own client would wait for ever for a head that is not there.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mixopt.base.errors import ConfigError
from mixopt.settings.environment import ADDRESS_VARIABLE
from mixopt.workers.ray_token import MODE_VARIABLE, use_cluster_token

ANSWER_WITHIN_SECONDS = 10.0


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
        if not re.match(r"https?://[^/\s]+/?$", address):
            raise ConfigError(
                f"--address {address} is not the address of a cluster's head", hint="write it as http://head:8265"
            )
        self.address = address.rstrip("/")
        usual = os.environ.get(ADDRESS_VARIABLE, "").rstrip("/")
        self.option = "" if usual == self.address else f" --address {self.address}"
        self._token = use_cluster_token()

    def ask(self, path: str, method: str = "GET") -> Any:
        """What the head answers.

        Raises:
            HeadAway: nothing, or that it cannot at the moment.
            ConfigError: that this client may not ask, or that there is no such thing.
        """
        headers = {"Authorization": f"Bearer {self._token.value}"} if self._token else {}
        request = urllib.request.Request(self.address + path, method=method, headers=headers)
        try:
            with self.answering(), urllib.request.urlopen(request, timeout=ANSWER_WITHIN_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise self._refusal(error, path) from error

    @contextmanager
    def answering(self) -> Iterator[None]:
        """
        Raises:
            HeadAway: in place of what tells that the head does not answer.
        """
        away = f"no Ray head answers at {self.address}"
        try:
            yield
        except urllib.error.HTTPError:
            raise  # an answer, if not a welcome one
        except OSError as error:
            reason = getattr(error, "reason", None) or error
            raise HeadAway(f"{away}: {reason}", hint="check --address, and that the cluster is up") from error
        except (http.client.HTTPException, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise HeadAway(f"{away}, but something else does", hint="check --address and its port") from error

    def _refusal(self, error: urllib.error.HTTPError, path: str) -> ConfigError:
        match error.code:
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
                return HeadAway(f"{self.address} answers {error.code} {error.reason}", hint="look at the head's logs")
