"""What the name of a column speaks of: a share, a loss, a score, an evaluation, training, a setting."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

# Names of columns, of which the same questions are asked again and again.
MOST_REMEMBERED = 100_000

# Words of metric names; where both kinds are there, as in mmlu_bpb, it is a loss.
LOSS_WORDS = frozenset({"loss", "ce", "xent", "bpb", "ppl", "perplexity", "nll", "error", "err", "entropy", "verlust"})


# fmt: off
SCORE_WORDS = frozenset(
    {
        "acc", "accuracy", "score", "f1", "em", "match", "pass", "bleu", "rouge", "rougel", "win", "winrate",
        "reward", "mmlu", "arc", "hellaswag", "piqa", "siqa", "gsm8k", "gsm", "winogrande", "boolq",
        "humaneval", "mbpp", "bbh", "ifeval", "openbookqa", "obqa", "csqa", "sciq", "triviaqa", "squad",
        "truthfulqa", "agieval", "genauigkeit",
    }
)

# Of the part that the columns of a mixture have in common. Words of the second kind say it only where the sums do.
MIXTURE_WORDS = frozenset(
    {
        "mix", "mixture", "mixtures", "mixing", "weight", "weights", "share", "shares", "proportion", "proportions",
        "prop", "props", "ratio", "ratios", "fraction", "fractions", "frac", "prob", "probs", "probability",
        "probabilities", "percent", "percentage", "pct", "blend", "anteil", "anteile", "gewicht", "gewichte",
    }
)
# Those that are said of mixtures of text and of little else.
SURE_WORDS = frozenset({"mix", "mixture", "mixtures", "mixing", "weight", "weights", "share", "shares", "blend"})
DATA_WORDS = frozenset({"data", "dataset", "datasets", "domain", "domains", "source", "sources", "sampling", "corpus"})
TOKEN_WORDS = frozenset({"token", "tokens", "toks"})
DOCUMENT_WORDS = frozenset({"doc", "docs", "document", "documents", "sample", "samples", "example", "examples"})

EVALUATION_WORDS = frozenset(
    {
        "eval", "evals", "evaluation", "val", "valid", "validation", "test", "dev", "heldout", "holdout", "downstream",
        "bench", "benchmark", "benchmarks", "tasks",
    }
)
TRAINING_WORDS = frozenset({"train", "training", "tr"})
# Turkish, Indonesian and Fula, whose codes are words of training, of counts and of layers as well.
LANGUAGES = frozenset({"tr", "id", "ff"})
# With one of these, a name with a word for a loss, a score or an evaluation is a setting of it all the same.
SETTING_WORDS = frozenset(
    {
        "interval", "every", "weight", "weights", "coef", "coefficient", "scale", "threshold", "batch", "seed",
        "smoothing", "runtime", "second", "seconds", "sec", "frequency", "freq", "limit", "timestamp", "timeout",
        "patience", "enabled", "split", "std", "stdev", "stddev", "sem", "ci", "ci95",
    }
)
# What is counted or set, and is no measurement of a mixture where nothing else says so.
COUNT_WORDS = frozenset(
    {
        "step", "steps", "iter", "iters", "iteration", "iterations", "epoch", "epochs", "size", "samples", "time",
        "duration", "elapsed", "throughput", "mfu", "tps", "memory", "mem", "gpu", "gpus", "cpu", "cpus", "lr",
        "learning", "decay", "wd", "warmup", "beta", "beta1", "beta2", "momentum", "dropout", "grad", "gradient",
        "norm", "count", "num", "number", "n", "idx", "index", "rank", "world", "token", "tokens", "flops", "flop",
        "params", "parameters", "layers", "layer", "heads", "depth", "width", "dim", "hidden", "length", "len", "seq",
        "ctx", "context", "temperature", "temp", "progress", "vocab", "ff", "mlp", "clip", "eps", "epsilon", "hours",
        "cost", "price", "version", "id", "date", "year", "day", "max", "min", "nodes", "node", "system", "power",
        "utilization", "bytes", "chars", "documents", "examples",
    }
)
# A loss that says no more than that it is one.
BARE_LOSS_WORDS = frozenset(
    {"loss", "total", "ce", "lm", "aux", "z", "router", "model", "final", "nll", "cross", "entropy"}
)
# fmt: on

# How a table that says itself what is what names a metric.
METRIC = "metric."
# What stands between a metric's name and where it was measured, as in eval/web.
SEPARATORS = tuple("/._-: ")

# Where trackers put what columns are: settings, and what was measured.
SETTINGS = ("config.", "params.", "tags.", "attributes.", "hparams.")
MEASURED = ("summary.", "summarymetrics.", "summary_metrics.", "metrics.")


@lru_cache(maxsize=MOST_REMEMBERED)
def words_of(name: str) -> tuple[str, ...]:
    """The words of a name in lower case, also those that only capitals separate."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return tuple(word for word in re.split(r"[^0-9a-zA-Z\u00c0-\u024f]+", parted.lower()) if word)


@lru_cache(maxsize=MOST_REMEMBERED)
def without_origin(name: str) -> str:
    """A name without where a tracker put it."""
    lower = name.lower()
    for origin in (*SETTINGS, *MEASURED):
        if lower.startswith(origin) and len(name) > len(origin):
            return name[len(origin) :]
    return name


def called(metric: str, names: Iterable[str]) -> list[str]:
    """Those of these names that may be of a metric whose name is known, of the surest kind of which there is one: the
    name itself, metric.<name>, the name without where a tracker put it, one that ends in it after a separator."""
    there = list(names)
    kinds: list[list[str]] = [
        [name for name in there if name == metric],
        [name for name in there if name == f"{METRIC}{metric}"],
        [name for name in there if without_origin(name) == metric and not is_setting(name)],
        [name for name in there if name.endswith(metric) and name[: -len(metric)][-1:] in SEPARATORS],
    ]
    return next(filter(None, kinds), [])


def is_setting(name: str) -> bool:
    return name.lower().startswith(SETTINGS)


def kind_of(metric: str) -> Literal["score", "loss", "unknown"]:
    """What the name of a metric says."""
    words = {word for part in re.split(r"[^a-z0-9]+", metric.lower()) for word in (part, part.rstrip("0123456789"))}
    if words & LOSS_WORDS or any(word.endswith("loss") for word in words):
        return "loss"
    return "score" if words & SCORE_WORDS else "unknown"
