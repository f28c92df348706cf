"""A first study file, with comments; its domains are read off a folder of data."""

from __future__ import annotations

import os
import re
from itertools import chain, count
from pathlib import Path
from textwrap import indent

import yaml

from mixopt.errors import ConfigError
from proxies.data.sources import KIND_OF_ENDING

TEMPLATE = """\
# A mixopt study: in what shares should a model be trained on these pools of text?
#   mixopt validate {file}    check this file
#   mixopt plan {file}        what will run, and how long it will take
#   mixopt run {file}         run it, or go on where it was left
# Every setting: mixopt schema

study: {study}
seed: 0

domains:                      # at least two pools of text
{domains}
# Limits on a domain:  min: 5%   max: 40%   pin: 10%   tokens: 300B (of the pool, where the files are a sample of it)
# Fields of records:   text: content   or   prompt: question and completion: answer

# groups:                     # limits on sums of shares
#   code: {{domains: [python, shell], max: 40%}}

# evaluation:                 # more sets to judge by, besides each domain's own validation split
#   exam: {{paths: exam.jsonl, prompt: question, completion: answer}}

# target:                     # the final run: caps the share of domains that it would repeat too often
#   tokens: 100B
#   max_epochs: 4

corpus:
  vocabulary: 4096            # of a tokenizer trained on this text; or  tokenizer: path/to/tokenizer.json
  sequence_length: 256

proxies:                      # small models, cheapest first; the answer is given and confirmed for the last
  dense: {{kind: dense, depth: 2, tokens: 2M, trials: {trials}}}
  # moe: {{kind: moe, depth: 4, tokens: 2M, trials: 12}}

search:
  strategy: regmix            # or random

objective:                    # default: the mean over all evaluation sets
  kind: weighted              # or worst_case: no evaluation set much worse than under a baseline
  unit: nats_per_token

confirm:                      # the best candidates and the baselines, trained again
  candidates: 2
  seeds: 3

# budget: {{time: 6h}}          # or flops: 1e18
"""

# Enough for a regression over the domains (Olmix, 2602.12237: from 3 on).
RUNS_PER_DOMAIN = 4

EXAMPLE_DOMAINS = {"web": "data/web/*.jsonl.gz", "code": "data/code/*.parquet", "books": "data/books/**/*.txt"}


def study_text(data: Path | None, output: Path) -> str:
    """The text of a study file at `output`, over the folders and files in `data`.

    Raises:
        ConfigError: `data` holds fewer than two domains.
    """
    domains = EXAMPLE_DOMAINS if data is None else _domains(data, output)
    # Written by the YAML library, which knows what has to be quoted: 2019, no, it's.
    lines = yaml.safe_dump(
        {name: {"paths": path} for name, path in domains.items()}, sort_keys=False, allow_unicode=True, width=10_000
    )
    return TEMPLATE.format(
        file=output,
        study=_quoted(_name(output.absolute().parent.name, "study")),
        domains=indent(lines, "  "),
        trials=max(24, RUNS_PER_DOMAIN * len(domains)),
    )


def _domains(data: Path, output: Path) -> dict[str, str]:
    """Name -> path of each folder and readable file in `data`."""
    if not data.is_dir():
        raise ConfigError(f"{data} is not a folder", hint="name the folder that holds one folder or file a domain")
    found: dict[str, str] = {}
    for entry in sorted(data.iterdir()):
        if entry.name.startswith(".") or not (entry.is_dir() or _is_text(entry)):
            continue
        plain = _name(entry.name if entry.is_dir() else entry.name.partition(".")[0], "domain")
        numbered = (f"{plain}_{number}" for number in count(2))
        name = next(name for name in chain([plain], numbered) if name not in found)
        found[name] = os.path.relpath(entry, output.absolute().parent)
    if len(found) < 2:
        raise ConfigError(
            f"{data} holds {len(found)} domain{'s' * (len(found) != 1)}; a mixture needs at least 2",
            hint=f"put each pool of text into a folder or file of its own ({', '.join(list(KIND_OF_ENDING)[:6])}, ...)",
        )
    return found


def _is_text(path: Path) -> bool:
    return Path(path.name.removesuffix(".gz").removesuffix(".zst")).suffix.lower() in KIND_OF_ENDING


def _name(text: str, otherwise: str) -> str:
    """`text` as a name of the study file, which keeps to ASCII; `otherwise` where nothing of it is left."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("._-") or otherwise


def _quoted(text: str) -> str:
    """As YAML reads it back as text."""
    written: str = yaml.safe_dump(text, allow_unicode=True).removesuffix("...\n")
    return written.strip()
