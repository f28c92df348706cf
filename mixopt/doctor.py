"""What a keeper looks at first: this machine, the store, a study's folder, the cluster.

Each check looks and changes nothing, but for a few bytes that are written to `executor.shared` and removed. One that
cannot look says so, and the others go on.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from joblib import cpu_count

from mixopt.base.version import VERSION
from mixopt.results.doctor import Diagnosis, Finding, State
from mixopt.settings.environment import STORE_VARIABLE, studies_folder
from mixopt.settings.schema import StudyFile, store_of_this_machine
from search.errors import ExplainedError
from search.urls import fit_to_show

PACKAGES = ("torch", "ray", "mlflow", "botorch", "lightgbm", "datasets", "tokenizers")
GB = 1e9
# Below the first a study soon stops, below the second a larger one may.
FREE_BAD, FREE_WARN = 1 * GB, 10 * GB
MEMORY_WARN = 2 * GB
SHARED_MEMORY_WARN = 1 * GB
SKEW_SECONDS = 30.0
# What the pieces of the service listen on.
PORTS = {
    5000: "MLflow",
    5432: "PostgreSQL",
    6379: "Ray's head",
    8265: "Ray's dashboard",
    9000: "S3",
    10001: "Ray for clients",
}
LISTENING = "0A"  # in /proc/net/tcp
SECRET_FILES = ("~/.netrc", "~/.aws/credentials", "~/.pgpass", "~/.mlflow/credentials")

About = Literal["machine", "store", "study", "cluster"]
Check = tuple[About, str, Callable[[], Iterator[tuple[State, str, str | None]]]]


def findings(
    file: StudyFile | None, address: str | None, begins: Callable[[str], object] = lambda what: None
) -> Iterator[Finding]:
    """What is found, as soon as it is.

    Args:
        file: whose folder, store and shared place are looked at as well.
        address: of a cluster's head.
        begins: told what is looked at next.
    """
    checks: list[Check] = [
        ("machine", "versions", _versions),
        ("machine", "processors", _processors),
        ("machine", "memory", _memory),
        ("machine", "GPU", _gpu),
        ("machine", "compiler", _compiler),
        ("machine", "free space", lambda: _space(file)),
        ("machine", "secrets", _secrets),
        ("machine", "ports", _ports),
        ("store", "MLflow", lambda: _store(file)),
    ]
    if file is not None:
        checks += [
            ("study", "folder", lambda: _folder(file)),
            ("study", "journal", lambda: _journal(file)),
            ("study", "executor.shared", lambda: _shared(file)),
        ]
    if address:
        checks += [("cluster", "head", lambda: _cluster(address))]
    for check in checks:
        about, what, _ = check
        begins(f"{about} {what}")
        yield from _findings(check)


def diagnosis(findings: Iterable[Finding]) -> Diagnosis:
    found = tuple(findings)
    return Diagnosis(findings=found, healthy=all(finding.state != "bad" for finding in found))


def _findings(check: Check) -> Iterator[Finding]:
    about, what, look = check
    try:
        for state, found, remedy in look():
            yield Finding(about=about, what=what, state=state, found=fit_to_show(found), remedy=remedy)
    except ExplainedError as error:
        yield Finding(about=about, what=what, state="bad", found=error.message, remedy=error.hint or None)
    except Exception as error:  # a package that is broken, a file of another shape: what it is about says the rest
        said = fit_to_show(f"cannot be looked at: {type(error).__name__}: {error}")
        yield Finding(about=about, what=what, state="warn", found=said, remedy="look at it by hand")


def _versions() -> Iterator[tuple[State, str, str | None]]:
    here = [f"mixopt {VERSION}", f"Python {platform.python_version()}"]
    missing = []
    for package in PACKAGES:
        try:
            here.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    yield "ok", ", ".join(here), None
    yield "ok", f"{platform.system()} {platform.release()}, {platform.machine()}", None
    if missing:
        yield "bad", f"not installed: {', '.join(missing)}", "pip install mixopt, in this Python"


def _processors() -> Iterator[tuple[State, str, str | None]]:
    here, usable = os.cpu_count() or 1, cpu_count()
    limited = f", of {here} that the machine has (a quota or a set of them)" if usable < here else ""
    yield "ok", f"{usable} can be used{limited}", None
    load = os.getloadavg()[0]
    if load > 2 * usable:
        yield "warn", f"{load:.0f} processes wait for them", "end what else runs, or wait for it"


def _memory() -> Iterator[tuple[State, str, str | None]]:
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024.0
    group, of = Path("/sys/fs/cgroup"), ""
    if (group / "memory.max").exists() and (most := (group / "memory.max").read_text().strip()).isdecimal():
        free = min(free, int(most) - int((group / "memory.current").read_text()))
        of = f", of the {int(most) / GB:.1f} GB that the container may have"
    said = f"{free / GB:.1f} GB are free{of}"
    yield ("warn", said, "trials may be killed; lower executor.slots") if free < MEMORY_WARN else ("ok", said, None)
    shared = shutil.disk_usage("/dev/shm").free
    if shared < SHARED_MEMORY_WARN:
        remedy = "raise it (in a container shm_size): Ray would put objects on the disk"
        yield "warn", f"shared memory has {shared / GB:.2f} GB free", remedy


def _gpu() -> Iterator[tuple[State, str, str | None]]:
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
        yield "ok", names, None
    elif shutil.which("nvidia-smi"):
        remedy = "install torch's build for CUDA, and compare its version with the driver's (nvidia-smi)"
        yield "warn", f"there is a driver, but torch {torch.__version__} sees no GPU", remedy
    else:
        yield "ok", "none; proxies are trained on processors", None


def _compiler() -> Iterator[tuple[State, str, str | None]]:
    compiler = os.environ.get("CXX", "g++")
    lacking = [] if shutil.which(compiler) else [f"a C++ compiler ({compiler})"]
    if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        lacking.append("Python's C headers (Python.h)")
    if lacking:
        remedy = "Debian: apt-get install g++ python3-dev; or executor.compile: never"
        yield "warn", f"{' and '.join(lacking)}: not here, so steps are not compiled, and half as fast", remedy
    else:
        yield "ok", f"{shutil.which(compiler)}, and Python's headers", None


def _space(file: StudyFile | None) -> Iterator[tuple[State, str, str | None]]:
    home = file.home if file is not None else studies_folder()
    for folder in dict.fromkeys((home.absolute(), Path(tempfile.gettempdir()))):
        there = next(each for each in (folder, *folder.parents) if each.exists())
        free = shutil.disk_usage(there).free
        state: State = "bad" if free < FREE_BAD else "warn" if free < FREE_WARN else "ok"
        yield state, f"{free / GB:.1f} GB at {folder}", None if state == "ok" else "make room; see: mixopt prune"


def _secrets() -> Iterator[tuple[State, str, str | None]]:
    from mixopt.workers.ray_token import TOKEN_FILE, TOKEN_FILE_VARIABLE

    named = os.environ.get(TOKEN_FILE_VARIABLE)
    token = Path(named) if named else Path.home() / TOKEN_FILE
    files = [path for path in (token, *(Path(each).expanduser() for each in SECRET_FILES)) if path.exists()]
    for path in files:
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            yield "bad", f"{path} is open to others (mode {mode:04o})", f"chmod 600 {path}"
    kept = ", ".join(str(path) for path in files)
    if not any(path.stat().st_mode & 0o077 for path in files):
        yield "ok", f"only this user reads {kept}" if kept else "no file of this user holds any", None


def _ports() -> Iterator[tuple[State, str, str | None]]:
    found = sorted(_listening())
    if not found:
        yield "ok", "no piece of the service listens here", None
    for port, beyond in found:
        if beyond:
            yield "warn", f"{PORTS[port]} listens on {port} beyond this machine", "bind it to 127.0.0.1, or guard it"
        else:
            yield "ok", f"{PORTS[port]} listens on {port}, for this machine alone", None


def _listening() -> set[tuple[int, bool]]:
    """Ports of the service that something listens on, and whether others than this machine reach them."""
    beyond: dict[int, bool] = {}
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, _, port = local.rpartition(":")
            if state == LISTENING and int(port, 16) in PORTS:
                number = int(port, 16)
                beyond[number] = beyond.get(number, False) or not _is_loopback(address)
    return set(beyond.items())


def _is_loopback(address: str) -> bool:
    """`address` as /proc/net/tcp has it: words of four bytes, each in the machine's own order."""
    words = [bytes.fromhex(address[start : start + 8]) for start in range(0, len(address), 8)]
    found = ip_address(b"".join(word[::-1] if sys.byteorder == "little" else word for word in words))
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def _store(file: StudyFile | None) -> Iterator[tuple[State, str, str | None]]:
    from tracking.address import may_exist, sqlite_file
    from tracking.mlflow_store import count_experiments

    uri = file.tracking_uri if file is not None else store_of_this_machine()
    if uri is None:
        yield "ok", f"${STORE_VARIABLE} is not set: each study has its own, in its folder", None
        return
    if not may_exist(uri):
        yield "ok", f"{uri} is made when a study first runs", None
        return
    path = sqlite_file(uri)
    if path is not None and path.is_file() and not path.stat().st_size:
        yield "warn", f"{path} is empty: it knows no study", "mixopt run sends each study's record again"
        return
    began = time.monotonic()
    experiments = count_experiments(uri)
    took = time.monotonic() - began
    said = f"{uri} answers in {took:.1f} s, with {experiments} experiments"
    yield ("warn", said, "records arrive late; look at its machine") if took > 10 else ("ok", said, None)
    if uri.startswith(("http://", "https://")):
        yield from _way_to(uri, "/health", None)


