"""A first study file, with comments; its domains are read off a folder of data."""

from __future__ import annotations

import os
import re
from itertools import chain, count
from pathlib import Path
from textwrap import indent

import yaml

from mixopt.base.errors import ConfigError
from proxies.data.sources import KIND_OF_ENDING, Source, find_files, text_fields
from proxies.errors import ProxyError

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
  strategy: bayes             # or climb, regmix, random
  # stop_hopeless: true       # end trials early that will not be among the best

objective:                    # default: the mean over all evaluation sets
  kind: weighted              # or worst_case, no_worse, hinge, pareto, families: see docs/study-file.md
  unit: nats_per_token

confirm:                      # the best candidates and the baselines, trained again
  candidates: 2
  seeds: 3

# budget: {{time: 6h}}          # or flops: 1e18

# executor: {{slots: 4}}        # or gpus_per_trial: 0.25, ...; for a cluster see docs/cluster.md
"""

# Enough for a regression over the domains (Olmix, 2602.12237: from 3 on).
RUNS_PER_DOMAIN = 4

EXAMPLE_DOMAINS = {
    "web": {"paths": "data/web/*.jsonl.gz"},
    "code": {"paths": "data/code/*.parquet"},
    "books": {"paths": "data/books/**/*.txt"},
}

# Names that data sets commonly give to these fields.
PAIRS = (
    *(("prompt", "completion"), ("prompt", "response"), ("question", "answer")),
    *(("instruction", "output"), ("instruction", "response"), ("input", "output"), ("problem", "solution")),
)
ABOUT = ("README", "LICENSE", "LICENCE", "COPYING", "NOTICE", "CHANGELOG", "CITATION", "AUTHORS")
TEXT_FIELDS = ("content", "body", "document", "raw_content", "markdown")


def study_text(data: Path | None, output: Path) -> str:
    """The text of a study file at `output`, over the folders and files in `data`.

    Raises:
        ConfigError: `data` holds fewer than two domains.
    """
    domains = EXAMPLE_DOMAINS if data is None else _domains(data, output)
    return TEMPLATE.format(
        file=output,
        study=_quoted(_name(output.absolute().parent.name, "study")),
        # Written by the YAML library, which knows what has to be quoted: 2019, no, it's.
        domains=indent(yaml.safe_dump(domains, sort_keys=False, allow_unicode=True, width=10_000), "  "),
        trials=max(24, RUNS_PER_DOMAIN * len(domains)),
    )


def _domains(data: Path, output: Path) -> dict[str, dict[str, str]]:
    """Name -> settings of each folder and file in `data` that holds text."""
    if not data.is_dir():
        raise ConfigError(f"{data} is not a folder", hint="name the folder that holds one folder or file per domain")
    found: dict[str, dict[str, str]] = {}
    for entry in sorted(data.iterdir()):
        if entry.name.startswith("."):
            continue
        try:
            source = Source(entry.name, (str(entry),))
            first = find_files(source)[0]
            fields = text_fields(source, first)
        except ProxyError:
            continue  # an empty folder, a picture: no text for a domain
        if _is_about(entry) or (first.kind != "text" and not fields):
            continue  # what says something about the pools; ids and vectors
        plain = _name(entry.name if entry.is_dir() else entry.name.partition(".")[0], "domain")
        numbered = (f"{plain}_{number}" for number in count(2))
        name = next(name for name in chain([plain], numbered) if name not in found)
        found[name] = {"paths": os.path.relpath(entry, output.absolute().parent), **_fields(fields)}
    if len(found) < 2:
        raise ConfigError(
            f"{data} holds {len(found)} domain{'s' * (len(found) != 1)}; a mixture needs at least 2",
            hint=f"put each pool of text into a folder or file of its own ({', '.join(list(KIND_OF_ENDING)[:6])}, ...)",
        )
    return found


def _is_about(entry: Path) -> bool:
    """Whether a file's name is one that projects and downloads keep beside what they are about."""
    return entry.is_file() and entry.name.partition(".")[0].upper() in ABOUT


def _fields(fields: tuple[str, ...]) -> dict[str, str]:
    """Which of a record's fields the study file has to name; none where the default, text, is there."""
    if not fields or "text" in fields:
        return {}
    for prompt, completion in PAIRS:
        if prompt in fields and completion in fields:
            return {"prompt": prompt, "completion": completion}
    return {"text": next((name for name in TEXT_FIELDS if name in fields), fields[0])}


def _name(text: str, otherwise: str) -> str:
    """`text` as a name of the study file, which keeps to ASCII; `otherwise` where nothing of it is left."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("._-") or otherwise


def _quoted(text: str) -> str:
    """As YAML reads it back as text."""
    written: str = yaml.safe_dump(text, allow_unicode=True).removesuffix("...\n")
    return written.strip()
