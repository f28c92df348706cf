"""Documents of known kinds, from what Python and its packages and a Debian system carry: code, manuals, translations.

Settings are chosen on some kinds (CHOSEN_ON, and draws of these with MORE_CHOSEN_ON), and figures reported on others:
no kind is on both sides. MANUALS are of one kind, English prose of one form, and differ by topic alone: what tells
kinds apart better is not to lose these. A document is a file, a part of one, or a few messages of a translated program;
as many of each kind, spread over the machine by a hash of their names.
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
    """Of files whose paths end so, wherever they lie."""

    def texts() -> Iterator[str]:
        roots = (SYSTEM, Path(sys.base_prefix), STANDARD_LIBRARY, PACKAGES)
        return _texts(path for path in _below(*roots) if str(path).endswith(endings))

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


def parts(texts: Texts, characters: int = 3000, most: int = 4) -> Texts:
    """The beginning of each text as several documents: of kinds with few files."""
    return lambda: (
        text[start : start + characters]
        for text in texts()
        for start in range(0, min(len(text), characters * most), characters)
    )


def pages(manual: str) -> Texts:
    """Of a manual in Texinfo's format, without the line on each that names the manual."""

    def texts() -> Iterator[str]:
        for text in below(str(SYSTEM / "share/info"), manual)():
            yield from (page.lstrip().partition("\n")[2] for page in text.split("\x1f")[1:])

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
_DPKG = "/var/lib/dpkg"
_MORE_FORMS: Mapping[str, Texts] = {
    "c sources": parts(files(".c", ".cc", ".cpp", ".cxx")),
    "cuda": files(".cuh", ".cu"),
    "php": parts(files(".php")),
    "sql": parts(files(".sql")),
    "tcl": parts(files(".tcl")),
    "css": parts(files(".css")),
    "cython": parts(files(".pyx", ".pxd", ".pxi")),
    "tablegen": parts(files(".td"), most=10),
    "units": files(".service", ".socket", ".target", ".timer", ".mount", ".path", ".slice"),
    "modules": files(".mod"),
    "csv": parts(files(".csv", ".tsv"), 1500, 8),
    "font metrics": parts(files(".afm")),
    "sound": below("/usr/share/alsa", "**/*.conf"),
    "locales": below("/usr/share/i18n/locales", "*"),
    "charmaps": below("/usr/share/i18n/charmaps", "*.gz"),
    "keyboards": parts(below("/usr/share/X11/xkb", "*/*")),
    "vim help": parts(below("/usr/share/vim", "*/doc/*.txt")),
    "info": pages("*.gz"),
    "packages": lambda: chain.from_iterable(text.split("\n\n") for text in below(_DPKG, "status")()),
    "md5sums": below(f"{_DPKG}/info", "*.md5sums"),
    "file lists": below(f"{_DPKG}/info", "*.list"),
    "metadata": files("/METADATA", "/PKG-INFO"),
    "records": files("/RECORD"),
}
_MORE_LANGUAGES: Mapping[str, Texts] = {
    language: messages(code)
    for language, code in {
        "bulgarian": "bg",
        "catalan": "ca",
        "czech": "cs",
        "danish": "da",
        "dutch": "nl",
        "finnish": "fi",
        "georgian": "ka",
        "greek": "el",
        "hungarian": "hu",
        "indonesian": "id",
        "italian": "it",
        "korean": "ko",
        "polish": "pl",
        "portuguese": "pt",
        "romanian": "ro",
        "serbian": "sr",
        "spanish": "es",
        "swedish": "sv",
        "taiwanese": "zh_TW",
        "turkish": "tr",
        "vietnamese": "vi",
    }.items()
}
MORE_CHOSEN_ON = {**_MORE_FORMS, **_MORE_LANGUAGES}
LANGUAGES = frozenset({"french", "ukrainian", "chinese", *_MORE_LANGUAGES})
MANUALS: Mapping[str, Texts] = {
    name: pages(f"{name}.info*.gz")
    for name in ("coreutils", "diffutils", "find", "gettext", "gnupg", "nettle", "sed", "wget")
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


def documents(kinds: Mapping[str, Texts], each: int, fewest: int = FEWEST) -> dict[str, list[str]]:
    """At most so many distinct documents of each kind; kinds of which the machine has too few are left out."""
    found = {}
    for name, texts in kinds.items():
        long_enough = (text[:LONGEST] for text in texts() if len(text.strip()) >= SHORTEST)
        distinct: dict[str, None] = {}
        for text in islice(long_enough, 4 * each):
            distinct[text] = None
            if len(distinct) == each:
                break
        if len(distinct) >= min(fewest, each):
            found[name] = list(distinct)
    return found
