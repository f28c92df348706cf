"""Where a study is recorded from now on: the journal that goes on, and the recorder that brings it to MLflow."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from mixopt.base.version import VERSION
from mixopt.results.inventory import Inventory
from mixopt.settings.schema import StudyFile
from mixopt.study.inventory import hinting_at_reuse, inventory_of, remember_pools
from mixopt.study.mlflow_page.views import views
from mixopt.study.plan import Plan
from mixopt.study.portraits import Portraits
from mixopt.study.record import goes_on_without_store, journal_path, open_store, unmark_submitted
from search.history import History
from tracking import keys
from tracking.entries import Entry, entries_of
from tracking.errors import TrackingAway, TrackingError, TrackingRefused, WentOnElsewhere
from tracking.heartbeat import await_silence
from tracking.journal import SCHEMA, Header, Journal, count_entries, goes_on_after, read_header, read_record
from tracking.mlflow_store import PoolShown, Store, StudyRun
from tracking.record import Record, Subject
from tracking.recorder import Away, Recorder

log = logging.getLogger(__name__)

RECORDED_VERSIONS = ("torch", "lightgbm", "ray", "mlflow", "datasets", "tokenizers", "numpy")


def begin(plan: Plan, store: Store | None, remark: Callable[[str], None] = lambda text: None) -> Recorder:
    """The study's recorder, new or as it was left, with what reproduces it.

    Args:
        store: None where it does not answer, and the study goes on from its journal: MLflow gets everything later.
        remark: told what is waited for.

    Raises:
        TrackingError: the store holds a study of this name with another file or corpus, or another driver runs it.
    """
    file = plan.file
    subject = Subject(file.study, plan.deciding(), plan.pools.fingerprint)
    inventory = inventory_of(file, plan.pools)

    def claim(run: StudyRun, journal: Journal) -> None:
        run.store.tag_experiment(views(plan))
        run.attach(file.text, keys.STUDY_FILE)
        run.attach(json.dumps(_versions(), indent=2), keys.VERSIONS_FILE)
        _show_pools(run, file, inventory)
        if plan.corpus is not None:
            Portraits.of(plan.corpus).show(run)
        run.keep(journal)
        run.set_tags(
            {
                keys.SCHEMA_VERSION: keys.SCHEMA,
                keys.INVENTORY: inventory.fingerprint,
                keys.VERSION: VERSION,
            }
        )
        run.begin()

    recorder = None
    if store is not None:
        try:
            recorder = _with_store(store, subject, plan, claim, remark)
        except TrackingAway as error:  # since it was looked at
            if not goes_on_without_store(file):
                raise
            recorder = _without_store(file, subject, claim, error)
    else:
        recorder = _without_store(file, subject, claim, TrackingAway(f"the MLflow store {file.tracking_uri} is away"))
    unmark_submitted(file)
    remember_pools(file)
    if recorder.begun.written.get(keys.INVENTORY) != inventory.plain():
        recorder.write(keys.INVENTORY, inventory.plain(), keys.INVENTORY_FILE)
    if plan.taken is not None and keys.REUSED not in recorder.begun.written:
        recorder.write(keys.REUSED, plan.taken.plain(), keys.REUSED_FILE)
    return recorder


def _versions() -> dict[str, str]:
    """Of what computes here."""
    packages = {package: version(package) for package in RECORDED_VERSIONS}
    return {"mixopt": VERSION, "python": platform.python_version(), **packages}


def _show_pools(run: StudyRun, file: StudyFile, inventory: Inventory) -> None:
    """The pools as data sets of the study's run. A server that knows none goes without: nothing is read from them."""
    shown = [
        PoolShown(
            name,
            digest=pool.content or f"declared-{pool.tokens}",
            source=", ".join(file.domains[name].paths or ()),
            profile={
                key: value
                for key, value in (
                    ("tokens", pool.tokens),
                    ("documents", pool.documents),
                    ("training tokens at hand", pool.counted),
                )
                if value is not None
            },
        )
        for name, pool in inventory.domains.items()
    ]
    try:
        run.show_pools(shown)
    except TrackingRefused as error:
        log.warning("MLflow does not list the pools as data sets: %s", error.message)


def _with_store(
    store: Store,
    subject: Subject,
    plan: Plan,
    claim: Callable[[StudyRun, Journal], None],
    remark: Callable[[str], None],
) -> Recorder:
    """
    Raises:
        TrackingError: as `begin`; or the store does not answer.
    """
    run = store.find_or_create(plan.file.study)
    path = journal_path(plan.file)
    await_silence(run, path, remark)
    with hinting_at_reuse(plan.file):
        journal = _journal(run, path, subject, plan.digest)
    try:
        claim(run, journal)
        return Recorder(run, journal)
    except TrackingError:
        journal.close()
        raise


