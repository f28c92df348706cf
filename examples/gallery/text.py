"""The gallery's text: what this machine carries. Nothing is downloaded; the same machine gives the same text.

- Seven kinds of text from Python's own files and its packages, as `mixopt demo` gathers them.
- Languages: the messages of the machine's programs in translation (catalogues in /usr/share/locale). Where a machine
  has too few of a language, sentences put together from a few words; what it was is said.
- Pairs of prompt and completion from the functions of the standard library and the doctests of the packages, and sums.
"""

from __future__ import annotations

import ast
import doctest
import gettext
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from examples.gallery.sentences import sentences
from mixopt.settings.demo import DOMAINS, STANDARD_LIBRARY

CATALOGUES = Path("/usr/share/locale")
LANGUAGES = {"german": "de", "french": "fr", "spanish": "es", "russian": "ru", "japanese": "ja"}
# A language takes so many characters, and is generated where a machine has fewer than the second number.
MOST_CHARACTERS, FEWEST_CHARACTERS = 800_000, 150_000
LONGEST_MESSAGES = 1_200  # characters of messages that make a document
SHORTEST_MESSAGE = 25

# The exam is of these packages of the standard library, and no task is.
EXAM = ("asyncio", "email", "http", "importlib", "logging", "multiprocessing", "unittest", "xml")
NO_CODE = ("site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "pydoc_data")
LONGEST_CODE = 600

Record = Mapping[str, str]


def write_records(path: Path, records: Iterable[Record]) -> int:
    """As JSONL, each record once; returns how many."""
    lines = dict.fromkeys(json.dumps(record, ensure_ascii=False) for record in records)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


def write_languages(folder: Path) -> dict[str, str]:
    """A file for each language; returns what each is."""
    said = {}
    english: dict[str, None] = {}
    for name, code in LANGUAGES.items():
        found = list(_messages(code))
        english |= dict.fromkeys(original for original, _ in found)
        said[name] = _write_language(folder, name, list(dict.fromkeys(translated for _, translated in found)))
    return {"english": _write_language(folder, "english", list(english)), **said}


def write_pairs(folder: Path, most: int) -> dict[str, int]:
    """The tasks, the plain text and the exam, at most so many records each; returns how many there are."""
    trained: list[Path] = []
    exam: list[Path] = []
    for path in sorted(STANDARD_LIBRARY.rglob("*.py")):
        within = path.relative_to(STANDARD_LIBRARY).parts
        if not any(part in NO_CODE for part in within):
            (exam if within[0] in EXAM else trained).append(path)
    functions = [pair for path in trained for pair in _functions(path)]
    asked = [pair for path in exam for pair in _functions(path)]
    for pairs in (functions, asked):
        random.Random(0).shuffle(pairs)
    half = len(functions) // 2  # no function is in two tasks
    tasks: dict[str, Iterable[Record]] = {
        "describe": (_pair(f"{head}{body}", said) for head, said, body in functions[:half]),
        "implement": (_pair(f"{head}# {said}", body) for head, said, body in functions[half:]),
        "evaluate": _doctests(),
        "sums": _sums(),
        "general": ({"text": text[:2_000]} for text in DOMAINS["documentation"][0]() if len(text) > 200),
        "exam": (_pair(f"{head}{body}", said) for head, said, body in asked),
    }
    return {name: write_records(folder / f"{name}.jsonl", islice(records, most)) for name, records in tasks.items()}


def _messages(code: str) -> Iterator[tuple[str, str]]:
    """Each message of the machine's programs with its translation."""
    for path in sorted((CATALOGUES / code / "LC_MESSAGES").glob("*.mo")):
        if path.name.startswith("iso_"):
            continue  # lists of names
        try:
            with path.open("rb") as file:
                catalogue: Mapping[object, str] = vars(gettext.GNUTranslations(file))["_catalog"]
        except (OSError, UnicodeError):
            continue  # a catalogue that is none, or in no encoding that it names
        for original, translated in catalogue.items():
            # A message with a plural is a pair; the singular alone is enough.
            text = original[0] if isinstance(original, tuple) else original
            if isinstance(text, str) and len(text) >= SHORTEST_MESSAGE and translated != text:
                yield text, translated


def _write_language(folder: Path, name: str, messages: list[str]) -> str:
    characters = sum(map(len, messages))
    if characters < FEWEST_CHARACTERS:
        messages = list(islice(sentences(name), 8_000))
        what = "generated sentences"
    else:
        random.Random(0).shuffle(messages)
        what = "messages of this machine's programs"
    documents = list(_joined(messages))
    written = write_records(folder / f"{name}.jsonl", ({"text": text} for text in documents))
    return f"{what}, {sum(map(len, documents)):,} characters in {written:,} documents"


def _joined(messages: Iterable[str]) -> Iterator[str]:
    """Documents of several messages, up to what a language may take."""
    document, taken = "", 0
    for message in messages:
        document += message + "\n"
        if len(document) > LONGEST_MESSAGES:
            yield document
            taken, document = taken + len(document), ""
            if taken > MOST_CHARACTERS:
                return


def _functions(path: Path) -> Iterator[tuple[str, str, str]]:
    """Of each short function with a docstring: its head, the first paragraph of that, and its body."""
    source = path.read_text(encoding="utf-8", errors="ignore")
    lines = source.splitlines(keepends=True)
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef) or len(node.body) < 2 or not (said := ast.get_docstring(node)):
            continue
        documented, first, end = node.body[0], node.body[1], node.end_lineno
        head = "".join(lines[node.lineno - 1 : documented.lineno - 1])
        body = "".join(lines[first.lineno - 1 : end])
        said = " ".join(said.partition("\n\n")[0].split())
        if len(head + body) <= LONGEST_CODE and 15 <= len(said) <= 300:
            yield head, said, body


def _doctests() -> Iterator[Record]:
    """What an expression gives, with the lines before it that it needs."""
    parser = doctest.DocTestParser()
    for text in DOMAINS["docstrings"][0]():
        if ">>>" not in text:
            continue
        try:
            examples = parser.get_examples(text)
        except ValueError:
            continue  # examples that are none
        before = ""
        for example in examples:
            before += f">>> {example.source}"
            if 0 < len(example.want) < 200 and len(before) < LONGEST_CODE:
                yield _pair(before, example.want)
                before = ""


def _sums() -> Iterator[Record]:
    draw = random.Random(0)
    while True:
        left, right = draw.randrange(1, 500), draw.randrange(1, 500)
        if draw.random() < 0.5:
            yield _pair(f"What is {left} plus {right}?\n", f"{left} + {right} = {left + right}")
        else:
            yield _pair(f"What is {left + right} minus {left}?\n", f"{left + right} - {left} = {right}")


def _pair(prompt: str, completion: str) -> Record:
    return {"prompt": prompt, "completion": completion}
