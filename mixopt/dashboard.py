"""The MLflow dashboard of a study: a local server over its store, and links to where it is worth looking."""

from __future__ import annotations

from contextlib import AbstractContextManager
from urllib.parse import quote

from mixopt.config import StudyFile
from mixopt.recording import open_store
from tracking import names
from tracking.server import LocalServer, local_server


def serve(file: StudyFile, port: int) -> AbstractContextManager[LocalServer]:
    """Serve the study's store on this machine."""
    open_store(file)  # makes a new store before two server processes try to
    return local_server(file.tracking_uri, port)


def links(file: StudyFile, address: str) -> list[str]:
    """Lines that name pages of the dashboard."""
    store = open_store(file)
    record = store.find(file.study)
    if record is None:
        return [f"{address}    study {file.study} has not run yet"]
    runs = f"{address}/#/experiments/{store.experiment_id}/runs"
    # MLflow folds children away until the list is filtered to them.
    trials = f"tags.`{names.KIND}` = '{names.KIND_TRIAL}' and tags.`{names.STUDY_NAME}` = '{file.study}'"
    listed = f"{runs}?searchFilter={quote(trials)}&orderByKey={quote(f'metrics.`{names.OBJECTIVE}`')}&orderByAsc=true"
    return [
        f"study    {address}/{record.page()}",
        f"trials   {listed}",
        f"charts   {listed}&compareRunsMode=CHART",
    ]
