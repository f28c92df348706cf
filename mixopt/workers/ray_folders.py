"""Where the files of this machine's own Ray clusters lie; without Ray, for whoever only looks what is left there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

PREFIX = "mixopt-"  # of a cluster's folder, in any of the places
# Ray's sockets lie some 85 characters below the folder for temporary files, and their names may have 107 in all.
LONGEST_FOLDER = 20
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


def usual_place() -> str:
    """The folder that is named for Ray, or for all temporary files."""
    return os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()


def places(usual: str) -> tuple[str, ...]:
    """Where a cluster's folder may be made: the usual place, if its name is short enough, and others."""
    return (usual, *SHORT_FOLDERS) if len(os.fsencode(usual)) <= LONGEST_FOLDER else SHORT_FOLDERS


def cluster_folders() -> list[Path]:
    """The folders of clusters, of any user, that lie in any place where one may have been made; links are left out."""
    looked_in = {os.path.realpath(place) for place in (usual_place(), tempfile.gettempdir(), *SHORT_FOLDERS)}
    found = (folder for place in sorted(looked_in) for folder in sorted(Path(place).glob(f"{PREFIX}*")))
    return [folder for folder in found if not folder.is_symlink()]
