"""How well domains are found, and how fast documents are sorted.

    python -m benchmarks.domains                          all parts, minutes
    python -m benchmarks.domains kinds
    python -m benchmarks.domains draws --draws 60
    python -m benchmarks.domains proxy                    the hidden states of a proxy in place of n-grams
    python -m benchmarks.domains speed --documents 1_000_000 --json benchmarks/results/domains.json

`kinds`: documents of twelve known kinds (benchmarks/domain_kinds.py), whose labels the search does not see; the
adjusted Rand index (Hubert and Arabie 1985) of as many found domains, with several seeds. Settings were chosen on one
set of kinds; the other, which shares no kind with it, is what is reported.

`draws`: the same on random draws of some of the kinds that settings may be chosen on, every other draw with kinds of
unequal size, so that nothing is chosen that suits one set: 8 to 16 kinds; 2 to 5, of which the first is large; and six
manuals, which differ by topic alone. Another setting is judged draw by draw.

`proxy`: the same documents by the hidden states of a small proxy, as `--embedding STUDY` makes it: of a study of the
size that `mixopt init` proposes, over the other set of kinds, or over these kinds themselves, unlabelled as one pool;
and of random weights, as a floor.

`speed`: short synthetic documents through the whole of `mixopt domains`, with two processes: time, CPU time of all
processes, and the most memory that they had together.

Each part is kept with its own date and options; those that are not run again stay as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import psutil
import torch
from rich.console import Console

from benchmarks.domain_kinds import CHOSEN_ON, LANGUAGES, MANUALS, MORE_CHOSEN_ON, REPORTED_ON, documents
from mixopt.cli.tables.table import plain_table
from proxies.data.corpus import CorpusSettings, prepare
from proxies.data.intake import Progress
from proxies.data.mixing import MixedStream
from proxies.data.sources import Source, find_files
from proxies.domains.clusters import Clusters
from proxies.domains.embedding.hashed_ngrams import HashedNgrams
from proxies.domains.embedding.hidden_states import HiddenStates, keep
from proxies.domains.finding import Search, find_domains
from proxies.member import Member
from proxies.models.size import model_size
from proxies.pack import Pack
from proxies.recipe import recipe
from proxies.train import train_pack

SETS = {"chosen on": CHOSEN_ON, "reported": REPORTED_ON}
# Of synthetic documents.
VOICES, VOCABULARY, WORDS = 30, 3000, 50
PARTS = ("kinds", "draws", "proxy", "speed")
# Of the proxy, as `mixopt init` proposes it.
DEPTH, PROXY_TOKENS, ROW = 2, 2_000_000, 256


@dataclass(frozen=True)
class OfKinds:
    """Adjusted Rand indices on one set of kinds, by seed; and how many documents of each kind lie in each domain."""

    kinds: tuple[str, ...]
    documents: int
    indices: tuple[float, ...]
    table: tuple[tuple[int, ...], ...]


def of_kinds(found: Mapping[str, list[str]], seeds: int, proxy: HiddenStates | None = None) -> OfKinds:
    """
    Args:
        proxy: whose hidden states are the vectors; None takes n-grams.
    """
    from sklearn.metrics import adjusted_rand_score

    texts = [text for mine in found.values() for text in mine]
    kind_N = np.repeat(np.arange(len(found)), [len(mine) for mine in found.values()])
    order = np.random.default_rng(0).permutation(len(texts))
    texts, kind_N = [texts[place] for place in order], kind_N[order]
    indices = []
    bytes_N = np.array([len(text.encode()) for text in texts])
    of_proxy_NE = None if proxy is None else proxy.embed(texts)
    for seed in range(seeds):
        vectors_NE = HashedNgrams.learn(texts, seed=seed).embed(texts) if of_proxy_NE is None else of_proxy_NE
        domain_N = Clusters.learn(vectors_NE, bytes_N, len(found), Search().fine, seed).domains_of(vectors_NE)
        indices.append(float(adjusted_rand_score(kind_N, domain_N)))
    table = np.zeros((len(found), len(found)), dtype=np.int64)
    np.add.at(table, (kind_N, domain_N), 1)
    return OfKinds(tuple(found), len(texts), tuple(indices), tuple(map(tuple, table.tolist())))


def proxy_of(texts: list[str], folder: Path, tokens: int) -> HiddenStates:
    """A proxy that was trained on these texts as one pool; of random weights where it is on no token."""
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    source = Source("all", (str(folder / "texts.jsonl"),))
    corpus = prepare([source], [], CorpusSettings(), folder / "corpus", lambda progress: None)
    size = model_size("dense", DEPTH, corpus.vocabulary, ROW)

    def kept(weights: Mapping[str, torch.Tensor]) -> None:
        arrays = {name: weight.numpy() for name, weight in weights.items()}
        tokenizer = corpus.tokenizer()
        keep(folder / "proxy", size, arrays, tokenizer, corpus.texts("all", tokenizer, 1024))

    if not tokens:
        kept(Pack(recipe(size, PROXY_TOKENS), [0]).weights(0))
        return HiddenStates.open(folder / "proxy")
    stream = MixedStream(corpus, {"all": 1.0}, ROW, seed=0)
    for _ in train_pack(recipe(size, tokens), [Member(stream, 0, keep=kept)], {"all": corpus.evaluation("all")}):
        pass
    return HiddenStates.open(folder / "proxy")


@dataclass(frozen=True)
class OfDraws:
    """Adjusted Rand indices, by draw."""

    many: tuple[float, ...]
    few: tuple[float, ...]
    manuals: tuple[float, ...]


def of_draws(draws: int, each: int) -> OfDraws:
    kinds = documents({**CHOSEN_ON, **MORE_CHOSEN_ON}, each)
    languages = [name for name in kinds if name in LANGUAGES]
    others = [name for name in kinds if name not in LANGUAGES]
    # As many as are there; a manual has fewer pages than a kind has files.
    manuals = documents(MANUALS, each, fewest=40)

    def part_of(name: str, size: float, generator: np.random.Generator) -> list[str]:
        return [kinds[name][place] for place in generator.permutation(len(kinds[name]))[: int(size)]]

    many: list[float] = []
    few: list[float] = []
    topics: list[float] = []
    for draw in range(draws):
        generator = np.random.default_rng((draw, 0))
        count = int(generator.integers(8, 17))
        spoken = round(count * generator.uniform(0.1, 0.3))
        names = [*generator.choice(languages, spoken, False), *generator.choice(others, count - spoken, False)]
        sizes = np.full(count, each) if draw % 2 == 0 else each * 5 ** -generator.uniform(size=count)
        chosen = {name: part_of(name, size, generator) for name, size in zip(names, sizes, strict=True)}
        many += of_kinds(chosen, 1).indices
        names = list(generator.choice([*languages, *others], int(generator.integers(2, 6)), False))
        sizes = each * 8 ** -generator.uniform(size=len(names))
        sizes[0] = each
        few += of_kinds(
            {name: part_of(name, size, generator) for name, size in zip(names, sizes, strict=True)}, 1
        ).indices
        names = list(generator.choice(list(manuals), 6, False))
        topics += of_kinds({name: manuals[name] for name in names}, 1).indices
    return OfDraws(tuple(many), tuple(few), tuple(topics))


@dataclass(frozen=True)
class Speed:
    """Seconds of each stage, and of the CPUs of all processes."""

    documents: int
    mean_bytes: float
    seconds: dict[str, float]
    cpu_seconds: dict[str, float]
    peak_bytes: int

    def per_second(self, stage: str) -> float:
        return self.documents / self.seconds[stage]

    def per_second_of_two_cores(self, stage: str) -> float:
        """Had two cores been free: by CPU time."""
        return 2 * self.documents / self.cpu_seconds[stage]


def speed(count: int, folder: Path, workers: int) -> Speed:
    heap = folder / "heap.jsonl"
    size = write_synthetic(heap, count)
    source = Source("data", (str(heap),))
    stages: list[tuple[str, float, float]] = []

    def heard(progress: Progress) -> None:
        if not stages or stages[-1][0] != progress.stage:
            stages.append((progress.stage, time.perf_counter(), _cpu_seconds()))

    with _peak_memory() as peak:
        search = Search(count=20, workers=workers)
        found = find_domains(source, find_files(source), search, folder / "pools", folder / "work", heard)
        stages.append(("end", time.perf_counter(), _cpu_seconds()))
    assert sum(domain.documents for domain in found.domains) == count
    pairs = list(pairwise(stages))
    return Speed(
        documents=count,
        mean_bytes=size / count,
        seconds={one[0]: other[1] - one[1] for one, other in pairs},
        cpu_seconds={one[0]: other[2] - one[2] for one, other in pairs},
        peak_bytes=peak[0],
    )


def write_synthetic(path: Path, count: int) -> int:
    """Documents in several voices, each with a vocabulary of its own; returns the bytes of their text."""
    generator = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(generator.choice(letters, generator.integers(2, 10))) for _ in range(VOICES * VOCABULARY // 3)]
    voices = [generator.choice(len(words), VOCABULARY, replace=False) for _ in range(VOICES)]
    size = 0
    with path.open("w") as file:
        for start in range(0, count, 10_000):
            several = min(10_000, count - start)
            chosen = np.minimum(generator.zipf(1.2, (several, WORDS)) - 1, VOCABULARY - 1)
            for voice, row in zip(generator.integers(VOICES, size=several), chosen, strict=True):
                text = " ".join([words[place] for place in voices[voice][row].tolist()])
                size += len(text)
                file.write(json.dumps({"text": text, "voice": int(voice)}) + "\n")
    return size


def _cpu_seconds() -> float:
    """Of this process and of those that it started, also where they have ended."""
    spent = os.times()
    running = (each.cpu_times() for each in _children())
    return (
        spent.user
        + spent.system
        + spent.children_user
        + spent.children_system
        + sum(times.user + times.system for times in running)
    )


def _children() -> list[psutil.Process]:
    return [each for each in psutil.Process().children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE]


@contextmanager
def _peak_memory() -> Iterator[list[int]]:
    """The most that this process and its children have together, looked at four times a second; in a list of one."""
    peak, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(0.25):
            try:
                peak[0] = max(peak[0], sum(each.memory_info().rss for each in (psutil.Process(), *_children())))
            except psutil.NoSuchProcess:
                continue  # it ended while it was looked at

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=list(PARTS))
    parser.add_argument("--each", type=int, default=400, help="documents of each kind")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--judged", nargs="*", choices=SETS, default=list(SETS), help="kinds that a proxy is tried on")
    parser.add_argument("--tokens", type=int, default=PROXY_TOKENS, help="that a proxy is trained on")
    parser.add_argument("--documents", type=int, default=1_000_000, help="synthetic ones")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/domains.json"))
    options = parser.parse_args()
    console = Console(highlight=False)
    kept: dict[str, Any] = json.loads(options.json.read_text()) if options.json.exists() else {}
    today = date.today().isoformat()
    if "kinds" in options.parts:
        table = plain_table("kinds", ">documents", ">adjusted Rand index", ">lowest", ">highest")
        for name, kinds in SETS.items():
            found = of_kinds(documents(kinds, options.each), options.seeds)
            kept[f"kinds {name}"] = {"date": today, "each": options.each} | asdict(found)
            figures = (mean(found.indices), min(found.indices), max(found.indices))
            table.add_row(f"{len(found.kinds)}, {name}", f"{found.documents:,}", *(f"{each:.3f}" for each in figures))
        console.print(table)
    if "draws" in options.parts:
        drawn = of_draws(options.draws, options.each)
        kept["draws"] = {"date": today, "each": options.each} | asdict(drawn)
        table = plain_table("draws", ">number", ">adjusted Rand index", ">standard error", ">lowest")
        for name, values in asdict(drawn).items():
            error = stdev(values) / len(values) ** 0.5
            table.add_row(name, str(len(values)), *(f"{each:.3f}" for each in (mean(values), error, min(values))))
        console.print(table)
    if "proxy" in options.parts:
        table = plain_table("a proxy of", "kinds", ">adjusted Rand index", ">lowest", ">highest")
        texts = {name: documents(kinds, options.each) for name, kinds in SETS.items()}
        for judged in options.judged:
            [other] = SETS.keys() - {judged}
            learned = {
                "random weights": (judged, 0),
                "other kinds": (other, options.tokens),
                "these kinds": (judged, options.tokens),
            }
            for name, (given, tokens) in learned.items():
                with tempfile.TemporaryDirectory() as folder:
                    proxy = proxy_of([text for mine in texts[given].values() for text in mine], Path(folder), tokens)
                    found = of_kinds(texts[judged], options.seeds, proxy)
                kept[f"proxy of {name}, {judged}"] = {"date": today, "each": options.each, "tokens": tokens} | asdict(
                    found
                )
                figures = (mean(found.indices), min(found.indices), max(found.indices))
                table.add_row(name, judged, *(f"{each:.3f}" for each in figures))
        console.print(table)
    if "speed" in options.parts:
        with tempfile.TemporaryDirectory() as folder:
            measured = speed(options.documents, Path(folder), options.workers)
        kept["speed"] = {"date": today, "workers": options.workers, "load": os.getloadavg()[0]} | asdict(measured)
        table = plain_table("stage", ">seconds", ">CPU seconds", ">documents/s", ">of two free cores")
        for stage in measured.seconds:
            table.add_row(
                stage,
                f"{measured.seconds[stage]:.1f}",
                f"{measured.cpu_seconds[stage]:.1f}",
                f"{measured.per_second(stage):,.0f}",
                f"{measured.per_second_of_two_cores(stage):,.0f}",
            )
        console.print(table)
        about = f"{measured.documents:,} documents of {measured.mean_bytes:.0f} bytes"
        console.print(f"{about}; at most {measured.peak_bytes / 1e9:.2f} GB in all processes together")
    options.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