def _without_store(
    file: StudyFile, subject: Subject, claim: Callable[[StudyRun, Journal], None], trouble: TrackingError
) -> Recorder:
    """
    Raises:
        TrackingError: the journal is of another file or corpus.
    """
    path = journal_path(file)
    header = read_header(path)
    with hinting_at_reuse(file):
        header.subject.require(subject.settings or {}, subject.corpus)
    journal = _opened(path, header, subject)
    begun_with = count_entries(path)

    def find() -> tuple[StudyRun, int]:
        run = open_store(file).find_or_create(file.study)
        await_silence(run, path, log.info)
        return run, _sent(run, journal, header, begun_with)

    return Recorder(Away(trouble, find, lambda run: claim(run, journal)), journal)


def _journal(run: StudyRun, path: Path, subject: Subject, digest: str) -> Journal:
    """The journal that goes on: the one that is here, unless the study went on elsewhere since.

    Args:
        digest: of the plan, by which journals of versions before 0.2 are known.

    Raises:
        TrackingError: MLflow has a study of this name with another file or corpus; or has forgotten the study, and the
            journal that is here is of another file or corpus.
    """
    if not path.exists():
        return _from_mlflow(run, path, subject)
    header = read_header(path)
    if _has_all(run, path, header, count_entries(path)):
        if header.subject.settings is not None:
            header.subject.require(subject.settings or {}, subject.corpus)
        elif (begun := run.subject()) is not None:
            begun.require(subject.settings or {}, subject.corpus)
        journal = _opened(path, header, subject)
        # Less than was sent is there where MLflow came back from a backup.
        journal.mark_sent(min(journal.sent, int(run.tags.get(keys.SENT, "0"))))
        return journal
    there = run.record()
    if run.tags.get(keys.JOURNAL) is None and (there is None or not there.history.trials):
        # MLflow is new, or has lost the study: it gets everything again.
        if not _is_of(header, subject, digest):
            raise TrackingError(
                f"{path} is the journal of a study with another file or corpus, which MLflow does not have",
                hint=f"remove the folder {path.parent} to begin anew, or restore what was changed",
            )
        journal = _opened(path, header, subject)
        journal.mark_sent(0)
        return journal
    left_over = read_record(path).history if _is_of(header, subject, digest) else History()
    return _from_mlflow(run, path, subject, left_over)


def _has_all(run: StudyRun, path: Path, header: Header, entries: int) -> bool:
    """Whether the journal that is here, of which so many entries are looked at, wrote to MLflow last, and goes on where
    MLflow's copy of it ends. Else it is an old copy of itself, or one that went on apart from another."""
    if run.tags.get(keys.JOURNAL) != header.id:
        return False
    copy = run.copy()
    return copy is None or (copy.entries <= entries and goes_on_after(path, copy.entries, copy.last))


def _sent(run: StudyRun, journal: Journal, header: Header, begun_with: int) -> int:
    """How many entries MLflow has of a journal with which a study went on while MLflow was away.

    Raises:
        TrackingError: the study is in MLflow with another file or corpus.
        WentOnElsewhere: MLflow has measurements that the journal lacks.
    """
    if _has_all(run, journal.path, header, begun_with):
        return min(journal.sent, int(run.tags.get(keys.SENT, "0")))
    there = run.record()
    if there is not None:
        there.subject.require(journal.subject.settings or {}, journal.subject.corpus)
        lacking = there.history.measured_ids - read_record(journal.path).history.measured_ids
        if lacking:
            raise WentOnElsewhere(
                f"study {run.study} went on elsewhere before: MLflow, which is back, has {len(lacking)} trials that "
                f"{journal.path} lacks",
                hint="run it again: it goes on from what MLflow has, and adds what was measured here",
            )
    return 0


def _opened(path: Path, header: Header, subject: Subject) -> Journal:
    return Journal(path) if header.schema == SCHEMA else Journal.upgrade(path, subject)


def _is_of(header: Header, subject: Subject, digest: str) -> bool:
    if header.digest is not None:
        return (header.digest, header.subject.corpus) == (digest, subject.corpus)
    try:
        header.subject.require(subject.settings or {}, subject.corpus)
    except TrackingError:
        return False
    return True


def _from_mlflow(run: StudyRun, path: Path, subject: Subject, here: History | None = None) -> Journal:
    """A journal of everything that MLflow has, and of what was measured `here` alone.

    Raises:
        TrackingError: what it has is of another file or corpus.
    """
    found = run.entries()
    if found is None:
        return Journal.create(path, subject, (), entries_of(here or History()))
    there, entries = found
    there.require(subject.settings or {}, subject.corpus)
    known = Record.of(there, entries).history
    return Journal.create(path, subject, entries, _measured_here_alone(here or History(), known))


def _measured_here_alone(here: History, there: History) -> Iterator[Entry]:
    """What a journal knows that was overtaken: measurements that did not reach MLflow before."""
    return entries_of(here.only(lambda trial: trial.id in here.measured_ids - there.measured_ids))
