"""A first study file, with comments; its domains are read off a folder of data, its size off what it is for."""

from __future__ import annotations

import math
import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from textwrap import indent
from types import MappingProxyType
from typing import Literal

import yaml

from mixopt.base.errors import ConfigError
from mixopt.base.shown import shown_name
from mixopt.settings.schema import STUDY_FILE
from mixopt.settings.sizing import RUNS_PER_DOMAIN, Budget, Sizing
from mixopt.settings.units import parse_number, show_count
from proxies.data.sources import KIND_OF_ENDING, Source, find_files, text_fields
from proxies.errors import ProxyError

TEMPLATE = """\
# A mixopt study: in what shares should a model be trained on these pools of text?
#   mixopt validate {file}    check this file
#   mixopt plan {file}        what will run, and how long it will take
#   mixopt run {file}         run it, or go on where it was left
# Every setting: mixopt schema
{purpose}
study: {study}
seed: 0

domains:                      # at least two pools of text
{domains}
# Limits on a domain:  min: 5%   max: 40%   pin: 10%   tokens: 300B (of the pool, where the files are a sample of it)
# Fields of records:   text: content   or   prompt: question and completion: answer

# groups:                     # limits on sums of shares
#   code: {{domains: [python, shell], max: 40%}}

{evaluation}

{target}

corpus:
  vocabulary: 4096            # of a tokenizer trained on this text; or  tokenizer: path/to/tokenizer.json
  sequence_length: 256
{validation}
{size}proxies:                      # small models, cheapest first; the answer is given and confirmed for the last
  dense: {{kind: dense, depth: {depth}, tokens: {tokens}, trials: {trials}{evaluations}}}
  # moe: {{kind: moe, depth: 4, tokens: 2M, trials: 12}}

search:
  strategy: bayes             # or climb, regmix, random
  # stop_hopeless: true       # end trials early that will not be among the best

objective:                    # default: the mean over all evaluation sets
  kind: {kind:<20}  # or worst_case, no_worse, hinge, pareto, families: see docs/study-file.md
{weights}  unit: nats_per_token

confirm:                      # the best candidates and the baselines, trained again
  candidates: {candidates}
  seeds: {seeds}

{budget}

{executor}
"""

EVALUATION = """\
# evaluation:                 # more sets to judge by, besides each domain's own validation split
#   exam: {paths: exam.jsonl, prompt: question, completion: answer}"""
TARGET = """\
# target:                     # the final run: caps the share of domains that it would repeat too often
#   tokens: 100B
#   max_epochs: 4"""
BUDGET = "# budget: {time: 6h}          # or flops: 1e18"
EXECUTOR = "# executor: {slots: 4}        # or gpus_per_trial: 0.25, ...; for a cluster see docs/cluster.md"

Purpose = Literal["pretraining", "continued", "fine-tuning"]
# What a reader of the file has to know; said too where it is written.
OF_A_PURPOSE: Mapping[Purpose, str] = MappingProxyType(
    {
        "pretraining": "For pretraining: proxies start from random weights, as the final run does.",
        "continued": (
            "For continued pretraining: proxies start from random weights here, and not from your base model. They "
            "find the mixture from which most is learned anew; what the base model knows already is worth less to it "
            "than this says, and what it forgets is not seen. So keep a floor under what it must not forget (min: of "
            "that domain), and confirm the answer with a short run of the base model itself."
        ),
        "fine-tuning": (
            "For fine-tuning: proxies start from random weights here, and not from your base model, so less carries "
            "over than in pretraining: confirm the answer with a short run of the real model. Where a domain names "
            "prompt and completion, the loss is taken on the completion alone."
        ),
    }
)
KINDS = ("weighted", "worst_case", "no_worse", "hinge", "pareto")
# Bytes of text that a token takes, about; and how much larger compressed text is once unpacked.
BYTES_PER_TOKEN, UNPACKED = 4.0, 3.0

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


@dataclass(frozen=True)
class Wanted:
    """What a first study is to be, as far as somebody said.

    Attributes:
        objective: a kind of objective, domains that count, and files to judge by, each perhaps with `=WEIGHT`.
    """

    purpose: Purpose | None = None
    target_params: int | None = None
    target_tokens: int | None = None
    objective: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pools:
    """The text that a first study is about.

    Attributes:
        domains: settings of each.
        tokens: about so many, by the size of the files; None where there are none to look at.
    """

    domains: Mapping[str, Mapping[str, str]]
    tokens: Mapping[str, float] | None


@dataclass(frozen=True)
class Size:
    """How large the study is, and why.

    Attributes:
        why: sentences about it, for its reader.
        executor: settings of it that the size rests on.
    """

    sizing: Sizing
    budget: Budget
    why: tuple[str, ...]
    executor: str | None = None


@dataclass(frozen=True)
class Judging:
    """What the study minimises: parts of the file.

    Attributes:
        evaluation: settings of each set that is no domain.
    """

    kind: str = "weighted"
    weights: Mapping[str, float] | None = None
    evaluation: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def study_text(data: Path | None, output: Path) -> str:
    """The text of a study file at `output`, over the folders and files in `data`.

    Raises:
        ConfigError: `data` holds fewer than two domains.
    """
    return text_of(pools_in(data, output), output)


