"""What driver and workers hand each other through files: tokens and checkpoints.

They are in the study's own folder, which nodes then have to share, or at `executor.shared`:

    <shared>/corpora/<fingerprint>/...                        each node downloads it once
    <shared>/checkpoints/<experiment>/<study>/<trial id>.pt   a trial goes on from it on whichever node
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mixopt.base.errors import ClusterLost
from mixopt.settings.schema import StudyFile
from proxies import storage
from proxies.data.corpus import Corpus
from proxies.data.node_cache import publish
from proxies.errors import ProxyError
from search.history import History
from search.trial import Trial

CHECKPOINT = ".pt"
PROBE = b"mixopt looks whether it can write here"


@dataclass(frozen=True)
class Exchange:
    """
    Attributes:
        corpus: folder or URL of the prepared corpus; what has a URL is copied to each node. "" where there is none.
        checkpoints: folder or URL of the checkpoints.
    """

    corpus: str
    checkpoints: str

    @classmethod
    def of(cls, file: StudyFile, corpus: Corpus | None) -> Exchange:
        if file.executor.shared is None or corpus is None:
            tokens = "" if corpus is None else str(corpus.directory.absolute())
            return cls(tokens, str(file.work_directory.absolute() / "checkpoints"))
        shared = _url(file)
        return cls(
            f"{shared}/corpora/{corpus.fingerprint}", f"{shared}/checkpoints/{file.tracking.experiment}/{file.study}"
        )

    def publish(self, corpus: Corpus | None, on_bytes: Callable[[int, int], object] = lambda done, total: None) -> None:
        """Hand the tokens over, where mixopt has them; what is there already is left as it is.

        Args:
            on_bytes: told how many bytes are there, and how many are to be brought there.

        Raises:
            ClusterLost: they cannot be written.
        """
        if corpus is not None and "://" in self.corpus:
            with _mistakes_of_the_file():
                publish(corpus, self.corpus, on_bytes)

    def checkpoint(self, trial: Trial) -> str:
        """Where the trial's training state is kept while it trains."""
        return f"{self.checkpoints}/{trial.id}{CHECKPOINT}"

    def discard(self, trial: Trial) -> None:
        """Remove the checkpoint of a trial that is recorded as closed."""
        with suppress(ProxyError):  # what cannot be removed now is swept at the next start
            storage.remove(self.checkpoint(trial))

    def sweep(self, history: History) -> None:
        """Remove what a killed run left: half-written files, and checkpoints of trials that are closed."""
        with suppress(ProxyError):  # they harm nobody until the next start
            for name in not_gone_on_from(storage.sizes(self.checkpoints), history):
                storage.remove(f"{self.checkpoints}/{name}")


def not_gone_on_from(names: Iterable[str], history: History) -> dict[str, str]:
    """Of the files in a folder of checkpoints those from which no trial goes on, and why."""
    closed = history.trial_ids - {trial.id for trial in history.running}
    reasons = {}
    for name in names:
        if name.endswith(storage.PARTIAL):
            reasons[name] = "half-written when its worker died"
        elif name.removesuffix(CHECKPOINT) in closed:
            reasons[name] = "the trial is recorded; nothing goes on from its checkpoint"
    return reasons


def check_reachable(file: StudyFile) -> None:
    """Write a few bytes to `executor.shared`, read them and remove them.

    Raises:
        ClusterLost: one of the three fails.
    """
    if file.executor.shared is None:
        return
    probe = f"{_url(file)}/probe-{secrets.token_hex(8)}"
    with _mistakes_of_the_file():
        storage.write(probe, PROBE)
        if storage.read(probe) != PROBE:
            raise ProxyError(f"{probe} is read back as something else than was written")
        storage.remove(probe)


@contextmanager
def _mistakes_of_the_file() -> Iterator[None]:
    try:
        yield
    except ProxyError as error:
        raise ClusterLost(f"executor.shared: {error.message}", error.hint) from error


def _url(file: StudyFile) -> str:
    """`executor.shared` as a URL, also where it is a folder."""
    shared = file.executor.shared
    assert shared is not None
    if "://" in shared:
        return shared.rstrip("/")
    return f"file://{os.path.normpath(file.file.parent.absolute() / Path(shared).expanduser())}"
