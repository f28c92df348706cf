"""Installs trainers' packages, a folder each in .clients/, for tests/clients: python -m tests.clients.install

A folder holds what .venv lacks, at the versions below and nothing that these would bring along: torch, numpy and the
rest come from .venv, before whose packages the folder is put (PYTHONPATH).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

CLIENTS = {
    "litdata": ("litdata==0.2.76", "lightning-utilities==0.15.3", "obstore==0.12.1", "tifffile==2026.3.3"),
    "megatron": (
        "megatron-core==0.16.1",
        "megatron-bridge==0.3.1",
        "antlr4-python3-runtime==4.9.3",
        "hydra-core==1.3.2",
        "omegaconf==2.3.0",
    ),
    "olmo_core": (
        "ai2-olmo-core==3.0.0",
        "bettermap==1.3.1",
        "cached-path==1.8.10",
        "dataclass-extensions==0.5.0",
        "google-cloud-core==2.8.0",
        "google-cloud-storage==3.17.1",
        "google-crc32c==1.9.0",
        "google-resumable-media==2.11.0",
        "importlib_resources==7.1.0",
        "safetensors==0.8.0",
    ),
    "streaming": (
        "mosaicml-streaming==0.13.0",
        "llm-foundry==0.22.0",
        "brotli==1.2.1",
        "catalogue==2.0.10",
        "cramjam==2.14.0",
        "python-snappy==0.7.3",
        "regex==2026.11.15",
        "safetensors==0.8.0",
        "transformers==5.23.0",
        "zstd==1.5.7.2",
    ),
}


def folder(client: str) -> Path:
    return ROOT / ".clients" / client


def is_installed(client: str) -> bool:
    """At these versions."""
    stamp = folder(client) / "requirements.txt"
    return stamp.is_file() and stamp.read_text(encoding="utf-8").split() == list(CLIENTS[client])


def install(client: str) -> None:
    shutil.rmtree(folder(client), ignore_errors=True)
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile", "--target", str(folder(client))]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *CLIENTS[client]], check=True)
    # Last, so that half an installation is none.
    (folder(client) / "requirements.txt").write_text("\n".join(CLIENTS[client]), encoding="utf-8")


if __name__ == "__main__":
    for client in CLIENTS:
        if not is_installed(client):
            print(f"installing {client}", file=sys.stderr)
            install(client)
