"""The service's processes, started as docker-compose.yml says: they record a study, and let nobody in unasked."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psutil
import psycopg2
import pytest

from mixopt.cluster.secrets import RANDOM_BYTES
from tests.processes import LOOPBACK, family, named
from tests.service.processes import BUCKET, PATH, Site, end, has_postgres, new_site
from tests.service.strangers import ask_grpc, ask_http, listeners, mlflow_requests, ray_requests
from tests.tracking.trials import SETTINGS, measurement, trial
from tracking import keys
from tracking.journal import Journal
from tracking.mlflow_store import Store
from tracking.record import Subject
from tracking.recorder import Recorder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_postgres(), reason="needs PostgreSQL's programs (Debian: apt-get install postgresql)"),
]

WRONG = "a-wrong-one-that-is-as-long-as-the-right-one"

# Said to anybody: that a server is up, how to log in, what its pages look like. Nothing of a study or a machine.
PUBLIC = {
    "GET /",
    "GET /favicon.ico",
    "GET /static-files/1",
    "GET /health",
    "GET /api/healthz",
    "GET /api/gcs_healthz",
    "GET /api/local_raylet_healthz",
    "GET /api/authentication_mode",
    "GET /api/3.0/mlflow/server-info",
    "GET /ajax-api/3.0/mlflow/server-info",
}

# What Ray opens on every interface or on the node's address, whatever it is told. In a container these are the
# container's own, and none is published. The other tests show that nobody gets past them.
BEYOND_LOOPBACK = ("gcs_server", "raylet", "ray::", "ray.util.client.server", "keep_busy")

KEEP_BUSY = """
def keep_busy():
    import sys, ray
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")
    worker = ray.remote(type("Worker", (), {"wait": lambda self: None})).options(num_cpus=1).remote()
    ray.get(worker.wait.remote())
    print("busy", flush=True)
    sys.stdin.read()
keep_busy()
"""


# What a client does first, or the error that keeps it out.
LOOK_AROUND = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False)
    print(ray.cluster_resources())
except Exception as error:
    print(type(error).__name__)
"""


@dataclass(frozen=True)
class Service:
    site: Site
    processes: list[psutil.Popen]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """All of it, and a driver that keeps a worker of the cluster busy, so that both have ports as well."""

    def entered(stack: ExitStack, *contexts: Callable[[], AbstractContextManager[psutil.Popen]]) -> list[psutil.Popen]:
        return [stack.enter_context(context()) for context in contexts]

    with new_site() as site, ExitStack() as stores, ExitStack() as cluster, ThreadPoolExecutor(1) as aside:
        ray = aside.submit(entered, cluster, site.ray_head, site.ray_worker, lambda: driver(site))
        # Two workers of MLflow would take twice as long to start.
        processes = entered(stores, site.postgres, site.s3, lambda: site.mlflow("--workers=1"))
        yield Service(site, [*processes, *ray.result()])


@pytest.fixture
def site(service: Service) -> Site:
    return service.site


@contextmanager
def driver(site: Site) -> Iterator[psutil.Popen]:
    with running([sys.executable, "-c", KEEP_BUSY, site.ray_address], site.secret("ray_token")) as process:
        assert process.stdout.readline() == b"busy\n"
        yield process


