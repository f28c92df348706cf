"""docker-compose.yml in real containers: built, started, killed, taken down and brought up again.

`make containers` runs it: some ten minutes where the image has to be built, five where it is there. Tests build on
each other, in their order.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from mixopt.cluster.jobs import Cluster
from tests.containers.engine import Podman, Stack, new_stack, why_not
from tests.e2e.study import BASELINES, STUDY, answer_of
from tests.service.compose import ROOT, services
from tests.text import write_jsonl
from tests.waiting import until

REASON = why_not()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
    pytest.mark.timeout(3600),
]

# One domain travels with the study, the others lie where the cluster has its text.
SUBMITTED = (
    STUDY.replace("data/prose.jsonl", "/data/prose.jsonl")
    .replace("data/sums.jsonl", "/data/sums.jsonl")
    .replace("trials: 3}", "trials: 2}")
    .replace("tokens: 4k", "tokens: 100k")
    .replace("target: {tokens: 40k, max_epochs: 4}\n", "")
    .replace("executor: {kind: in_process}\n", "search: {strategy: regmix, surrogate: linear}\n")
)
TRIALS = (8 + BASELINES) + (2 + BASELINES)
STUDY_SECONDS = 600.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Healthy, on a store that an older version of MLflow has left."""
    podman = Podman.new(tmp_path_factory.mktemp("podman"))
    reason = podman.fetch_bases()
    if reason is not None:
        pytest.skip(reason)
    began = time.monotonic()
    podman.build(services()["ray-head"]["image"], ROOT, ROOT / "Dockerfile")
    print(f"built in {time.monotonic() - began:.0f} s")
    with new_stack(podman, tmp_path_factory.mktemp("stack")) as stack:
        write_jsonl(stack.data, {"prose": 60, "sums": 20})
        began = time.monotonic()
        stack.up("volumes", "postgres")
        make_older_store(stack)
        stack.up()
        print(f"up in {time.monotonic() - began:.0f} s")
        yield stack


def make_older_store(stack: Stack) -> None:
    url = f"postgresql+psycopg2://mlflow:{stack.secret('postgres_password')}@postgres:5432/mlflow"
    script = Path(__file__).with_name("older_store.py")
    image = services()["mlflow"]["image"]
    options = ["--rm", "--network=mixopt-test_storage", f"--volume={script}:/older_store.py:ro"]
    stack.podman("run", *options, image, "python", "/older_store.py", url)


@pytest.fixture(autouse=True)
def outside(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user of the service sets on another machine."""
    stack = request.getfixturevalue("stack")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(stack.secrets / "ray_token"))
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", stack.head)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", stack.tracking)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", stack.secret("mlflow_password"))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_jsonl(folder / "data", {"code": 30})
    (folder / "study.yaml").write_text(SUBMITTED)
    return folder / "study.yaml"


def test_an_older_store_was_brought_up_to_date(stack: Stack) -> None:
    assert MlflowClient(stack.tracking).get_experiment_by_name("older") is not None


def test_every_service_has_its_limits(stack: Stack) -> None:
    """Those that hold in the containers, and not only in the file."""
    for name, service in services().items():
        for container in stack.containers(name):
            found = stack.state(container)
            limits = found["HostConfig"]
            assert limits["Memory"] > 0, name
            assert limits["ReadonlyRootfs"], name
            assert found["EffectiveCaps"] == (["CAP_CHOWN"] if name == "volumes" else None), name
            assert found["Config"]["User"] == ("0:0" if name == "volumes" else "1000:1000"), name
            assert bool(service.get("ports")) == bool(limits["PortBindings"])


def test_quotas_are_seen(stack: Stack) -> None:
    """Each of these containers may use one processor of this machine's."""
    nodes = Cluster(stack.head).head.ask("/api/v0/nodes?limit=100")["data"]["result"]["result"]
    assert sorted(node["resources_total"].get("CPU", 0) for node in nodes) == [0, 1, 1]
    [head] = stack.containers("ray-head")
    counted = stack.podman("exec", head, "python", "-c", "from joblib import cpu_count; print(cpu_count())")
    assert counted.strip() == "1"


def test_a_study_survives_the_death_of_a_worker_and_of_mlflow(stack: Stack, study: Path) -> None:
    assert answer_of("submit", study)["submitted"]
    await_it(lambda: trials(study) >= 2 or job(study)["state"] == "FAILED", "two trials", stack)
    worker, mlflow = stack.containers("ray-worker")[0], stack.containers("mlflow")[0]
    stack.kill(worker)
    stack.kill(mlflow)
    assert job(study)["state"] == "RUNNING", "it has ended before anything died"
    for container in (worker, mlflow):
        stack.wait(container)
    await_it(lambda: job(study)["state"] not in ("PENDING", "RUNNING"), "the end", stack)
    assert job(study)["state"] == "SUCCEEDED", answer_of("logs", study)["log"]
    answer = answer_of("best", study)
    assert answer["ended"]
    assert abs(sum(answer["mixture"].values()) - 1) < 1e-6
    assert trials(study) >= TRIALS


def test_nothing_is_lost_when_all_of_it_goes_down_and_comes_back(stack: Stack, study: Path) -> None:
    before = answer_of("best", study)
    stack.down()
    assert not stack.containers()
    stack.up()
    assert answer_of("best", study) == before
    # The new head knows no jobs; the study has its answer, and trains nothing again.
    assert answer_of("submit", study)["submitted"]
    await_it(lambda: job(study)["state"] not in ("PENDING", "RUNNING"), "the end", stack)
    assert job(study)["state"] == "SUCCEEDED"
    assert answer_of("best", study) == before


def job(study: Path) -> dict[str, Any]:
    """The study's latest job, with its trials as far as they are recorded."""
    return answer_of("status", study, "--address", os.environ["RAY_API_SERVER_ADDRESS"])


def trials(study: Path) -> int:
    """How many are completed; 0 as well while MLflow is away."""
    states = job(study).get("trials")
    return 0 if states is None else int(states["completed"]["total"])


def await_it(condition: Callable[[], object], what: str, stack: Stack) -> None:
    def otherwise() -> str:
        return f"{what} did not come\n{stack.said(stack.containers('ray-head')[0])}"

    until(condition, STUDY_SECONDS, 2.0, otherwise)
