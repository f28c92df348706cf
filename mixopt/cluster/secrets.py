"""The secrets of docker-compose.yml: one file each, strong, readable by their owner alone."""

from __future__ import annotations

import secrets
from pathlib import Path

from mixopt.base.errors import ConfigError
from proxies.storage import open_whole

# Bytes of randomness. Written as text they are a third longer: 40 characters, and a Ray token must have 32.
RANDOM_BYTES = {
    "ray_token": 30,  # whoever holds it runs code on the cluster
    "mlflow_password": 30,  # of the user admin
    "mlflow_session_key": 30,  # signs the cookies of MLflow's pages
    "postgres_password": 30,
}


def write_secrets(folder: Path) -> list[Path]:
    """Write the secrets that are missing in `folder`, and return their files. One that exists is never changed.

    Raises:
        ConfigError: others than its owner may enter the folder, or a secret in it is empty.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        raise ConfigError(f"{folder}: others may enter this folder", hint=f"chmod 700 {folder}, or name a new one")
    return [
        folder / name for name, size in RANDOM_BYTES.items() if _write_new(folder / name, secrets.token_urlsafe(size))
    ]


def _write_new(path: Path, text: str) -> bool:
    """Write a file whole, unless there is one; True if it was written."""
    if path.exists():
        if not path.stat().st_size:
            raise ConfigError(f"{path}: this secret is empty", hint="delete the file, and a new one is written")
        return False
    try:
        with open_whole(path, mode=0o600, replace=False) as file:
            file.write(text.encode())
    except FileExistsError:  # another process has written it meanwhile
        return False
    return True
