"""A trainer that is not mixopt's: continued pretraining of a small Llama of Hugging Face's library, on bytes.

    python trainer.py study.yaml

The base model is made from its configuration, trained once on licences and docstrings, and kept in base/. Each trial
then goes on from it on the mixture that `ask` gave, and `tell` gets its losses. Kill it and start it again: it is given
what it owes.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

import mixopt

POOLS = {"python": "python_code", "c_headers": "c_headers", "web": "web", "documentation": "documentation"}
BASE_POOLS = ("licences", "docstrings")
ROWS, LENGTH = 16, 128
BASE_STEPS = 200
HELD_OUT = 40 * LENGTH  # bytes at the end of a pool, of which no model is trained


def read(text: Path, pool: str) -> torch.Tensor:
    with gzip.open(text / f"{pool}.jsonl.gz", "rt", encoding="utf-8") as lines:
        joined = "\n\n".join(json.loads(line)["text"] for line in lines)
    return torch.frombuffer(bytearray(joined.encode()), dtype=torch.uint8).long()


def train(
    model: LlamaForCausalLM, pools: Mapping[str, torch.Tensor], weights: Mapping[str, float], steps: int, seed: int
) -> None:
    """So many steps; each row of a batch is drawn from a pool with the probability of its weight."""
    draw = torch.Generator().manual_seed(seed)
    names, shares = list(weights), torch.tensor(list(weights.values()))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(steps):
        rows = []
        for index in torch.multinomial(shares, ROWS, replacement=True, generator=draw).tolist():
            pool = pools[names[index]]
            start = int(torch.randint(len(pool) - HELD_OUT - LENGTH, (1,), generator=draw))
            rows.append(pool[start : start + LENGTH])
        batch = torch.stack(rows)
        model(input_ids=batch, labels=batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


@torch.no_grad()
def loss(model: LlamaForCausalLM, pool: torch.Tensor) -> float:
    rows = pool[-HELD_OUT:].view(-1, LENGTH)
    return float(model(input_ids=rows, labels=rows).loss)


def base(folder: Path, pools: Mapping[str, torch.Tensor]) -> LlamaForCausalLM:
    if not folder.exists():
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=256,
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=LENGTH,
                tie_word_embeddings=True,
            )
        )
        train(model, pools, dict.fromkeys(BASE_POOLS, 0.5), BASE_STEPS, seed=0)
        # Under another name until it is whole: whoever is killed meanwhile begins anew.
        half = folder.with_name(f"{folder.name}.half")
        model.save_pretrained(half)
        half.rename(folder)
    return LlamaForCausalLM.from_pretrained(folder)


def main(study_file: Path) -> None:
    disable_progress_bar()
    text = study_file.parent / "text"
    pools = {name: read(text, pool) for name, pool in POOLS.items()}
    earlier = {name: read(text, name) for name in BASE_POOLS}
    study = mixopt.Study(study_file)
    print(f"base model: {base(study_file.parent / 'base', earlier).num_parameters():,} parameters", flush=True)
    while not (asked := study.ask(4)).ended:
        for trial in asked.trials:
            began = time.monotonic()
            model = base(study_file.parent / "base", earlier)
            train(model, pools, trial.weights, trial.tokens // (ROWS * LENGTH), trial.seed)
            losses = {
                "python": loss(model, pools["python"]),
                "documentation": loss(model, pools["documentation"]),
                "replay": loss(model, earlier["docstrings"]),
            }
            study.tell(trial.trial, losses, seconds=time.monotonic() - began)
            print(trial.trial, {name: round(value, 4) for name, value in losses.items()}, flush=True)
    print(study.answer.verdict)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
