"""Tables as teams have them: each writes the same runs in its own way, with what else stands in such tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Finished:
    """A run that came to its end.

    Attributes:
        shares: of the domains, in percent with one digit, which every table can hold.
        loss, score: with three digits.
    """

    name: str
    shares: Mapping[str, float]
    loss: float
    score: float


DOMAINS = ("web", "code", "Bücher")


def some_runs(count: int = 24, domains: Sequence[str] = DOMAINS, seed: int = 0) -> list[Finished]:
    """Runs whose loss is lowest at half of the first domain, a third of the second."""
    rng = np.random.default_rng(seed)
    runs = []
    for place, row in enumerate(rng.dirichlet(np.full(len(domains), 2.0), size=count)):
        tenths = whole(row)
        shares = dict(zip(domains, tenths, strict=True))
        first, second, *_ = tenths
        loss = 3 + ((first - 50) / 50) ** 2 + ((second - 33) / 50) ** 2
        runs.append(Finished(f"run-{place}", shares, round(loss, 3), round(0.5 - loss / 20, 3)))
    return runs


def whole(row: Sequence[float]) -> list[float]:
    """Per cent with one digit that sum to 100."""
    tenths = np.floor(np.asarray(row) / np.sum(row) * 1000).astype(int)
    tenths[0] += 1000 - tenths.sum()
    return [int(each) / 10 for each in tenths]


def wandb_csv(path: Path, runs: Sequence[Finished]) -> None:
    """The table of runs as W&B's page exports it: 40 columns, settings as JSON, crashed runs, names that repeat."""
    rows = [_wandb_row(place, run, "finished", 2000) for place, run in enumerate(runs)]
    odd = Finished("odd", runs[0].shares, 9.999, 0.0)
    rows.insert(1, _wandb_row(900, odd, "crashed", 400))
    rows.append(_wandb_row(901, odd, "running", 1200))
    # Its process was killed after the last line was sent, so that the page calls it finished.
    rows.append(_wandb_row(902, odd, "finished", 1300))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)


def _wandb_row(place: int, run: Finished, state: str, step: int) -> dict[str, Any]:
    config = {
        "model": {"desc": None, "value": {"n_layers": 4, "n_params": 60_000_000, "rope": {"theta": 10_000}}},
        "data": {"desc": None, "value": {"mix": {k: v / 100 for k, v in run.shares.items()}, "shuffle_seed": place}},
    }
    return {
        "Name": run.name,
        "ID": f"x{place:04d}",
        "State": state,
        "Notes": "",
        "User": "ann",
        "Tags": "mix, v2",
        "Created": f"2026-03-{1 + place % 28:02d}T10:00:00.000Z",
        "Runtime": 3600 + place,
        "Sweep": "",
        "config": json.dumps(config, ensure_ascii=False),
        "batch_size": 256,
        "lr": 3e-4,
        "lr_schedule": "cosine",
        "optimizer": "adamw",
        "beta1": 0.9,
        "beta2": 0.95,
        "weight_decay": 0.1,
        "warmup_ratio": 0.02,
        "grad_clip": 1,
        "dropout": 0,
        "precision": "bf16",
        "n_gpus": 8,
        "gpu": "H100",
        "host": f"node{place % 4}",
        "git_commit": f"{place:07x}",
        "eval_interval": 100 + place,
        "max_steps": 2000,
        "token_budget": 1_000_000_000,
        "_step": step,
        "_runtime": 3599.5 + place,
        "_timestamp": 1.77e9 + place,
        "epoch": 0.1 + place / 1000,
        "train/loss": run.loss - 0.1 + place / 5000,
        "train/grad_norm": 0.5 + place / 100,
        "train/tokens_per_second": 1e5 + place,
        "eval/loss": run.loss,
        "eval/loss.min": run.loss - 0.01,
        "eval/mmlu": run.score,
        "eval/runtime": 12.5 + place / 7,
        "eval/samples_per_second": 80 + place,
    }


def wandb_api(path: Path, runs: Sequence[Finished]) -> None:
    """What a script writes that asks W&B's API, with the mixture as a list of sources."""
    rows: list[dict[str, Any]] = [
        {
            "name": run.name,
            "id": f"x{place}",
            "state": "finished",
            "config": {"sources": [{"name": k, "weight": v / 100} for k, v in run.shares.items()], "lr": 1e-3},
            "summary": {"_step": 2000, "eval/loss": run.loss, "eval/mmlu": run.score, "_wandb": {"runtime": 7}},
        }
        for place, run in enumerate(runs)
    ]
    rows.append({"name": "dead", "id": "x", "state": "failed", "config": {}, "summary": {}})
    path.write_text(json.dumps(rows), encoding="utf-8")


def wandb_script(path: Path, runs: Sequence[Finished]) -> None:
    """What W&B's own example script writes: whole dictionaries in cells, as Python prints them."""
    frame = pd.DataFrame(
        {
            "summary": [
                str({"_step": 10, "eval/loss": run.loss, "eval/mmlu": run.score, "gap": float("nan")}) for run in runs
            ],
            "config": [
                str({"domains": list(run.shares), "mix_weights": [v / 100 for v in run.shares.values()]})
                for run in runs
            ],
            "name": [run.name for run in runs],
        }
    )
    frame.to_csv(path)


