"""Which column is a run's name, its scale, how it ended: by the columns' names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mixopt.base.errors import ConfigError
from mixopt.base.shown import shown_name
from mixopt.runs.tables.reading import NO_COLUMN, Reading, Role
from mixopt.runs.tables.sheet import Sheet, some
from mixopt.runs.tables.words import is_setting, without_origin, words_of

# What columns are called, the surest first; words are parted by _ here, whatever parts them in the table.
NAMES: Mapping[Role, tuple[str, ...]] = {
    "run": (
        "run", "run_name", "mlflow_run_name", "display_name", "name", "experiment_name", "exp_name", "trial",
        "run_id", "experiment", "exp", "id", "lauf",
    ),
    "id": ("run_id", "id", "uuid", "run_uuid"),
    "fidelity": ("fidelity", "proxy", "scale", "model", "model_name", "model_size", "size", "arch", "architecture"),
    "params": (
        "params", "n_params", "num_params", "parameters", "n_parameters", "num_parameters", "param_count",
        "model_params", "total_params", "parameter_count", "model_size", "non_embedding_params", "model", "size",
        "scale", "model_name", "proxy",
    ),
    "tokens": (
        "tokens", "n_tokens", "num_tokens", "train_tokens", "training_tokens", "total_tokens", "token_budget",
        "max_tokens", "train_num_tokens", "num_train_tokens", "tokens_seen", "n_tokens_seen", "train_tokens_seen",
        "throughput_total_tokens",
    ),
    "cost": ("cost", "flops", "total_flops", "train_flops", "gpu_hours"),
    "state": ("state", "status", "run_state", "run_status"),
    "step": (
        "_step", "step", "global_step", "trainer_global_step", "train_global_step", "train_step", "last_step",
        "current_step", "iteration", "iter", "train_iteration",
    ),
    "last_step": (
        "max_steps", "total_steps", "num_train_steps", "train_steps", "n_steps", "num_steps", "max_iters",
        "train_iters", "total_train_steps", "num_training_steps", "max_train_steps",
    ),
    "seed": ("seed", "random_seed", "rng_seed"),
}  # fmt: skip

# Names that mean this wherever they stand: model.n_params.
COUNTS_OF_PARAMS = frozenset(
    {
        "n_params", "num_params", "n_parameters", "num_parameters", "param_count", "parameter_count", "total_params",
        "non_embedding_params",
    }
)  # fmt: skip
# A column of smaller numbers, called size or scale, is of something else.
FEWEST_PARAMS = 1e4

# Words of trackers for how a run ended, or that it did not.
ENDED = frozenset({"finished", "completed", "complete", "success", "succeeded", "successful", "done", "ok", "passed"})
NOT_ENDED = frozenset(
    {
        "crashed", "failed", "failure", "error", "running", "killed", "preempted", "preempting", "pending", "scheduled",
        "queued", "aborted", "cancelled", "canceled", "stopped", "timeout", "interrupted", "oom", "diverged",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Known:
    """A column whose part is known, and why."""

    column: str
    why: str


def roles_of(sheet: Sheet, said: Reading) -> dict[Role, Known]:
    """The column of each role that one has.

    Raises:
        ConfigError: a column that somebody named is not there.
    """
    found: dict[Role, Known] = {}
    for role, names in NAMES.items():
        if role in said.columns:
            column = said.columns[role]
            if column == NO_COLUMN:
                continue
            if column not in sheet.columns:
                raise ConfigError(
                    f"{sheet.source}: no column {shown_name(column)}, named by --column {role}=...",
                    hint=f"choose from {some(map(shown_name, sheet.columns))}",
                )
            found[role] = Known(column, "said so")
            continue
        for name in names:
            columns = [each for each in sheet.columns if _is_called(each, name) and _may_be(role, each, sheet)]
            # A setting is what was meant, of a run's size; what a run reached stands in what was measured.
            columns.sort(key=lambda each: (is_setting(each) != (role in ("params", "tokens", "last_step")), len(each)))
            if columns and not _is_taken(columns[0], role, found, said):
                found[role] = Known(columns[0], "by its name")
                break
    return found


def _is_called(column: str, name: str) -> bool:
    """By its whole name, or by the last part of one that points and slashes part."""
    plain = without_origin(column)
    if name.startswith("_"):
        return plain == name
    if plain.startswith("_") and not plain.startswith("__"):
        return False
    return "_".join(words_of(plain)) == name or (
        "." in plain
        and name not in ("name", "id", "size", "model", "scale", "state", "status", "cost")
        and "_".join(words_of(re.split(r"[./]", plain)[-1])) == name
        and (is_setting(column) or name in COUNTS_OF_PARAMS)
    )


def _may_be(role: Role, column: str, sheet: Sheet) -> bool:
    """Whether the cells can be what the name says."""
    texts = [text for text in sheet.texts(column) if text]
    if not texts:
        return False
    if column == role and role in ("run", "fidelity", "params", "tokens", "cost"):
        return True  # what cannot be read there is a mistake, and told
    numbers = sheet.if_numbers(column)
    match role:
        case "state":
            words = {text.lower() for text in texts}
            return bool(words & (ENDED | NOT_ENDED))
        case "params":
            return numbers is not None and bool(np.nanmin(numbers) >= FEWEST_PARAMS)
        case "step" | "last_step" | "tokens" | "cost":
            return numbers is not None
        case "fidelity":
            # A size in numbers is one of parameters; a name that no two runs share is none of a scale.
            sizes = all(re.fullmatch(r"[\d.,]+\s*[kmbgtKMBGT]?", text) for text in texts)
            return not sizes and (len(set(texts)) < len(texts) or len(texts) == 1)
        case _:
            return True


def _is_taken(column: str, role: Role, found: Mapping[Role, Known], said: Reading) -> bool:
    """Whether the column has another part already; that of an identity may be the name as well."""
    if column in said.columns.values():
        return True
    if isinstance(said.weights, Mapping) and column in said.weights.values():
        return True
    if isinstance(said.metrics, Mapping) and column in said.metrics.values():
        return True
    others = {other: known.column for other, known in found.items() if {other, role} != {"run", "id"}}
    return column in others.values()
