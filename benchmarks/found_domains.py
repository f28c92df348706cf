"""Whether a search over domains that were found reaches what one over true ones reaches.

    python -m benchmarks.found_domains --directory DIR --seeds 3 --json benchmarks/results/found_domains.json

A heap of documents of twelve known kinds (those of benchmarks.domain_kinds on which no setting was chosen), many of
some and few of others. Three searches with as many trainings of real small proxies: over the kinds themselves, over as
many domains found by `mixopt domains`, which sees no label, and over as many pools drawn at random. All are judged by
documents of a few of the kinds, which are in no pool, and told over new seeds. Each seed has other sizes, other kinds
that judge, and other trials.

No setting of `mixopt domains` was chosen by these figures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# One thread: what is trained is small.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np

from benchmarks.domain_kinds import REPORTED_ON, documents
from benchmarks.small_study import SmallStudy, begin_or_go_on, gains
from benchmarks.spoilt import write_texts
from mixopt import api
from search.randomness import generator

# Documents of a kind that judge, and of its pool; and how many kinds judge.
JUDGING, FEWEST, MOST, JUDGES = 40, 60, 360, 4
# Options that what is kept in a folder depends on.
KEPT = ("tokens", "trials", "confirmations")
DOMAINS = ("true", "found", "random")


def pools_of(kinds: Mapping[str, list[str]], folder: Path, seed: int) -> Mapping[str, str]:
    """Write the pools of the kinds, the same as a heap, and what judges; returns the file of each set that judges."""
    rng = generator(seed, "sizes")
    sizes = np.exp(rng.uniform(np.log(FEWEST), np.log(MOST), len(kinds))).astype(int)
    judges = sorted(rng.choice(sorted(kinds), JUDGES, replace=False).tolist())
    evaluation = {f"of_{file_name(kind)}": f"judging/{file_name(kind)}.jsonl" for kind in judges}
    if (folder / "heap.jsonl").exists():
        return evaluation  # which is known by its time of change: a study that was killed goes on with it
    for kind, file in zip(judges, evaluation.values(), strict=True):
        write_texts(folder / file, kinds[kind][:JUDGING])
    heap = []
    for (kind, texts), size in zip(kinds.items(), sizes, strict=True):
        pool = texts[JUDGING : JUDGING + size]
        write_texts(folder / "true" / f"{file_name(kind)}.jsonl", pool)
        heap += pool
    heap = [heap[place] for place in rng.permutation(len(heap))]
    for number, part in enumerate(np.array_split(np.arange(len(heap)), len(kinds))):
        write_texts(folder / "random" / f"part{number}.jsonl", [heap[place] for place in part])
    write_texts(folder / "heap.jsonl", heap)
    return evaluation


def file_name(kind: str) -> str:
    return kind.replace(" ", "_")


def one_seed(options: argparse.Namespace, kinds: Mapping[str, list[str]], seed: int) -> list[dict[str, Any]]:
    folder: Path = options.directory / f"seed-{seed}"
    begin_or_go_on(folder / "options.json", {name: getattr(options, name) for name in KEPT})
    evaluation = pools_of(kinds, folder, seed)
    found = api.find_domains(folder / "heap.jsonl", folder / "found", count=len(kinds), seed=seed, workers=1)
    pools = {
        "true": {path.stem: f"true/{path.name}" for path in sorted((folder / "true").iterdir())},
        "found": {name: os.path.relpath(found_domain.path, folder) for name, found_domain in found.domains.items()},
        "random": {path.stem: f"random/{path.name}" for path in sorted((folder / "random").iterdir())},
    }
    rows, tokenizer = [], None
    for name in DOMAINS:
        study = SmallStudy(
            folder=folder,
            name=f"found-{found.inputs[:8]}" if name == "found" else name,  # other domains are another study
            seed=seed,
            domains={domain: f"{{paths: {path}}}" for domain, path in pools[name].items()},
            evaluation=evaluation,
            weights=dict.fromkeys(evaluation, 1),
            tokens=options.tokens,
            trials=options.trials,
            seeds=options.confirmations,
            tokenizer=tokenizer,
        )
        answer = api.Study(study.write()).run()
        tokenizer = tokenizer or study.tokenizer_made()
        rows.append({"domains": name, "seed": seed, "judges": list(evaluation)} | gains(answer))
        print(rows[-1], flush=True)
    return rows


def summed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean gains, and that of each seed as a share of the gain over true domains."""
    true = {row["seed"]: row["gain_of_proposed"] for row in rows if row["domains"] == "true"}
    lines = []
    for name in DOMAINS:
        mine = [row for row in rows if row["domains"] == name]
        gain_S = np.array([row["gain_of_proposed"] for row in mine])
        less_S = gain_S - np.array([true[row["seed"]] for row in mine])
        error = float(np.std(less_S, ddof=1) / len(less_S) ** 0.5) if len(less_S) > 1 and less_S.any() else None
        lines.append(
            {
                "domains": name,
                "gain": float(np.mean(gain_S)),
                "gain_to_that_of_true": float(np.mean(gain_S) / np.mean(list(true.values()))),
                "less_true": float(np.mean(less_S)),
                "standard_error_of_less_true": error,
                "seeds": len(mine),
            }
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--directory", type=Path, required=True, help="of all that is kept; a killed call goes on")
    parser.add_argument("--tokens", default="256k", help="of a proxy")
    parser.add_argument("--trials", type=int, default=36, help="of a search, the two baselines not counted")
    parser.add_argument("--confirmations", type=int, default=6, help="seeds that an answer is told over")
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    kinds = documents(REPORTED_ON, JUDGING + MOST)
    rows = [row for seed in range(options.seeds) for row in one_seed(options, kinds, seed)]
    lines = summed(rows)
    for line in lines:
        print("  ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in line.values()))
    if options.json:
        document = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": platform.processor() or platform.machine(),
            "options": {name: value for name, value in vars(options).items() if not isinstance(value, Path)},
            "kinds": {kind: len(texts) for kind, texts in kinds.items()},
            "summary": lines,
            "rows": rows,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