def text_of(
    pools: Pools,
    output: Path,
    wanted: Wanted = Wanted(),
    judging: Judging = Judging(),
    size: Size | None = None,
) -> str:
    """The text of a study file at `output`."""
    sizing = None if size is None else size.sizing
    return TEMPLATE.format(
        file=output,
        purpose="" if wanted.purpose is None else f"#\n{_comment(purpose_note(pools, wanted.purpose))}\n",
        study=_quoted(study_name(output)),
        # Written by the YAML library, which knows what has to be quoted: 2019, no, it's.
        domains=indent(_yaml(pools.domains), "  "),
        evaluation=f"evaluation:\n{indent(_yaml(judging.evaluation).rstrip(), '  ')}"
        if judging.evaluation
        else EVALUATION,
        target=_target(pools, wanted),
        validation=""
        if sizing is None
        else f"  validation_tokens: {sizing.validation_tokens}    # of each evaluation set, in whole documents\n",
        size="" if size is None else "".join(f"{_comment(each)}\n" for each in size.why),
        depth=2 if sizing is None else sizing.model.depth,
        tokens="2M" if sizing is None else show_count(sizing.tokens),
        trials=max(24, RUNS_PER_DOMAIN * len(pools.domains)) if sizing is None else sizing.trials,
        evaluations="" if sizing is None or sizing.evaluations == 4 else f", evaluations: {sizing.evaluations}",
        kind=judging.kind,
        weights=_weights(judging),
        candidates=2 if sizing is None else sizing.candidates,
        seeds=3 if sizing is None else sizing.seeds,
        budget=BUDGET if size is None else _budget(size),
        executor=EXECUTOR if size is None or size.executor is None else f"executor: {{{size.executor}}}",
    )


def study_name(output: Path) -> str:
    """After its folder; a file that has a name of its own after that, so that two in one folder are two studies."""
    own = _name(output.stem, "")
    return own if own and output.name != STUDY_FILE.name else _name(output.absolute().parent.name, "study")


def purpose_note(pools: Pools, purpose: Purpose) -> str:
    """What a reader has to know of studies for this purpose, and of these pools."""
    said = OF_A_PURPOSE[purpose]
    plain = [name for name, settings in pools.domains.items() if "completion" not in settings]
    if purpose == "fine-tuning" and plain:
        some = ", ".join(plain[:5]) + (", ..." if len(plain) > 5 else "")
        said += f" No such pair of fields was found in {some}: there it is taken on all of the text."
    return said


def _target(pools: Pools, wanted: Wanted) -> str:
    """The final run; in comments where the files here are plainly a sample, or a file with it would be refused."""
    if wanted.target_tokens is None:
        return TARGET
    lines = ["target:                       # the final run: caps the share of domains that it would repeat too often"]
    if wanted.target_params is not None:
        lines.append(f"  params: {show_exactly(wanted.target_params)}")
    lines += [f"  tokens: {show_exactly(wanted.target_tokens)}", "  max_epochs: 4"]
    if (sample := sample_note(pools, wanted)) is None:
        return "\n".join(lines)
    return "\n".join([_comment(sample), *(f"# {line}" for line in lines)])


def sample_note(pools: Pools, wanted: Wanted) -> str | None:
    """What to do where the files hold too little for the final run, and so are a sample of what it will draw from."""
    if wanted.target_tokens is None or pools.tokens is None:
        return None
    here = sum(pools.tokens.values())
    if 4 * here >= wanted.target_tokens:
        return None
    return (
        f"The files hold about {show_count(here)} tokens, by their size, and the final run takes "
        f"{show_count(wanted.target_tokens)}: they are a sample. Give each domain the tokens of its whole pool "
        "(tokens: 300B), then take away the # of target; until then nothing caps a share by how often text is repeated."
    )


def _weights(judging: Judging) -> str:
    if judging.weights is None:
        return ""
    if judging.kind == "worst_case":
        return f"  metrics: {_flow(list(judging.weights))}\n"
    return f"  weights: {_flow(dict(judging.weights))}\n"


def _budget(size: Size) -> str:
    """What stops the search where it takes longer than was thought."""
    budget, sizing = size.budget, size.sizing
    if budget.kind == "time":
        seconds = int(budget.amount - (sizing.confirmation_seconds or 0.0))
        left = f"{seconds // 60}m" if seconds >= 600 else f"{seconds}s"
        return (
            f"budget: {{time: {left}}}         # of the search: what is left of {budget.said} is for the confirmation, "
            "which nothing ends"
        )
    if budget.kind == "flops":
        return f"budget: {{flops: {budget.amount:.6g}}}      # of all trials, the confirmation included"
    flops = _at_least(sizing.flops)
    return (
        f"budget: {{flops: {flops:.3e}}}  # what {budget.said} were taken to do: GPU hours themselves are not counted"
    )


def _at_least(flops: float) -> float:
    """Rounded up in the fourth figure, the last that is written: a study is not to run out of what it costs."""
    last = 10.0 ** (math.floor(math.log10(flops)) - 3)
    return math.ceil(flops / last) * last


