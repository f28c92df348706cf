"""What somebody without a password, or with a wrong one, can get out of a port.

What is asked for is not a list kept by hand: ports come from the system, paths and methods from what Ray and MLflow
declare in the installed versions.
"""

from __future__ import annotations

import http.client
import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import grpc
import psutil
import ray.core.generated

from tests.processes import family

ANSWER_WITHIN_SECONDS = 10.0
REFUSED_HTTP = (401, 403)
NOT_HTTP = (http.client.HTTPException, ConnectionError)
UNKNOWN_PATH = "/nothing/is/here"
# Ray's service whose Python bindings are not in its package.
OBJECT_MANAGER = ("/ray.rpc.ObjectManagerService/Push", "/ray.rpc.ObjectManagerService/Pull")


@dataclass(frozen=True)
class Listener:
    """A port that a process listens on."""

    program: str
    host: str
    port: int

    @property
    def on_loopback(self) -> bool:
        return self.host.removeprefix("::ffff:") == "127.0.0.1"

    @property
    def reachable_at(self) -> str:
        return "127.0.0.1" if self.host in ("::", "0.0.0.0") else self.host.removeprefix("::ffff:")


def listeners(processes: Sequence[psutil.Process]) -> list[Listener]:
    """Every port that these processes and those that they started listen on."""
    found = set()
    for member in {member for process in processes for member in family(process)}:
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            program = " ".join(member.cmdline())
            found |= {
                Listener(program, connection.laddr.ip, connection.laddr.port)
                for connection in member.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            }
    return sorted(found, key=lambda listener: (listener.program, listener.port))


@dataclass(frozen=True)
class Answer:
    """How a request ended."""

    request: str
    refused: bool
    said: str


def ask_http(listener: Listener, requests: Sequence[tuple[str, str]], headers: Mapping[str, str]) -> Iterator[Answer]:
    """Each (method, path) of an HTTP server that it knows; nothing where HTTP is not spoken."""
    try:
        status, _ = _http(listener, "GET", UNKNOWN_PATH, headers)
    except NOT_HTTP:
        return
    # A server that refuses before it looks at the path has no reason to say that something is not there, but that
    # what the path declares has looked for it.
    not_there = () if status in REFUSED_HTTP else (404, 405)
    for method, path in requests:
        try:
            status, said = _http(listener, method, path, headers)
        except NOT_HTTP as error:
            yield Answer(f"{method} {path}", False, f"cut: {error!r}")
        else:
            if status not in not_there:
                yield Answer(f"{method} {path}", status in REFUSED_HTTP, f"{status} {said!r}")


def _http(listener: Listener, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """The status, and the beginning of what is said."""
    connection = http.client.HTTPConnection(listener.reachable_at, listener.port, timeout=ANSWER_WITHIN_SECONDS)
    with closing(connection):
        body = None if method == "GET" else "{}"
        connection.request(method, path, body, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, response.read(200)


def ask_grpc(listener: Listener, metadata: Sequence[tuple[str, str]]) -> Iterator[Answer]:
    """Each of Ray's methods that this port has; nothing where gRPC is not spoken."""
    with grpc.insecure_channel(f"{listener.reachable_at}:{listener.port}") as channel:
        for number, (method, streams_in, streams_out) in enumerate(ray_methods()):
            call = getattr(channel, f"{_count(streams_in)}_{_count(streams_out)}")(method)
            try:
                answer = call(iter([b""]) if streams_in else b"", timeout=ANSWER_WITHIN_SECONDS, metadata=metadata)
                yield Answer(method, False, repr(next(iter(answer), None) if streams_out else answer))
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE and number == 0:
                    return
                if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                    yield Answer(method, error.code() is grpc.StatusCode.UNAUTHENTICATED, str(error.code()))


def _count(streams: bool) -> str:
    return "stream" if streams else "unary"


@cache
def ray_methods() -> list[tuple[str, bool, bool]]:
    """Every method that Ray's processes may have: its name, whether requests stream, whether answers do."""
    bindings = ray.core.generated
    found = {
        (f"/{service.full_name}/{method.name}", method.client_streaming, method.server_streaming)
        for module in pkgutil.walk_packages(bindings.__path__, f"{bindings.__name__}.")
        if module.name.endswith("_pb2")
        for service in importlib.import_module(module.name).DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    return sorted(found | {(method, False, False) for method in OBJECT_MANAGER})


@cache
def ray_requests() -> list[tuple[str, str]]:
    """Every (method, path) of Ray's HTTP servers: the dashboard, and each node's agents."""
    package = Path(ray.__file__).parent
    sources = [*(package / "dashboard").rglob("*.py"), *(package / "_private" / "runtime_env").rglob("*.py")]
    declared = re.compile(r"""(?:routes|app\.router|router)\.(?:add_)?(get|post|put|delete)\(\s*f?["'](/[^"']*)["']""")
    found = {
        (method.upper(), re.sub(r"{[^}]*}", "x", path))
        for source in sources
        for method, path in declared.findall(source.read_text())
    }
    return sorted(found | {("GET", "/metrics"), ("GET", "/logs/")})


@cache
def mlflow_requests() -> list[tuple[str, str]]:
    """Every (method, path) of the MLflow server."""
    from mlflow.server import app
    from mlflow.server.fastapi_app import create_fastapi_app

    found = {(method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods or ()}
    for route in create_fastapi_app(app).routes:
        found |= {(method, route.path) for method in getattr(route, "methods", None) or ()}
    asked = {(method, re.sub(r"<[^>]*>|{[^}]*}", "1", path)) for method, path in found}
    return sorted((method, path) for method, path in asked if method not in ("HEAD", "OPTIONS"))
