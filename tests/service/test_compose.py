"""docker-compose.yml, the image and the manifests: they agree with each other, with the programs and with the code."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mixopt.cluster.secrets import RANDOM_BYTES
from mixopt.settings.environment import JOB_VARIABLE
from tests.service.compose import FILE, ROOT, load, read, services

KUBERAY = sorted((ROOT / "deploy" / "kuberay").glob("*.yaml"))
RAY_SERVICES = [name for name in services() if name.startswith("ray-")]
WORKERS = [name for name in RAY_SERVICES if name != "ray-head"]
S3 = ROOT / "deploy" / "s3.yml"
PODMAN = ROOT / "deploy" / "podman.yml"
# Of the head, the same wherever it runs.
HEAD_SETTINGS = (
    "RAY_JOB_STOP_WAIT_TIME_S",
    "RAY_USAGE_STATS_ENABLED",
    "RAY_enable_metrics_collection",
    "AUTOSCALER_METRIC_PORT",
    "DASHBOARD_METRIC_PORT",
)

each_service = pytest.mark.parametrize("name", services())


def manifests() -> list[dict[str, Any]]:
    return [manifest for file in KUBERAY for manifest in yaml.safe_load_all(file.read_text())]


def test_the_schema_of_compose_accepts_it() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    files = [FILE, S3, PODMAN]
    subprocess.run([checker, "--builtin-schema", "vendor.compose-spec", *files], check=True, capture_output=True)


@each_service
def test_each_service_has_its_part_of_the_memory(name: str) -> None:
    assert re.fullmatch(r"[1-9]\d*[mg]b", services()[name]["mem_limit"])


def test_mlflow_waits_for_its_tables() -> None:
    migrate = services()["migrate"]
    assert services()["mlflow"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    store = [word for word in services()["mlflow"]["command"] if "postgresql" in word]
    assert store == [f"--backend-store-uri={migrate['command'][-1]}"]


def test_the_files_beside_it_change_services_that_it_has() -> None:
    for file in (S3, PODMAN):
        assert read(file)["services"].keys() <= services().keys()
    added = read(S3)["services"]["mlflow"]
    assert "MLFLOW_ARTIFACTS_DESTINATION" in added["environment"].keys() & services()["mlflow"]["environment"].keys()
    assert added["secrets"] == list(read(S3)["secrets"])


@each_service
def test_what_a_service_names_exists(name: str) -> None:
    everything, service = load(), services()[name]
    assert set(service.get("depends_on", {})) <= set(everything["services"])
    assert set(service.get("secrets", [])) <= set(everything["secrets"])
    assert set(service.get("networks", [])) <= set(everything["networks"])
    named = {each["source"] for each in service.get("volumes", []) if each["type"] == "volume" and "source" in each}
    assert named <= set(everything["volumes"])


@each_service
def test_ports_are_published_on_loopback_alone(name: str) -> None:
    for port in services()[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


def test_secrets_are_those_that_are_written() -> None:
    assert {name: Path(secret["file"]).name for name, secret in load()["secrets"].items()} == {
        name: name for name in RANDOM_BYTES
    }


@each_service
def test_a_service_is_given_the_secrets_that_it_reads_and_no_others(name: str) -> None:
    service = services()[name]
    by_entry = [word.partition("=")[2] for word in service.get("entrypoint", []) if "=" in word]
    by_path = re.findall(r"/run/secrets/(\w+)", str(service.get("environment", {})))
    assert sorted(service.get("secrets", [])) == sorted({*by_entry, *by_path})


def test_no_password_stands_in_the_file() -> None:
    for name, service in services().items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|KEY", variable):
                assert value.startswith("/run/secrets/"), f"{name}: {variable}"
    assert not re.search(r"://[^/\s]*:[^/\s@]*@", FILE.read_text()), "a password in a URL"


@pytest.mark.parametrize("name", WORKERS)
def test_workers_hold_the_token_and_reach_the_head_alone(name: str) -> None:
    service = services()[name]
    assert service["secrets"] == ["ray_token"]
    assert not [variable for variable in service["environment"] if variable.startswith(("MLFLOW", "AWS", "PG"))]
    reachable = {
        other for other, each in services().items() if set(each.get("networks", [])) & set(service["networks"])
    }
    assert reachable == {"ray-head", *WORKERS}


@pytest.mark.parametrize(
    "name", [name for name, service in services().items() if service["image"].startswith("mixopt:")]
)
def test_commands_exist_in_the_image(name: str) -> None:
    service = services()[name]
    in_image = f"{Path(sys.executable).parent}:{ROOT / 'deploy' / 'bin'}:/bin:/usr/bin"
    for words in (
        service.get("entrypoint", []),
        service["command"],
        service.get("healthcheck", {}).get("test", [])[1:],
    ):
        assert not words or shutil.which(words[0], path=in_image), words[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlflow", *RAY_SERVICES])
def test_options_exist_in_the_image(name: str) -> None:
    from mlflow.cli import server
    from ray.scripts.scripts import start

    program, action, *options = services()[name]["command"]
    command = {("ray", "start"): start, ("mlflow", "server"): server}[program, action]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {option.partition("=")[0] for option in options} <= known


def test_what_the_image_copies_reaches_its_build() -> None:
    copied = [
        source
        for line in re.findall(r"^COPY (.*) \S+$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
        for source in line.split()
    ]
    kept = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert set(copied) == kept
    assert all((ROOT / source).exists() for source in copied)


@pytest.mark.parametrize("kind", ["RayCluster", "RayJob"])
def test_manifests_agree_with_the_compose_file(kind: str) -> None:
    [manifest] = [each for each in manifests() if each["kind"] == kind]
    cluster = manifest["spec"] if kind == "RayCluster" else manifest["spec"]["rayClusterSpec"]
    [in_image] = re.findall(r"^ray==(\S+)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    assert cluster["rayVersion"] == in_image
    assert cluster["authOptions"]["mode"] == "token"
    assert cluster["enableInTreeAutoscaling"]
    assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in cluster["autoscalerOptions"]["env"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    pods = {"head": cluster["headGroupSpec"], **{group["groupName"]: group for group in cluster["workerGroupSpecs"]}}
    claims = {each["metadata"]["name"] for each in manifests() if each["kind"] == "PersistentVolumeClaim"}
    for name, group in pods.items():
        pod = group["template"]["spec"]
        [container] = pod["containers"]
        assert container["image"] == services()["ray-head" if name == "head" else "ray-worker-gpu"]["image"]
        environment = {each["name"]: each for each in container["env"]}
        assert environment["MIXOPT_DIRECTORY"]["value"] == services()["ray-head"]["environment"]["MIXOPT_DIRECTORY"]
        assert ("MLFLOW_TRACKING_PASSWORD" in environment) == (name == "head")
        assert environment["RAY_USAGE_STATS_ENABLED"]["value"] == "0"
        assert confined(container, pod)
        assert (
            {each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"] if "persistentVolumeClaim" in each}
            == {"mixopt-shared"}
            <= claims
        )
        assert group["template"]["metadata"]["labels"] == {"mixopt": "ray"}
    [head] = pods["head"]["template"]["spec"]["containers"]
    for each in HEAD_SETTINGS:
        assert {"name": each, "value": services()["ray-head"]["environment"][each]} in head["env"]


def confined(container: dict[str, Any], pod: dict[str, Any]) -> bool:
    """It runs with as few rights as in docker-compose.yml, and mounts what its pod has."""
    limits = container["securityContext"]
    assert limits["capabilities"] == {"drop": services()["ray-head"]["cap_drop"]}
    assert limits["readOnlyRootFilesystem"] and not limits["allowPrivilegeEscalation"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["resources"]["limits"]["memory"]
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    assert "/tmp" in mounts
    return set(mounts.values()) <= {each["name"] for each in pod["volumes"]}


def test_mlflow_runs_on_kubernetes_as_in_the_compose_file() -> None:
    pods = {each["metadata"]["name"]: each["spec"]["template"] for each in manifests() if each["kind"] == "Deployment"}
    for name in ("mlflow", "postgres"):
        pod, service = pods[name]["spec"], services()[name]
        [container] = pod["containers"]
        assert container["image"] == service["image"]
        assert confined(container, pod)
        environment = {each["name"]: each.get("value") for each in container["env"]}
        for variable, value in service["environment"].items():
            assert variable in environment
            assert environment[variable] == value or "/run/secrets" in value
    [mlflow], [migrate] = pods["mlflow"]["spec"]["containers"], pods["mlflow"]["spec"]["initContainers"]
    assert mlflow["command"] == services()["mlflow"]["command"]
    assert migrate["command"] == services()["migrate"]["command"]
    given = {each["name"] for each in mlflow["env"]}
    assert {word.partition("=")[0] for word in services()["mlflow"]["entrypoint"] if "=" in word} <= given


def test_policies_speak_of_pods_that_exist() -> None:
    policies = [each["spec"] for each in manifests() if each["kind"] == "NetworkPolicy"]
    guarded = [each["podSelector"]["matchLabels"]["mixopt"] for each in policies]
    assert sorted(guarded) == ["mlflow", "postgres", "ray"]
    assert set(guarded) == set(re.findall(r"labels: \{mixopt: (\w+)\}", "".join(map(Path.read_text, KUBERAY))))


def test_the_jobs_command_exists() -> None:
    [job] = [each for each in manifests() if each["kind"] == "RayJob"]
    assert job["spec"]["entrypoint"].startswith("python -P -m mixopt.supervise /study/")
    assert importlib.util.find_spec("mixopt.supervise")
    [head] = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    # Without it mixopt would start a Ray of its own on the head.
    assert {"name": JOB_VARIABLE, "value": job["metadata"]["name"]} in head["env"]