def judging_of(objective: Sequence[str], pools: Pools, output: Path) -> Judging:
    """What the parts of an `--objective` are: a kind, domains, and files to judge by.

    Raises:
        ConfigError: one of them is none of these, or they do not go together.
    """
    kinds, weights, evaluation = list[str](), dict[str, float](), dict[str, Mapping[str, str]]()
    for part in objective:
        what, equals, weight = part.rpartition("=")
        what, number = (what, _weight(part, weight)) if equals else (part, 1.0)
        if not equals and part in KINDS and part not in pools.domains:
            kinds.append(part)
        elif what in pools.domains:
            weights[what] = number
        elif Path(what).exists():
            name = _name(Path(what).name.partition(".")[0], "exam")
            taken = pools.domains.keys() | evaluation.keys()
            name = next(each for each in chain([name], (f"{name}_{n}" for n in count(2))) if each not in taken)
            if (settings := _settings(Path(what), output)) is None:
                raise ConfigError(
                    f"--objective {shown_name(what)}: no text in it", hint="name a file of text or records"
                )
            weights[name], evaluation[name] = number, settings[0]
        else:
            known = ", ".join([*pools.domains, *KINDS][:12])
            raise ConfigError(
                f"--objective {shown_name(part)}: no domain, file or kind of objective",
                hint=f"choose from {known}, or name a file to judge by",
            )
    if weights and not any(weights.values()):
        raise ConfigError("--objective: all weights are 0", hint="give at least one a weight above 0")
    if len(kinds) > 1:
        raise ConfigError(f"--objective {kinds[0]} and {kinds[1]} are two kinds", hint="choose one of them")
    weighed = [name for name, weight in weights.items() if weight != 1]
    if "worst_case" in kinds and weighed:
        raise ConfigError(
            f"--objective {weighed[0]}={weights[weighed[0]]:g}: worst_case looks at the worst and weighs nothing",
            hint=f"leave the weight out: {weighed[0]}",
        )
    return Judging(kinds[0] if kinds else "weighted", weights or None, evaluation)


def _weight(part: str, text: str) -> float:
    try:
        number = parse_number(text)
    except ValueError:
        number = -1.0
    if number < 0:
        raise ConfigError(f"--objective {shown_name(part)}: no weight", hint="write a number, such as code=2")
    return number


def pools_in(data: Path | None, output: Path) -> Pools:
    """The domains in a folder; without one, examples.

    Raises:
        ConfigError: `data` holds fewer than two domains.
    """
    if data is None:
        return Pools(EXAMPLE_DOMAINS, None)
    if not data.is_dir():
        raise ConfigError(f"{data} is not a folder", hint="name the folder that holds one folder or file per domain")
    found: dict[str, dict[str, str]] = {}
    tokens: dict[str, float] = {}
    for entry in sorted(data.iterdir()):
        if entry.name.startswith(".") or _is_about(entry) or (read := _settings(entry, output)) is None:
            continue  # what says something about the pools; no text for a domain
        plain = _name(entry.name if entry.is_dir() else entry.name.partition(".")[0], "domain")
        numbered = (f"{plain}_{number}" for number in count(2))
        name = next(name for name in chain([plain], numbered) if name not in found)
        found[name], tokens[name] = read
    if len(found) < 2:
        raise ConfigError(
            f"{data} holds {len(found)} domain{'s' * (len(found) != 1)}; a mixture needs at least 2",
            hint=f"put each pool of text into a folder or file of its own ({', '.join(list(KIND_OF_ENDING)[:6])}, ...)",
        )
    return Pools(found, tokens)


def _settings(entry: Path, output: Path) -> tuple[dict[str, str], float] | None:
    """How the study file names a folder or file of text, and about how many tokens it holds; None where it has none."""
    try:
        source = Source(entry.name, (str(entry),))
        files = find_files(source)
        fields = text_fields(source, files[0])
    except ProxyError:
        return None  # an empty folder, a picture
    if files[0].kind != "text" and not fields:
        return None  # ids and vectors
    packed = (UNPACKED if file.compressed or file.kind == "parquet" else 1.0 for file in files)
    size = sum((file.size or 0) * times for file, times in zip(files, packed, strict=True))
    return {"paths": os.path.relpath(entry, output.absolute().parent), **_fields(fields)}, size / BYTES_PER_TOKEN


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


def show_exactly(amount: int) -> str:
    """As a study file takes it, and nothing of it rounded away: 7B, 1_234_567."""
    short = show_count(amount)
    factor = {"k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}.get(short[-1], 0)
    return short if factor and math.isclose(float(short[:-1]) * factor, amount, rel_tol=1e-12) else f"{amount:_}"


def _comment(text: str) -> str:
    return "\n".join(textwrap.wrap(text, 110, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False))


def _yaml(value: Mapping[str, Mapping[str, str]]) -> str:
    written: str = yaml.safe_dump(
        {name: dict(each) for name, each in value.items()}, sort_keys=False, allow_unicode=True, width=10_000
    )
    return written


def _flow(value: object) -> str:
    written: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10_000, default_flow_style=True)
    return written.strip()
