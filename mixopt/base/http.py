"""Asking a server over HTTP: within a time limit, with the proxies and certificates that the environment names.

A token goes to the server that was named and to no other: redirects are not followed.
"""

from __future__ import annotations

import errno
import http.client
import json
import socket

import requests
from requests.auth import AuthBase

from mixopt.base.errors import ConfigError

ANSWER_WITHIN_SECONDS = 10.0


class _Bearer(AuthBase):
    """Put the token into the header; given as a header, one that ~/.netrc has for the host would take its place."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def ask(
    url: str,
    token: str | None = None,
    method: str = "GET",
    within: float = ANSWER_WITHIN_SECONDS,
    document: object = None,
) -> requests.Response:
    """The answer, whatever its status.

    Args:
        within: seconds in which it connects, and then answers.
        document: sent along as JSON.

    Raises:
        ConfigError: it is a redirect.
        requests.RequestException: nothing answers, or what answers speaks no HTTP.
    """
    answer = requests.request(method, url, auth=_Bearer(token), timeout=within, allow_redirects=False, json=document)
    if answer.is_redirect:
        raise ConfigError(
            f"{url} redirects to {answer.headers['Location']}, where no token is sent",
            hint="give the address that answers by itself",
        )
    return answer


def why_away(error: BaseException) -> str:
    """The system's own words, such as "Connection refused", which stand innermost in what `requests` raises."""
    return str(_innermost(error)) or type(error).__name__


def was_unreachable(error: BaseException) -> bool:
    """Whether no connection came about, so that the server has read nothing: it may have what breaks off later."""
    innermost = _innermost(error)
    if isinstance(innermost, ConnectionRefusedError | socket.gaierror):
        return True
    return isinstance(innermost, OSError) and innermost.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH)


def speaks_otherwise(error: BaseException) -> bool:
    """Whether something answered, which is no HTTP or not the JSON that was expected."""
    innermost = _innermost(error)
    if isinstance(innermost, http.client.RemoteDisconnected):
        return False
    return isinstance(innermost, http.client.HTTPException | json.JSONDecodeError)


def _innermost(error: BaseException) -> BaseException:
    inner = error.__cause__ if error.__suppress_context__ else error.__context__
    return error if inner is None else _innermost(inner)
