"""Documents of known kinds, from what Python and its packages and a Debian system carry: code, manuals, translations.

Two sets of twelve kinds that share none: settings are chosen on one, and figures reported on the other. A document is a
file, or a few messages of a translated program; as many of each kind, spread over the machine by a hash of their names.
"""

from __future__ import annotations

import gettext
import gzip
import hashlib
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path

from mixopt.settings.demo import PACKAGES, STANDARD_LIBRARY

SHORTEST, LONGEST = 200, 20_000  # characters of a document
LONGEST_MESSAGES = 1_200  # characters of messages that make a document
FEWEST = 200  # documents of a kind
SYSTEM = Path("/usr")
CATALOGUES = SYSTEM / "share/locale"

Texts = Callable[[], Iterator[str]]


def _below(*roots: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            for name in sorted(names):
                path = Path(folder, name)
                if str(path) not in seen and not path.is_symlink():
                    seen.add(str(path))
                    yield path


def _texts(paths: Iterable[Path]) -> Iterator[str]:
    """What is in files, in the order of a hash of their names."""
    for path in sorted(set(paths), key=lambda path: hashlib.sha256(str(path).encode()).digest()):
        try:
            content = path.read_bytes()
            yield (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        except (OSError, UnicodeDecodeError, EOFError):
            continue  # in another encoding


def files(*endings: str) -> Texts:
    """Of files whose names end so, wherever they lie."""

    def texts() -> Iterator[str]:
        roots = (SYSTEM, Path(sys.base_prefix), STANDARD_LIBRARY, PACKAGES)
        return _texts(path for path in _below(*roots) if path.name.endswith(endings))

    return texts


def below(folder: str, pattern: str) -> Texts:
    return lambda: _texts(path for path in Path(folder).glob(pattern) if not path.is_symlink())


def messages(code: str) -> Texts:
    """Translations of programs into a language, a few messages a document; each language has messages of its own."""

    def texts() -> Iterator[str]:
        found: dict[str, None] = {}
        for path in sorted((CATALOGUES / code / "LC_MESSAGES").glob("*.mo")):
            if path.name.startswith("iso_"):
                continue  # lists of names
            try:
                with path.open("rb") as file:
                    catalogue: Mapping[object, str] = vars(gettext.GNUTranslations(file))["_catalog"]
            except (OSError, UnicodeError):
                continue
            found |= dict.fromkeys(each for key, each in catalogue.items() if each not in (key, "") and len(each) > 25)
        shuffled = list(found)
        random.Random(0).shuffle(shuffled)
        document = ""
        for message in shuffled:
            document += message + "\n"
            if len(document) > LONGEST_MESSAGES:
                yield document
                document = ""

    return texts


CHOSEN_ON: Mapping[str, Texts] = {
    "perl": files(".pm", ".pl"),
    "vim": files(".vim"),
    "cmake": files(".cmake"),
    "yaml": files(".yaml", ".yml"),
    "stubs": files(".pyi"),
    "markdown": files(".md"),
    "shell": lambda: chain(files(".sh")(), below("/var/lib/dpkg/info", "*.p[or][se]*")()),
    "svg": files(".svg"),
    "html": files(".html", ".htm"),
    "french": messages("fr"),
    "ukrainian": messages("uk"),
    "chinese": messages("zh_CN"),
}
REPORTED_ON: Mapping[str, Texts] = {
    "python": files(".py"),
    "c headers": files(".h"),
    "javascript": files(".js"),
    "json": files(".json"),
    "xml": files(".xml"),
    "rst": files(".rst", ".rst.txt"),
    "manual pages": below("/usr/share/man", "man[1-8]/*.gz"),
    "changelogs": below("/usr/share/doc", "*/changelog*.gz"),
    "licences": below("/usr/share/doc", "*/copyright"),
    "german": messages("de"),
    "russian": messages("ru"),
    "japanese": messages("ja"),
}


def documents(kinds: Mapping[str, Texts], each: int) -> dict[str, list[str]]:
    """At most so many distinct documents of each kind; kinds of which the machine has too few are left out."""
    found = {}
    for name, texts in kinds.items():
        long_enough = (text[:LONGEST] for text in texts() if len(text.strip()) >= SHORTEST)
        distinct: dict[str, None] = {}
        for text in islice(long_enough, 4 * each):
            distinct[text] = None
            if len(distinct) == each:
                break
        if len(distinct) >= min(FEWEST, each):
            found[name] = list(distinct)
    return found
