"""The MLflow dashboard of a study: a local server over its store, and where in it to look."""

from __future__ import annotations

from contextlib import AbstractContextManager

from mixopt.settings.schema import StudyFile
from mixopt.study.mlflow_page.views import links_for, study_page
from mixopt.study.record import open_store
from tracking.local_server import LocalServer, local_server


def serve(file: StudyFile, port: int) -> AbstractContextManager[LocalServer]:
    """Serve the study's store on this machine."""
    open_store(file)  # makes a new store before two server processes try to
    return local_server(file.tracking_uri, port)


def links(file: StudyFile, address: str) -> list[str]:
    """Lines that name pages of the dashboard."""
    store = open_store(file)
    run = store.find(file.study)
    if run is None:
        return [f"{address}    study {file.study} has not run yet"]
    pages = {"study": study_page(store.experiment_id, run.run_id), **links_for(file, store.experiment_id)}
    width = max(map(len, pages))
    return [f"{name:{width}}   {address.rstrip('/')}/{page}" for name, page in pages.items()]
