"""The five studies of the gallery."""

from __future__ import annotations

from pathlib import Path

from examples.gallery.team_table import runs
from examples.gallery.text import write_languages, write_pairs
from examples.gallery.worked import Worked
from mixopt.settings.demo import write_text_of_demo

QUICK_PROXY = "depth: 1, width: 32, heads: 2, tokens: 8k, batch_rows: 8, evaluations: 1, trials: 8"
QUICK_SEARCH = "\nsearch: {strategy: regmix, surrogate: linear}\n\nconfirm:"
MOST_PAIRS, FEW_PAIRS = 2_000, 300

ANSWERED = ("mixopt run study.yaml", "mixopt report study.yaml --output report.html")


def _demo_text(folder: Path, short: bool) -> list[str]:
    write_text_of_demo(folder / "text", megabytes=0.2 if short else None)
    return ["text: files of this machine's Python and its packages"]


def _languages(folder: Path, short: bool) -> list[str]:
    return [f"{name}: {what}" for name, what in write_languages(folder / "text").items()]


def _pairs(folder: Path, short: bool) -> list[str]:
    if (folder / "data" / "exam.jsonl").exists():  # the last that is written, and it takes a minute
        return ["data: as written before"]
    counts = write_pairs(folder / "data", FEW_PAIRS if short else MOST_PAIRS)
    return [f"{name}: {count:,} records" for name, count in counts.items()]


def _table(folder: Path, short: bool) -> list[str]:
    runs.write(folder / "runs.csv")
    return [f"runs.csv: {runs.RUNS} runs"]


GALLERY = {
    worked.name: worked
    for worked in (
        Worked(
            "pretraining",
            _demo_text,
            (
                "mixopt plan study.yaml",
                *ANSWERED,
                "mixopt export study.yaml --format litgpt --output mixture.litgpt.py",
            ),
            {
                "depth: 2, width: 64, tokens: 30k, batch_rows: 8, evaluations: 1, trials: 12": QUICK_PROXY,
                "tokens: 8M": "tokens: 100k",
                "vocabulary: 1024, validation_tokens: 4k, sequence_length: 128": (
                    "vocabulary: 300, validation_tokens: 1k, sequence_length: 32"
                ),
                "\nconfirm:": QUICK_SEARCH,
                "candidates: 1, seeds: 3": "candidates: 1, seeds: 2",
            },
        ),
        Worked(
            "multilingual",
            _languages,
            (*ANSWERED, "mixopt export study.yaml --format hf --output mixture.hf.json"),
            {
                "depth: 2, width: 64, tokens: 30k, batch_rows: 8, evaluations: 1, trials: 12": QUICK_PROXY,
                "tokens: 2M": "tokens: 100k",
                "vocabulary: 1024, validation_tokens: 4k, sequence_length: 64": (
                    "vocabulary: 400, validation_tokens: 1k, sequence_length: 32"
                ),
                "\nconfirm:": QUICK_SEARCH,
                "candidates: 1, seeds: 3": "candidates: 1, seeds: 2",
            },
        ),
        Worked(
            "instructions",
            _pairs,
            (*ANSWERED, "mixopt export study.yaml --format llama-factory --output mixture.llama-factory.yaml"),
            {
                "depth: 2, width: 64, tokens: 30k, batch_rows: 8, evaluations: 1, trials: 12": QUICK_PROXY,
                "tokens: 2M": "tokens: 100k",
                "vocabulary: 1024, validation_tokens: 4k, sequence_length: 128": (
                    "vocabulary: 300, validation_tokens: 1k, sequence_length: 64"
                ),
                "\nconfirm:": QUICK_SEARCH,
                "candidates: 1, seeds: 3": "candidates: 1, seeds: 2",
            },
        ),
        Worked(
            "code_model",
            _demo_text,
            (
                "python trainer.py study.yaml",
                ANSWERED[1],
                "mixopt export study.yaml --format json --output mixture.json",
            ),
            {
                "tokens: 102k, trials: 12": "tokens: 8k, trials: 4",
                "BASE_STEPS = 200": "BASE_STEPS = 10",
                "confirm: {candidates: 1, seeds: 3}": (
                    "confirm: {candidates: 1, seeds: 2}\nsearch: {strategy: regmix, surrogate: linear}"
                ),
            },
        ),
        Worked(
            "team_table",
            _table,
            (
                "mixopt fit runs.csv --guess --mapping-out guess.yaml",
                "mixopt fit runs.csv --mapping mended.yaml --output fit",
                "python runs.py fit/mixture.json",
            ),
            {"--output fit": "--surrogate log_linear --output fit"},
            shows=("fit/",),
        ),
    )
}