def _way_to(address: str, path: str, token: str | None) -> Iterator[tuple[State, str, str | None]]:
    """Of a server: its clock beside this machine's, and whether who listens in on the way learns what is sent."""
    from mixopt.base.http import ask

    date = ask(address.rstrip("/") + path, token).headers.get("Date")
    if date is not None:
        skew = abs(parsedate_to_datetime(date).timestamp() - time.time())
        said = f"its clock and this machine's are {skew:.0f} s apart"
        yield ("warn", said, "have both follow a time server (NTP)") if skew > SKEW_SECONDS else ("ok", said, None)
    parts = urlsplit(address)
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        yield "warn", f"{address} is not encrypted, logins included", "use https://, or an SSH tunnel"


def _folder(file: StudyFile) -> Iterator[tuple[State, str, str | None]]:
    from mixopt.study.checking import check_directory

    home = file.home.absolute()
    there = next(each for each in (home, *home.parents) if each.exists())
    check_directory(file)
    if there.stat().st_mode & 0o002:
        yield "warn", f"everybody may write in {there}", f"chmod o-w {there}"
    else:
        yield "ok", f"{home} can be written", None


def _journal(file: StudyFile) -> Iterator[tuple[State, str, str | None]]:
    from mixopt.study.record import journal_path
    from tracking.journal import SCHEMA, checked_lines, read_header

    path = journal_path(file)
    if not path.exists():
        yield "ok", f"study {file.study} has not run here", None
    elif read_header(path).schema == SCHEMA:
        yield "ok", f"{path} is whole, {checked_lines(path).entries} entries", None
    else:
        yield "ok", f"{path} is of an earlier version, which the next run upgrades", None