def mlflow_search(path: Path, runs: Sequence[Finished]) -> None:
    """`mlflow.search_runs(...).to_csv()`, with the parent of the sweep and a run that failed."""
    rows: list[dict[str, Any]] = [{"run_id": "parent", "status": "FINISHED", "tags.mlflow.runName": "sweep"}]
    for place, run in enumerate(runs):
        rows.append(
            {
                "run_id": f"{place:032x}",
                "experiment_id": "7",
                "status": "FINISHED",
                "artifact_uri": "s3://bucket/7",
                "start_time": "2026-03-01 10:00:00+00:00",
                "metrics.val_loss": run.loss,
                "metrics.train_loss": run.loss - 0.2,
                "metrics.mmlu": run.score,
                "metrics.mmlu_stderr": 0.01 + place / 1000,
                "params.lr": "0.0003",
                "params.model_size": "60M",
                **{f"params.mix_{name}": f"{share / 100:.3f}" for name, share in run.shares.items()},
                "tags.mlflow.runName": run.name,
                "tags.mlflow.user": "ann",
            }
        )
    rows.append(rows[1] | {"run_id": "f", "status": "FAILED", "metrics.val_loss": 99.0, "tags.mlflow.runName": "bad"})
    pd.DataFrame(rows).to_csv(path)


def german(path: Path, runs: Sequence[Finished]) -> None:
    """What a German spreadsheet saves: a title, semicolons, decimal commas, percentages, a mean below, UTF-16."""

    def decimal(number: float, digits: int) -> str:
        return f"{number:.{digits}f}".replace(".", ",")

    lines = [
        "Ergebnisse im März;;;;;;",
        "Lauf;" + ";".join(f"{name} (%)" for name in runs[0].shares) + ";eval loss;mmlu;Notiz",
    ]
    for run in runs:
        shares = ";".join(decimal(share, 1) for share in run.shares.values())
        lines.append(f"{run.name};{shares};{decimal(run.loss, 3)};{decimal(run.score, 3)};")
    mean = ";".join(decimal(sum(run.shares[name] for run in runs) / len(runs), 1) for name in runs[0].shares)
    lines.append(f"Mittelwert;{mean};{decimal(sum(run.loss for run in runs) / len(runs), 3)};;")
    path.write_text("\r\n".join(lines) + "\r\n", encoding="utf-16")


def token_log(path: Path, runs: Sequence[Finished]) -> None:
    """A line for each evaluation of a run, with the tokens that each domain has given until then."""
    with path.open("w", encoding="utf-8") as file:
        for step in (500, 1000):
            for run in runs:
                line = {
                    "run": run.name,
                    "step": step,
                    "tokens": {name: round(share * step * 10_000) for name, share in run.shares.items()},
                    "eval": {"loss": run.loss + (1000 - step), "mmlu": run.score - (1000 - step)},
                }
                file.write(json.dumps(line) + "\n")


def long(path: Path, runs: Sequence[Finished]) -> None:
    """A row for each share, and a row for each value."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="|")
        writer.writerow(["run", "domain", "share", "metric", "value"])
        for run in runs:
            writer.writerows([run.name, name, share / 100, "", ""] for name, share in run.shares.items())
        for run in runs:
            writer.writerow([run.name, "", "", "loss", run.loss])
            writer.writerow([run.name, "", "", "mmlu", run.score])


def plain(path: Path, runs: Sequence[Finished]) -> None:
    """Columns that say what they are."""
    _frame(runs, "weight.", "metric.").to_csv(path, index=False)


def parquet(path: Path, runs: Sequence[Finished]) -> None:
    _frame(runs, "mix/", "eval/").to_parquet(path)


def tabs(path: Path, runs: Sequence[Finished]) -> None:
    _frame(runs, "mix/", "eval/").to_csv(path, sep="\t", index=False, encoding="utf-8-sig")


def by_name(path: Path, runs: Sequence[Finished]) -> None:
    """JSON with a key for each run."""
    found = {
        run.name: {
            "mixture": {k: v / 100 for k, v in run.shares.items()},
            "eval": {"loss": run.loss, "mmlu": run.score},
        }
        for run in runs
    }
    path.write_text(json.dumps(found), encoding="utf-8")


def _frame(runs: Sequence[Finished], weight: str, metric: str) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"run": run.name}
            | {weight + name: share / 100 for name, share in run.shares.items()}
            | {f"{metric}loss": run.loss, f"{metric}mmlu": run.score}
            for run in runs
        ]
    )


# By what files are called.
TEAMS: Mapping[str, Callable[[Path, Sequence[Finished]], None]] = {
    "wandb-export.csv": wandb_csv,
    "wandb-api.json": wandb_api,
    "project.csv": wandb_script,
    "mlflow.csv": mlflow_search,
    "ergebnisse.csv": german,
    "tokens.jsonl": token_log,
    "long.csv": long,
    "runs.csv": plain,
    "mix.parquet": parquet,
    "mix.tsv": tabs,
    "results.json": by_name,
}
