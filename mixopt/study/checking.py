"""Whatever can be known to be wrong with a study before anything is tokenised, trained or started.

    its settings       limits that admit no mixture, impossible models, earlier runs   (mixopt/study/planning.py)
    its text           each path of each source, and the tokenizer
    what it runs on    its folders, this machine's processors and GPUs, its record, its MLflow store

All of it is looked at, however much is wrong. What is told has its place in the study file.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from mixopt.base.errors import ConfigError, all_at_once
from mixopt.base.files import check_folder
from mixopt.settings.environment import DIRECTORY_VARIABLE, STORE_VARIABLE
from mixopt.settings.reading import place_in
from mixopt.settings.schema import STORES, StudyFile
from mixopt.study.corpus import named_sources, tokenizer_file
from mixopt.study.inventory import hinting_at_reuse
from mixopt.study.planning import check_settings, require_levels
from mixopt.study.record import journal_path
from proxies.data.sources import Source, check_readable, find_files
from proxies.errors import ProxyError
from search.errors import ExplainedError, first_line
from tracking import journal
from tracking.address import sqlite_file

# A server that takes longer may be busy: it is asked again, and waited for, when the study starts.
ANSWERS_WITHIN_SECONDS = 1.0
# Of an MLflow, whose database may be slow to begin with.
STORE_ANSWERS_WITHIN_SECONDS = 4.0

FOR_A_CLUSTER = "to submit it: mixopt validate --address looks at the cluster"

Check = Callable[[], object]


def check_study(file: StudyFile) -> None:
    """Everything that is looked at here, for whoever asks whether a study could run.

    Raises:
        ConfigError, SearchError, ProxyError, TrackingError: what is wrong; Mistakes where it is several things.
    """
    all_at_once(
        [
            partial(check_settings, file),
            *_of_text(file),
            *_of_surroundings(file),
            partial(_check_cluster, file),
            partial(_check_store, file),
        ]
    )


def check_before_run(file: StudyFile) -> None:
    """What a run would stumble over only after it has begun: not the text, which it reads first, nor MLflow, without
    which a study that has begun goes on.

    Raises:
        ConfigError, SearchError: as `check_study`.
    """
    require_levels(file)
    all_at_once([partial(check_settings, file), *_of_surroundings(file)])


def known_later(file: StudyFile) -> tuple[str, ...]:
    """What cannot be known before the study starts, or takes long to find out, in a sentence each."""
    executor, found = file.executor, list[str]()
    if cut := list(file.to_be_cut):
        more = f" and {len(cut) - 1} more" if len(cut) > 1 else ""
        found.append(f"the levels of {cut[0]}{more} are still to be made, with: mixopt quality {file.file}")
    if executor.kind == "ray" and executor.address is not None:
        asked = f"CPUs: {executor.cpus_per_trial:g}, GPUs: {executor.gpus_per_trial:g}"
        found.append(
            f"whether the cluster at {executor.address} has room for a trial ({asked}) is seen when the study starts"
        )
    if executor.shared is not None and "://" in executor.shared:
        whether = f"whether {executor.shared} can be written to is seen when the study starts"
        found.append(f"{whether}, or by mixopt doctor {file.file}")
    return tuple(found)


def check_directory(file: StudyFile) -> None:
    """
    Raises:
        ConfigError: the study's folder is a file, or lies below one, or cannot be written to.
    """
    named = place_in(file, "directory")
    if file.directory is None:
        told = DIRECTORY_VARIABLE in os.environ and os.environ[DIRECTORY_VARIABLE]
        named = f"${DIRECTORY_VARIABLE} {told}" if told else f"the study's folder {file.home}"
    check_folder(file.work_directory, named)


def _of_surroundings(file: StudyFile) -> Iterator[Check]:
    yield partial(check_directory, file)
    yield partial(_check_processors, file)
    yield partial(_check_gpus, file)
    yield partial(_check_shared, file)
    yield partial(_check_begun, file)
    yield partial(_check_webhook, file)


def _of_text(file: StudyFile) -> Iterator[Check]:
    if file.executor.is_foreign:
        return  # another trainer has the text
    yield partial(_check_tokenizer, file)
    for section, source in named_sources(file):
        for path in source.paths:
            yield partial(_check_path, file, section, replace(source, paths=(path,)))


def _check_webhook(file: StudyFile) -> None:
    webhook = None if file.notify is None else file.notify.webhook
    if webhook is None:
        return
    place, url = place_in(file, "notify", "webhook"), os.environ.get(webhook.env, "")
    if not url:
        raise ConfigError(f"{place}: ${webhook.env} is not set", hint="put the webhook's address into it")
    if not url.startswith(("http://", "https://")):  # not shown: it is a secret
        raise ConfigError(f"{place}: ${webhook.env} holds no http(s) address", hint="put the webhook's into it")


def _check_path(file: StudyFile, section: str, source: Source) -> None:
    with _at(file, section, source.name, "paths", instead_of=source.name):
        if source.paths[0].startswith("hf:"):
            _look_where_the_hub_is_away()
        check_readable(source, find_files(source))


def _look_where_the_hub_is_away() -> None:
    """A hub that cannot be reached would be tried again for half a minute; what it gave before is on this disk."""
    import requests

    from mixopt.base.http import ask

    try:
        ask(os.environ.get("HF_ENDPOINT", "https://huggingface.co"), within=ANSWERS_WITHIN_SECONDS)
    except (ConfigError, requests.Timeout):
        pass  # it answers, if slowly
    except requests.RequestException:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when its client is loaded, which is next


def _check_tokenizer(file: StudyFile) -> None:
    given = tokenizer_file(file)
    if given is None:
        return
    with _at(file, "corpus", "tokenizer"):
        from proxies.data.tokenizer import load_tokenizer

        load_tokenizer(given)


def _check_processors(file: StudyFile) -> None:
    if file.executor.address is not None or file.executor.kind != "ray":
        return
    from joblib import cpu_count

    asked, there = file.executor.cpus_per_trial, cpu_count()
    if asked > there:
        raise ConfigError(
            f"{place_in(file, 'executor', 'cpus_per_trial')}: a trial asks for {asked:g}, and this machine has {there}",
            hint=f"lower it; {FOR_A_CLUSTER}",
        )


def _check_gpus(file: StudyFile) -> None:
    asked = file.executor.gpus_per_trial
    if file.executor.address is not None or asked == 0:
        return
    from proxies.device import gpus

    there = gpus()
    if asked > there:
        have = f"this machine has {there}" if there else "torch finds no GPU here"
        raise ConfigError(
            f"{place_in(file, 'executor', 'gpus_per_trial')}: a trial asks for {asked:g}, and {have}",
            hint=f"lower it, or remove it to train on CPUs; mixopt doctor looks for GPUs; {FOR_A_CLUSTER}",
        )


def _check_cluster(file: StudyFile) -> None:
    """Whether something listens at the address of the cluster, where that says at which port."""
    address = file.executor.address or ""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if file.executor.kind != "ray" or not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_WITHIN_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"{place_in(file, 'executor', 'address')}: no Ray cluster answers at {address}: {first_line(error)}",
            hint="start it with `ray start --head`, or remove executor.address for a local one",
        ) from error


def _check_shared(file: StudyFile) -> None:
    shared = file.executor.shared
    if shared is None:
        return
    scheme, found, rest = shared.partition("://")
    if found and scheme != "file":
        from fsspec import get_filesystem_class

        try:
            get_filesystem_class(scheme)
        except (ValueError, ImportError) as error:
            raise ConfigError(
                f"{place_in(file, 'executor', 'shared')}: {shared} cannot be opened: {error}",
                hint="write a folder or an s3:// URL; what opens other URLs is a package beside mixopt",
            ) from error
        return
    folder = Path(rest) if found else file.file.parent / Path(shared).expanduser()
    check_folder(folder, place_in(file, "executor", "shared"))


def _check_begun(file: StudyFile) -> None:
    """Whether the journal that is here, if any, is of a study that this file goes on with.

    Raises:
        TrackingError: it is not, or it is damaged.
    """
    path = journal_path(file)
    if not path.exists():
        return
    subject = journal.read_header(path).subject
    if subject.settings is not None:
        with hinting_at_reuse(file):
            subject.require(file.deciding())


def _check_store(file: StudyFile) -> None:
    """
    Raises:
        ConfigError, TrackingError: there is no such store, or it does not answer.
    """
    named = place_in(file, "tracking", "uri") if file.tracking.uri is not None else f"${STORE_VARIABLE}"
    uri = file.tracking_uri
    if not uri.startswith(STORES):
        raise ConfigError(f"{named}: {uri} names no MLflow store", hint="write sqlite:///file.db or http(s)://server")
    path, has_begun = sqlite_file(uri), journal_path(file).exists()
    if has_begun and (path is None or not path.exists()):
        return  # it goes on from its journal
    if uri.startswith(("http://", "https://")):
        _check_server(uri, named)
    elif path is None or path.exists():
        from tracking.database import require_database

        require_database(uri)
    elif path.parent != file.home.absolute():
        check_folder(path.parent, named)


def _check_server(uri: str, named: str) -> None:
    import requests

    from mixopt.base.http import ask, speaks_otherwise, why_away

    try:
        ask(f"{uri.rstrip('/')}/health", within=STORE_ANSWERS_WITHIN_SECONDS)
    except (requests.RequestException, OSError) as error:
        said = "something answers there that is none" if speaks_otherwise(error) else why_away(error)
        raise ConfigError(
            f"{named}: no MLflow server answers at {uri}: {said}", hint="start it, or correct it"
        ) from error


@contextmanager
def _at(file: StudyFile, *location: str, instead_of: str = "") -> Iterator[None]:
    """Mistakes that the block tells have their place in the study file.

    Args:
        instead_of: what they begin with to say where it is.
    """
    try:
        yield
    except (ExplainedError, ProxyError) as mistake:
        message = mistake.message.removeprefix(f"{instead_of}: ") if instead_of else mistake.message
        raise ConfigError(f"{place_in(file, *location)}: {message}", mistake.hint) from mistake