def _shared(file: StudyFile) -> Iterator[tuple[State, str, str | None]]:
    from mixopt.study.exchange import check_reachable

    if file.executor.shared is None:
        yield "ok", "not set: all nodes share the study's folder", None
        return
    began = time.monotonic()
    check_reachable(file)
    yield "ok", f"{file.executor.shared} takes and gives in {time.monotonic() - began:.1f} s", None


def _cluster(address: str) -> Iterator[tuple[State, str, str | None]]:
    from mixopt.cluster.jobs import Cluster

    cluster = Cluster(address)
    there = str(cluster.head.ask("/api/version")["ray_version"])
    here = version("ray")
    if there == here:
        yield "ok", f"Ray {there}, as here", None
    else:
        yield "bad", f"Ray {there}, and {here} here", "have the same version here and there"
    if any(node.get("CPU", 0) for node in cluster.nodes()):
        yield "ok", cluster.room, None
    else:
        yield "bad", "no node that trains has joined", "start its workers"
    jobs = cluster.jobs()
    failed = [job.study for job in jobs if job.state == "FAILED"]
    running = sum(not job.has_ended for job in jobs)
    if failed:
        remedy = f"mixopt logs {failed[0]}{cluster.head.option}"
        yield "warn", f"{running} studies run; failed: {', '.join(failed)}", remedy
    else:
        yield "ok", f"{running} studies run", None
    with cluster.head.answering():
        yield from _way_to(cluster.head.address, "/api/version", cluster.head.token)
