"""The study file over domains that were found: what depends on them, and why it is so; all else is left to defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from mixopt.settings.new_study import BYTES_PER_TOKEN, study_name
from mixopt.settings.schema import CorpusSettings
from mixopt.settings.sizing import RUNS_PER_DOMAIN
from mixopt.settings.units import show_count

TEMPLATE = """\
# Domains that mixopt domains found; what they are is in {page}.
#   mixopt plan {file}    what will run, and how long it will take
#   mixopt run {file}     run it, or go on where it was left
# All else is as usual: domains count alike in the objective, the best mixtures are confirmed. Settings: mixopt schema

study: {study}

domains:                # about {tokens} tokens, the largest first; a limit: {{paths: ..., min: 5%, max: 40%}}
{domains}{corpus}
proxies:                # {why}
  dense: {{tokens: {proxy_tokens}, trials: {trials}}}
"""
CORPUS = """
corpus:
  sequence_length: {length}  # the smallest domain has about {smallest} tokens; {usual} where it has more
"""
PROXY_TOKENS = 2_000_000
# More is learned by heart: of 16 passes each says less than the one before, of 40 nothing (Muennighoff et al. 2023,
# "Scaling data-constrained language models", 2305.16264).
MOST_PASSES = 16
FEWEST_TRIALS = 24
# Of a small domain's text a third at least is left to train on where whole documents are held out, twice.
LEFT = 3
SHORTEST_ROW = 16


def heap_study(
    domains: Mapping[str, Mapping[str, str]], sizes: Mapping[str, int], left: int, output: Path, page: str
) -> str:
    """The text of a study file at `output`.

    Args:
        domains: settings of each.
        sizes: bytes of text.
        left: bytes of it that the domain with the fewest has to train on, whatever is held out.
        page: file that tells of them.
    """
    tokens = {name: int(size / BYTES_PER_TOKEN) for name, size in sizes.items()}
    whole, smallest = sum(tokens.values()), min(tokens.values())
    usual = CorpusSettings().sequence_length
    # Half of what is left: tokens of a small heap may have twice the usual bytes.
    length = _row(min(smallest // LEFT, int(left / BYTES_PER_TOKEN / 2)), usual)
    trials = max(FEWEST_TRIALS, RUNS_PER_DOMAIN * len(domains))
    each = f"{RUNS_PER_DOMAIN} trials for each domain"
    why = each if trials == RUNS_PER_DOMAIN * len(domains) else f"{each}, {trials} at least"
    most = max(MOST_PASSES * whole, length * 1000)
    if most < PROXY_TOKENS:
        passes = most // max(whole, 1)
        why += f", each on {passes} times the text{': more would be learned by heart' * (passes <= MOST_PASSES)}"
    return TEMPLATE.format(
        file=output,
        page=page,
        study=_flow(study_name(output)),
        tokens=show_count(whole),
        domains="".join(f"  {_flow(name)}: {_flow(dict(each))}\n" for name, each in domains.items()),
        corpus="" if length == usual else CORPUS.format(length=length, smallest=show_count(smallest), usual=usual),
        proxy_tokens=show_count(min(PROXY_TOKENS, most)),
        trials=trials,
        why=why,
    )


def _row(tokens: int, usual: int) -> int:
    """The longest row, a power of two, that so many tokens fill."""
    length = usual
    while length >= tokens and length > SHORTEST_ROW:
        length //= 2
    return length


def _flow(value: object) -> str:
    """As YAML reads it back."""
    written: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10_000, default_flow_style=True)
    return written.removesuffix("...\n").strip()