def ray_environment(token: str | None) -> dict[str, str]:
    """What a program needs to connect to Ray; without a token, one that does not know of tokens."""
    mode = {"RAY_AUTH_MODE": "disabled"} if token is None else {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    return {"PATH": PATH, "HOME": "/nonexistent", "OMP_NUM_THREADS": "1", **mode}


def test_a_study_is_recorded_in_postgres_and_s3(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", site.secret("mlflow_password"))
    answer = {"mixture": {"web": 0.25, "code": 0.75}}
    run = Store(site.mlflow_uri, "tests").find_or_create("served")
    journal = Journal.create(tmp_path / "journal.jsonl", Subject("served", SETTINGS, "corpus"))
    with Recorder(run, journal) as recorder:
        recorder.open(trial(0.25))
        recorder.close_trial(trial(0.25), measurement(1.5), objective=2.0)
        recorder.write(keys.ANSWER, answer, keys.ANSWER_FILE)
        recorder.finish()
        assert recorder.drain(60)

    record = Store(site.mlflow_uri, "tests").find_or_create("served").record()
    assert record is not None
    [completed] = record.history.completed
    assert (completed.trial.id, completed.measurement) == (trial(0.25).id, measurement(1.5))
    assert record.written[keys.ANSWER] == answer

    key, secret = site.s3_key
    s3 = boto3.client(
        "s3",
        endpoint_url=f"http://{LOOPBACK}:{site.ports['s3']}",
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )
    kept = [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert any(key.endswith("-0.jsonl.zst") for key in kept)
    [key] = [key for key in kept if key.endswith(keys.ANSWER_FILE)]
    assert json.load(s3.get_object(Bucket=BUCKET, Key=key)["Body"]) == answer
    with database(site, "mlflow", site.secret("postgres_password")) as connection, connection.cursor() as cursor:
        cursor.execute("select name from runs where lifecycle_stage = 'active'")
        assert "served" in [name for (name,) in cursor.fetchall()]


def test_nobody_gets_anything_from_any_port(service: Service) -> None:
    """Every request that Ray and MLflow declare, to every port that the system says is open, without and with wrong
    credentials; meanwhile Ray's own programs try to come in."""
    site = service.site
    assert ("POST", "/api/jobs/") in ray_requests()
    assert ("POST", "/api/2.0/mlflow/runs/create") in mlflow_requests()
    own_tests = (site.ports["postgres"], site.ports["s3"])
    ports = {
        (each.reachable_at, each.port): each for each in listeners(service.processes) if each.port not in own_tests
    }
    join = ["ray", "start", f"--address={site.ray_address}", f"--temp-dir={site.folder / 'stranger'}"]
    look = [sys.executable, "-c", LOOK_AROUND, site.ray_address]
    with running(look, None) as open_client, running(look, WRONG) as wrong_client, running(join, WRONG) as wrong_node:
        served = []
        for listener in ports.values():
            is_mlflow = listener.port == site.ports["mlflow"]
            scheme = "Basic c3RyYW5nZXI6d3Jvbmc=" if is_mlflow else f"Bearer {WRONG}"
            requests = mlflow_requests() if is_mlflow else ray_requests()
            for headers in ({}, {"authorization": scheme}):
                answers = [*ask_http(listener, requests, headers), *ask_grpc(listener, tuple(headers.items()))]
                assert any(answer.refused for answer in answers), f"{listener} speaks neither HTTP nor gRPC"
                served += [(listener, each) for each in answers if not each.refused and each.request not in PUBLIC]
        assert not served
        for client in (open_client, wrong_client):
            assert client.communicate(timeout=100)[0].strip() == b"ConnectionError"
        wrong_node.communicate(timeout=100)
        assert wrong_node.returncode != 0, "a node without the token has joined"


@contextmanager
def running(command: list[str], token: str | None) -> Iterator[psutil.Popen]:
    process = psutil.Popen(
        command, env=ray_environment(token), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            end(process)


@pytest.mark.parametrize("user", ["mlflow", "postgres", "admin"])
@pytest.mark.parametrize("password", ["", "mlflow", WRONG])
def test_postgres_wants_its_password(site: Site, user: str, password: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password"):
        database(site, user, password)


def database(site: Site, user: str, password: str) -> Any:
    return psycopg2.connect(
        host=LOOPBACK, port=site.ports["postgres"], user=user, password=password, dbname="mlflow", passfile="/dev/null"
    )


def test_mlflow_answers_to_its_own_names_alone(site: Site) -> None:
    url = f"{site.mlflow_uri}/api/2.0/mlflow/experiments/search?max_results=1"
    for host, status in ((f"localhost:{site.ports['mlflow']}", 401), ("mlflow:5000", 401), ("evil.example", 403)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host}))
        assert refused.value.code == status, host


def test_the_health_check_of_mlflow_notices_a_host_that_is_refused(site: Site) -> None:
    # The same address, under a name that is not among --allowed-hosts.
    url = f"http://127.1:{site.ports['mlflow']}/api/2.0/mlflow/experiments/search?max_results=1"
    check = subprocess.run(["answers", "401", url], env={"PATH": PATH}, capture_output=True, text=True)
    assert check.returncode == 1
    assert "403 instead of 401" in check.stderr


def test_nothing_listens_beyond_loopback_but_rays_nodes(service: Service) -> None:
    beyond = [each for each in listeners(service.processes) if not each.on_loopback]
    assert not [each for each in beyond if not any(name in each.program for name in BEYOND_LOOPBACK)]


def test_no_password_is_on_a_command_line_or_in_a_log(service: Service) -> None:
    site = service.site
    lines = [named(member.pid) for process in service.processes for member in family(process)]
    logs = [path.read_text(errors="replace") for path in site.folder.rglob("*") if is_log(path)]
    assert logs
    for secret in (*(site.secret(name) for name in RANDOM_BYTES), *site.s3_key):
        assert not [text for text in (*lines, *logs) if secret in text]


def is_log(path: Path) -> bool:
    return path.suffix in (".log", ".out", ".err") and path.is_file()
