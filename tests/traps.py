"""Files of data that are called as modules are, and tell when they are run."""

from __future__ import annotations

from pathlib import Path

# Of ours, of libraries, and of Python's own, which a process loads before it can mend its path.
MODULES = (
    *("mixopt/__init__.py", "search/__init__.py", "tracking.py", "proxies.py"),
    *("mlflow.py", "ray.py", "torch.py", "numpy.py", "uvicorn.py", "filelock.py"),
    *("selectors.py", "random.py", "multiprocessing/__init__.py", "sitecustomize.py"),
)


def set_traps(folder: Path, ran: Path) -> tuple[tuple[str, ...], Path]:
    """Write them into `folder`; returns their names in it, and the file that is there once one of them is run."""
    for name in MODULES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(ran)!r}, 'a').write(__file__)\n")
    return MODULES, ran
