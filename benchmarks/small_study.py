"""Studies of real small proxies, judged by text that is in no pool: what searches over different domains gain with it.

Trained in this process, without a compiler: a study of some 25 trials takes minutes on one core.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixopt.results.answer import Answer

TEMPLATE = """\
study: "{name}"
seed: {seed}
domains:
{domains}
evaluation:
{evaluation}
corpus: {{vocabulary: 1024, validation_tokens: {judged}, sequence_length: 128{tokenizer}}}
proxies:
  dense: {{kind: dense, depth: 2, width: 64, tokens: {tokens}, batch_rows: 16, evaluations: 1, trials: {trials}}}
baselines: [proportional, uniform]
search: {{stop_when_resolved: false}}
objective: {{weights: {{{weights}}}}}
confirm: {{candidates: 1, seeds: {seeds}}}
executor: {{kind: in_process, compile: never}}
"""


@dataclass(frozen=True)
class SmallStudy:
    """A study file, in the folder of its pools.

    Args:
        domains: what stands at each domain, as flow YAML; its paths are seen from the folder.
        evaluation: the file of each set that judges, seen from there too; all count alike, or as `weights` say.
        tokens: of a proxy, as study files have them.
        trials: of the search, the two baselines not counted.
        seeds: that confirm its answer.
        tokenizer: one that is there already, so that losses of several studies are in one unit.
    """

    folder: Path
    name: str
    seed: int
    domains: Mapping[str, str]
    evaluation: Mapping[str, str]
    weights: Mapping[str, float]
    tokens: str
    trials: int
    seeds: int = 4
    judged_tokens: str = "3k"
    tokenizer: Path | None = None

    def write(self) -> Path:
        path = self.folder / f"{self.name}.yaml"
        text = TEMPLATE.format(
            name=self.name,
            seed=self.seed,
            domains="\n".join(f"  {name}: {what}" for name, what in self.domains.items()),
            evaluation="\n".join(f"  {name}: {{paths: {file}}}" for name, file in self.evaluation.items()),
            weights=", ".join(f"{name}: {weight:g}" for name, weight in self.weights.items()),
            tokenizer="" if self.tokenizer is None else f", tokenizer: {os.path.relpath(self.tokenizer, self.folder)}",
            judged=self.judged_tokens,
            tokens=self.tokens,
            trials=self.trials,
            seeds=self.seeds,
        )
        path.write_text(text, encoding="utf-8")
        return path

    def tokenizer_made(self) -> Path:
        """That of this study, once it was run."""
        [path] = self.folder.glob(f".mixopt/{self.name}/corpus/tokenizer-*.json")
        return path


def gains(answer: Answer) -> dict[str, Any]:
    """What a confirmed answer gains over the proportional mixture: of the winner and of the proposed."""
    assert answer.confirmation is not None, "confirm is asked for"
    found, [proposed] = answer.confirmation.winner, answer.confirmation.candidates
    return {
        "answer": found.label,
        "gain": -(found.difference or 0.0),
        "margin": found.margin,
        "gain_of_proposed": -(proposed.difference or 0.0),
        "mixture": {name: round(share, 4) for name, share in found.mixture.items()},
    }


def begin_or_go_on(path: Path, asked: dict[str, Any]) -> None:
    """Pools and studies of one folder are of the same options.

    Raises:
        SystemExit: it was begun with other ones.
    """
    if path.exists() and (begun := json.loads(path.read_text())) != asked:
        raise SystemExit(f"{path.parent} was begun with {begun}, not {asked}; give another --directory")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asked) + "\n")
