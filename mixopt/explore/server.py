"""Who may see the page: whoever has the token of its address, from this machine or through a tunnel.

    http://127.0.0.1:8899/?token=...  ──▶ a cookie, and the same address without the token
    any request without either        ──▶ 403
    a Host that is a name of somebody else's (DNS rebinding), an Origin that is another page's (CSRF)  ──▶ 403

All that the page loads is served from here: it works offline, and sends nothing anywhere.
"""

from __future__ import annotations

import errno
import hmac
import ipaddress
import logging
import secrets
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from dash import Dash, set_props
from flask import Flask, Response, redirect, request
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from mixopt.base.errors import ConfigError
from mixopt.base.plot_style import PAGE_COLOURS
from mixopt.explore.callbacks import register
from mixopt.explore.layout import page
from mixopt.explore.what_if import WhatIfs

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
PORT = 8899
# Ports that are tried where nobody chose one.
NEXT_PORTS = 20
TOKEN = "token"
COOKIE_SECONDS = 30 * 24 * 3600

INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{%title%}</title>
{%favicon%}
<style>{%colours%}</style>
{%css%}
</head>
<body>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""


@dataclass(frozen=True)
class Serving:
    """A page that is served.

    Attributes:
        url: with the token.
    """

    url: str
    server: BaseWSGIServer

    def until_interrupted(self) -> None:
        self.server.serve_forever()  # which ends where somebody presses Ctrl-C


@contextmanager
def serving(what_ifs: WhatIfs, host: str = LOOPBACK, port: int | None = None) -> Iterator[Serving]:
    """The page of a subject, bound to a port.

    Args:
        port: None for PORT, or the next that is free; 0 for any.

    Raises:
        ConfigError: the address cannot be bound.
    """
    token = secrets.token_urlsafe(24)
    app = build(what_ifs)
    server = _bound(app.server, host, port)
    guard(app, token, host, server.port)
    shown = f"[{host}]" if ":" in host else host
    try:
        yield Serving(f"http://{shown}:{server.port}/?{urlencode({TOKEN: token})}", server)
    finally:
        server.server_close()


def build(what_ifs: WhatIfs) -> Dash:
    """The page as an application, without its guard."""
    app = Dash(
        "mixopt.explore",
        server=Flask("mixopt.explore"),
        assets_folder=str(Path(__file__).parent / "assets"),
        title=f"{what_ifs.subject.name} · mixopt explore",
        update_title=None,
        index_string=INDEX.replace("{%colours%}", PAGE_COLOURS.read_text(encoding="utf-8")),
        # Pins come and go, and a page of one metric has no trade.
        suppress_callback_exceptions=True,
        on_error=_failed,
        enable_mcp=False,
    )
    reach = what_ifs.gain_reach
    app.layout = page(what_ifs, reach)
    register(app, what_ifs, reach)
    return app


def guard(app: Dash, token: str, host: str, port: int) -> None:
    """Let nobody else in."""
    flask = app.server
    cookie, session = f"mixopt-explore-{port}", secrets.token_urlsafe(24)
    policy = _policy(app)
    # Asking what this machine is called may take a while: once.
    names = frozenset(each.lower() for each in ("localhost", host, socket.gethostname(), socket.getfqdn()))

    def check() -> Response | None:
        if not _is_ours(request.host, names):
            return _refused(f"this page is not served as {request.host}")
        own = f"{request.scheme}://{request.host}"
        if request.method not in ("GET", "HEAD") and request.headers.get("Origin") != own:
            return _refused("this request comes from another page")
        given = request.args.get(TOKEN)
        if given is not None and request.method == "GET" and _same(given, token):
            left = {name: value for name, value in request.args.items() if name != TOKEN}
            answer = redirect(request.path + (f"?{urlencode(left)}" if left else ""))
            answer.set_cookie(cookie, session, max_age=COOKIE_SECONDS, httponly=True, samesite="Strict")
            assert isinstance(answer, Response)
            return answer
        if _same(request.cookies.get(cookie, ""), session):
            return None
        return _refused("open the address that mixopt explore printed, with its token")

    def protect(answer: Response) -> Response:
        answer.headers["Content-Security-Policy"] = policy
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["X-Frame-Options"] = "DENY"
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    flask.before_request(check)
    flask.after_request(protect)


def _policy(app: Dash) -> str:
    """Nothing from elsewhere, no script that is not ours."""
    scripts = " ".join(["'self'", *(f"'{each}'" if not each.startswith("'") else each for each in app.csp_hashes())])
    return (
        f"default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; form-action 'none'; base-uri 'none'; "
        "object-src 'none'"
    )


def _is_ours(asked: str, names: Collection[str]) -> bool:
    """Whether a Host header names this server: an address, which no foreign name is, or one of these names of it."""
    name = urlsplit(f"//{asked}").hostname or ""  # in lower case
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _refused(why: str) -> Response:
    return Response(f"403: {why}\n", status=403, mimetype="text/plain")


class _Handler(WSGIRequestHandler):
    # Connections are kept: each slider's move would open another, which takes long through a tunnel.
    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Not every request is worth a line, and its address may hold the token."""


def _bound(app: Flask, host: str, port: int | None) -> BaseWSGIServer:
    """
    Raises:
        ConfigError: the address cannot be bound.
    """
    tried = range(PORT, PORT + NEXT_PORTS) if port is None else [port]
    for each in tried:
        try:
            with socket.create_server((host, each), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as bound:
                number = bound.getsockname()[1]
                return make_server(host, number, app, threaded=True, request_handler=_Handler, fd=_kept(bound))
        except OSError as error:
            if error.errno == errno.EADDRINUSE and each != tried[-1]:
                continue
            raise ConfigError(
                f"--host {host} --port {each}: {error.strerror}", hint="choose another --port, or leave it out"
            ) from error
    raise AssertionError("a port is tried")


def _kept(bound: socket.socket) -> int:
    """A descriptor of the socket that outlives it; the server makes its own of it."""
    return bound.dup().detach()


def _failed(error: Exception) -> None:
    """A mistake of ours: in the terminal with its traceback, on the page in a line."""
    log.error("the page could not be answered", exc_info=error)
    set_props("said", {"children": f"mixopt failed: {type(error).__name__}: {error}"})
