"""The demo's text: seven domains with different voices, from files that every Python installation carries.

Nothing is downloaded. The interpreter brings its standard library, its C headers and its help topics; the
packages that mixopt needs bring licences, docstrings, JSON and CSV tables, scripts and style sheets.
"""

from __future__ import annotations

import ast
import gzip
import json
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

from mixopt.base.files import write_text
from proxies.storage import open_whole

STANDARD_LIBRARY = Path(sysconfig.get_paths()["stdlib"])
PACKAGES = Path(sysconfig.get_paths()["purelib"])
HEADERS = Path(sysconfig.get_paths()["include"])

# A file gives at most this much, so that one bundle of scripts is not a whole domain.
LONGEST_DOCUMENT = 6_000
SHORTEST_DOCUMENT = 200

STUDY = """\
# The demo study: which mixture of seven kinds of text should a small model be trained on?
# Resume it, change it, run it again:  mixopt run {file}
study: demo
seed: 0

domains:
  python_code:    {{paths: text/python_code.jsonl.gz}}
  c_headers:      {{paths: text/c_headers.jsonl.gz}}
  documentation:  {{paths: text/documentation.jsonl.gz}}
  docstrings:     {{paths: text/docstrings.jsonl.gz}}
  licences:       {{paths: text/licences.jsonl.gz, max: 25%}}
  tables:         {{paths: text/tables.jsonl.gz}}
  web:            {{paths: text/web.jsonl.gz, min: 2%}}

groups:
  code: {{domains: [python_code, c_headers, web], max: 70%}}

target:                       # the run that the mixture is for
  tokens: 4M
  max_epochs: 4

corpus:
  vocabulary: 1024            # small, so that proxies are cheap
  validation_tokens: 3k       # per domain
  sequence_length: 128

proxies:                      # the answer is given, and confirmed, for the last one
  dense: {{kind: dense, depth: 2, width: 64, tokens: 150k, batch_rows: 16, evaluations: 1, trials: 24}}
  moe:   {{kind: moe, depth: 2, width: 64, tokens: 150k, batch_rows: 16, evaluations: 1, trials: 8}}

objective:                    # the mean over the domains that the model will be judged on
  weights: {{python_code: 1, documentation: 1, docstrings: 1}}

confirm:
  candidates: 2
  seeds: 3
"""


def write_demo(directory: Path) -> Path:
    """Gather the text, unless it is there, and write the study file; returns its path."""
    write_text_of_demo(directory / "text")
    study = directory / "study.yaml"
    if not study.exists():
        write_text(study, STUDY.format(file=study))
    return study


def write_text_of_demo(folder: Path, megabytes: float | None = None) -> None:
    """A file for each domain that has none yet, each of so many megabytes where that is given."""
    folder.mkdir(parents=True, exist_ok=True)
    for domain, (documents, most) in DOMAINS.items():
        target = folder / f"{domain}.jsonl.gz"
        if not target.exists():
            _write(documents(), int((megabytes or most) * 1e6), target)


def _write(documents: Iterator[str], size: int, target: Path) -> None:
    """Distinct documents up to `size` characters, as compressed JSONL."""
    seen: set[str] = set()
    written = 0
    # A fixed time in the gzip header: the same installation gives the same bytes.
    with open_whole(target) as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, compresslevel=3) as packed:
        for document in documents:
            document = document[:LONGEST_DOCUMENT].strip()
            if len(document) < SHORTEST_DOCUMENT or document in seen:
                continue
            seen.add(document)
            packed.write(json.dumps({"text": document}).encode() + b"\n")
            written += len(document)
            if written >= size:
                break


def _files(root: Path, *patterns: str, without: tuple[str, ...] = ("site-packages",)) -> Iterator[str]:
    """The contents of the files below `root`, in the order of their paths."""
    found = {path for pattern in patterns for path in root.rglob(pattern)}
    for path in sorted(found):
        if path.is_file() and not any(part in without for part in path.relative_to(root).parts):
            yield path.read_text(encoding="utf-8", errors="ignore")


def _packages(pattern: str) -> Iterator[str]:
    """Files of the installed packages, interleaved over packages so that no large one fills the domain."""
    streams = [_files(package, pattern) for package in sorted(PACKAGES.iterdir()) if package.is_dir()]
    while streams:
        still = []
        for stream in streams:
            document = next(stream, None)
            if document is not None:
                yield document
                still.append(stream)
        streams = still


def _python_code() -> Iterator[str]:
    return _files(STANDARD_LIBRARY, "*.py", without=("site-packages", "test", "tests", "pydoc_data", "idlelib"))


def _c_headers() -> Iterator[str]:
    yield from _files(HEADERS, "*.h")
    yield from _packages("*.h")


def _documentation() -> Iterator[str]:
    from pydoc_data.topics import topics

    yield from (topics[name] for name in sorted(topics))
    for metadata in sorted(PACKAGES.glob("*.dist-info/METADATA")):
        # What follows the first empty line is the package's own description.
        yield metadata.read_text(encoding="utf-8", errors="ignore").partition("\n\n")[2]
    yield from _packages("*.md")
    yield from _packages("*.rst")


def _docstrings() -> Iterator[str]:
    for source in _packages("*.py"):
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            continue  # templates and files for other versions of Python
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and (text := ast.get_docstring(node)):
                yield text


def _licences() -> Iterator[str]:
    yield from _files(PACKAGES, "*.dist-info/LICEN*", "*.dist-info/licenses/**/*", "*.dist-info/NOTICE*")


def _tables() -> Iterator[str]:
    for pattern in ("*.json", "*.csv"):
        yield from _packages(pattern)


def _web() -> Iterator[str]:
    for pattern in ("*.css", "*.js", "*.html"):
        yield from _packages(pattern)


# Name -> where its documents come from, and how many megabytes of them are taken.
DOMAINS: dict[str, tuple[Callable[[], Iterator[str]], float]] = {
    "python_code": (_python_code, 2.0),
    "c_headers": (_c_headers, 2.0),
    "documentation": (_documentation, 1.0),
    "docstrings": (_docstrings, 1.0),
    "licences": (_licences, 0.8),
    "tables": (_tables, 1.2),
    "web": (_web, 1.5),
}
