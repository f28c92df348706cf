"""The study file: one strict schema. Reading it, with errors that name the line, is mixopt/settings/reading.py.

Sections, in the order of the file: study, seed, domains, quality, evaluation, groups, target, corpus, proxies,
baselines, search, objective, reuse, confirm, budget, executor, tracking, notify.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    WithJsonSchema,
    model_validator,
)

from mixopt.base.errors import ConfigError
from mixopt.base.shown import UNSEEN, shown, shown_name
from mixopt.settings.environment import STORE_VARIABLE, WEBHOOK_VARIABLE, studies_folder
from mixopt.settings.units import Amount, Count, Duration, Number, Share
from search.urls import holds_password

# Names become MLflow keys, file names and YAML keys, so they keep to characters that all of these take.
LONGEST_NAME = 100
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=LONGEST_NAME)]
# Of domains, and of whatever is named in a list or a section.
MOST_NAMES = 1000
# A trial that tells of itself at each evaluation would be ended for nothing within less.
SHORTEST_PATIENCE = 5.0  # seconds


STORES = ("sqlite:///", "http://", "https://", "postgresql://", "postgresql+", "mysql://", "mysql+")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Paths = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    BeforeValidator(_as_list),
    Field(min_length=1, max_length=10_000),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class TextSource(Section):
    """Where text comes from: files, folders, globs, fsspec URLs or a hub data set."""

    paths: Paths = []
    """Files, folders, globs, URLs (s3://...) or hub names (hf:owner/name@config); relative to the study file. Needed
    wherever mixopt trains the proxies; one's own trainer has the text."""
    text: str | None = None
    """The field that holds the text, in JSONL, Parquet and Arrow. Default: text."""
    prompt: str | None = None
    """With `completion`: the field of the prompt, on which no loss is taken."""
    completion: str | None = None
    """With `prompt`: the field of the completion, on which the loss is taken."""
    split: str = "train"
    """The split of a hub data set."""

    @model_validator(mode="after")
    def _one_kind_of_text(self) -> Self:
        if (self.prompt is None) != (self.completion is None):
            raise ValueError("prompt and completion go together; give both, or text alone")
        if self.prompt is not None and self.text is not None:
            raise ValueError("give either text, or prompt and completion, not both")
        return self


def _as_source(value: Any) -> Any:
    return {"paths": value} if isinstance(value, str | list) else value


class _OneScore(Section):
    scorer: Literal["compressibility", "density", "repetition", "characters", "language_model", "classifier"] | None = (
        None
    )
    """compressibility: as compressible as is usual in the pool; density: the less, the better; repetition: few lines
    and word triples twice; characters: letters and sentences, not symbols and menus; language_model: expected by a
    small proxy that is trained on good text; classifier: more like good text than like the pool."""
    field: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """In place of a scorer: the field of the records that holds the score, a number."""
    best: Literal["high", "low"] = "high"
    """Of a field: whether high numbers are good ones."""
    good: Annotated[TextSource | None, BeforeValidator(_as_source)] = None
    """language_model, classifier: text that is known to be good, none of it from the pool: paths, or {paths: ...}."""

    @property
    def name(self) -> str | None:
        return self.scorer or self.field

    @property
    def lacks(self) -> str | None:
        """What is wrong with it as a score; None where it is one."""
        if (self.scorer is None) == (self.field is None):
            return "a score is by a scorer or in a field; give one of the two"
        learns = self.scorer in ("language_model", "classifier")
        if learns and (self.good is None or not self.good.paths):
            return f"{self.scorer} learns from text that is known to be good; give it in good"
        if not learns and self.good is not None:
            return (
                f"good is for language_model and classifier; remove it, or choose one of these in place of {self.name}"
            )
        if self.field is None and "best" in self.model_fields_set:
            return "best is of a field; every scorer of ours knows what is good"
        return None


class ScoreSettings(_OneScore):
    """One of several scores."""

    weight: Annotated[Number, Field(gt=0)] = 1.0
    """Of its ranks in their mean."""

    @model_validator(mode="after")
    def _a_score(self) -> Self:
        if self.lacks is not None:
            raise ValueError(self.lacks)
        return self


class QualitySettings(_OneScore):
    """How good each document of a pool is, and the levels that the pool is cut into by it.

    Of a domain with parts: these are the levels, best first.
    """

    scores: Annotated[list[ScoreSettings], Field(min_length=2, max_length=20)] | None = None
    """In place of a scorer or a field: several, by the mean of whose ranks documents are sorted."""
    levels: Annotated[int, Field(ge=2, le=20)] = 5
    """How many, each with about as much text; fewer where many documents have the same score."""
    search: Literal["cells", "function"] = "cells"
    """cells: each level is a domain like any other; function: no level is read more often than a better one, as
    sampling functions have it (2504.16511), which gains more in few trials where the score can be trusted."""

    @property
    def every_score(self) -> tuple[ScoreSettings, ...]:
        if self.scores is not None:
            return tuple(self.scores)
        return (ScoreSettings(**{name: getattr(self, name) for name in sorted(self.model_fields_set & SCORE_FIELDS)}),)

    @property
    def is_scored(self) -> bool:
        return self.scores is not None or self.name is not None

    @model_validator(mode="after")
    def _scored_one_way(self) -> Self:
        if self.scores is not None:
            if odd := sorted(self.model_fields_set & SCORE_FIELDS):
                raise ValueError(f"{odd[0]} belongs into one of the scores; move it there")
            names = [score.name for score in self.scores]
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"two scores are called {shown_name(twice[0] or '')}; keep one of them")
        elif self.model_fields_set & SCORE_FIELDS and self.lacks is not None:
            raise ValueError(self.lacks)
        return self


SCORE_FIELDS = {"scorer", "field", "best", "good"}


class DomainSettings(TextSource):
    """A pool of training text, or several, its parts; and the limits on its share."""

    min: Share = 0.0
    """Smallest share of the training tokens."""
    max: Share = 1.0
    """Largest share of the training tokens."""
    pin: Share | None = None
    """A fixed share: the search does not touch it."""
    tokens: Count | None = None
    """Tokens of the whole pool, where the files are only a sample of it. Default: as counted."""
    max_epochs: Annotated[Number, Field(gt=0)] | None = None
    """How often the final run may repeat it. Default: `target.max_epochs`. Scarce, good data bears 15 to 20 epochs
    inside a mixture (2605.12715)."""
    sample: Count | None = None
    """Read about this many tokens and no more, where the pool is huge."""
    parts: Annotated[dict[Name, DomainSettings], Field(min_length=1, max_length=MOST_NAMES)] | None = None
    """In place of paths: the domains that it consists of, by name, each of which may have parts itself. The mixture is
    over those without parts, called by their levels (`web.news`); they have from it what they do not say themselves of
    text, prompt, completion, split and max_epochs."""
    quality: QualitySettings | None = None
    """Levels of quality that `mixopt quality` cuts it into; of a domain with parts: that these are levels, best first.
    Default: `quality` of the study."""

    @model_validator(mode="after")
    def _possible_limits(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"max {self.max:g} is below min {self.min:g}; lower min or raise max")
        if self.pin is not None and ("min" in self.model_fields_set or "max" in self.model_fields_set):
            raise ValueError("pin fixes the share; remove min and max, or remove pin")
        return self

    @model_validator(mode="after")
    def _parts_or_text(self) -> Self:
        if self.parts is not None and (odd := sorted({"paths", "tokens", "sample"} & self.model_fields_set)):
            raise ValueError(f"{odd[0]} belongs to a domain without parts; move it into one of them, or remove parts")
        if self.quality is None:
            return self
        if self.parts is None and not self.quality.is_scored:
            raise ValueError("quality needs what documents are scored by; give a scorer, a field or scores")
        if self.parts is not None and len(self.parts) < 2:
            raise ValueError("quality of a single part has no order; remove it, or add the other levels")
        if self.parts is not None and (odd := [name for name, part in self.parts.items() if part.parts is not None]):
            raise ValueError(f"{odd[0]} is a level of quality and has parts itself; move quality into it, or remove it")
        return self


@dataclass(frozen=True)
class Level:
    """A domain with parts.

    Attributes:
        domains: all domains of the mixture inside it, in the order of the file.
        depth: how many levels it lies in itself.
        quality: where they are levels of quality, best first.
    """

    name: str
    domains: tuple[str, ...]
    depth: int
    quality: QualitySettings | None = None


class GroupSettings(Section):
    """A limit on the sum of several domains' shares."""

    domains: Annotated[list[str], Field(min_length=1, max_length=MOST_NAMES)]
    """The domains that are added up."""
    min: Share = 0.0
    """Smallest sum of their shares."""
    max: Share = 1.0
    """Largest sum of their shares."""

    @model_validator(mode="after")
    def _possible_limits(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"max {self.max:g} is below min {self.min:g}; lower min or raise max")
        if len(set(self.domains)) < len(self.domains):
            raise ValueError("a domain is named twice; name each once")
        return self


class TargetSettings(Section):
    """The final, large run that the mixture is for."""

    tokens: Count | None = None
    """Its training tokens. With `max_epochs` this caps the share of scarce domains."""
    params: Count | None = None
    """Its parameters, embeddings left out: for predictions at its scale, with `tokens`."""
    max_epochs: Annotated[Number, Field(gt=0)] = 4.0
    """How often a domain that says nothing else may be repeated in it; up to about 4 is nearly free (2305.16264)."""
    repetition_matched: bool = False
    """Give proxies only so much of each domain that they repeat it as often as the final run will."""

    @model_validator(mode="after")
    def _tokens_for_matching(self) -> Self:
        if self.repetition_matched and self.tokens is None:
            raise ValueError("repetition_matched needs target.tokens; give the tokens of the final run")
        if self.params is not None and self.tokens is None:
            raise ValueError("target.params needs target.tokens; give the tokens of the final run")
        return self


class CorpusSettings(Section):
    """How text becomes tokens."""

    tokenizer: str | None = None
    """A tokenizer.json to use. Default: a byte-level BPE is trained on the corpus."""
    vocabulary: Annotated[Count, Field(ge=258, le=1_000_000)] = 4096
    """Size of the trained tokenizer's vocabulary: small, so that proxies are cheap."""
    validation_tokens: Annotated[Count, Field(le=1_000_000_000)] = 65_536
    """Validation tokens of each domain and evaluation set, at most."""
    validation_share: Share = 0.1
    """... and at most this share of a domain."""
    sequence_length: Annotated[Count, Field(ge=16, le=131_072)] = 256
    """Tokens in a training sequence."""
    workers: Annotated[Count, Field(le=1024)] | None = None
    """Tokenising processes. Default: one per core."""


# Of a proxy that is a mixture of experts.
EXPERTS = (
    *("experts", "top_k", "sparsity", "granularity", "expert_feed_forward", "shared_feed_forward"),
    *("scores", "balancing"),
)


class ProxySettings(Section):
    """A small model that stands for the large one. `depth` derives the rest; any value can be set."""

    params: Count | None = None
    """Of the model that one's own trainer trains (executor.kind: external or command), embeddings left out."""
    kind: Literal["dense", "moe"] = "dense"
    """dense, or moe: a mixture of experts."""
    depth: Annotated[Count, Field(le=1000)] = 2
    """Layers; width, heads, feed-forward and learning rate follow from it."""
    tokens: Annotated[Count, Field(le=10**13)]
    """Training tokens of one trial."""
    trials: Annotated[int, Field(ge=0, le=100_000)] = 24
    """How many mixtures of the design are trained with this proxy, the baselines not counted."""
    width: Annotated[Count, Field(le=131_072)] | None = None
    """Model width."""
    heads: Annotated[Count, Field(le=4096)] | None = None
    """Attention heads."""
    feed_forward: Annotated[Count, Field(le=1_000_000)] | None = None
    """Hidden width of the (dense) feed-forward layers."""
    experts: Annotated[Count, Field(le=10_000)] | None = None
    """moe: routed experts a layer."""
    top_k: Annotated[Count, Field(le=10_000)] | None = None
    """moe: routed experts a token."""
    sparsity: Share | None = None
    """moe, in place of experts: the share of them that a token does not meet."""
    granularity: Annotated[Count, Field(le=1000)] | None = None
    """moe: into how many smaller ones each expert is split; a token meets so many times as many (2401.06066)."""
    expert_feed_forward: Annotated[Count, Field(le=1_000_000)] | None = None
    """moe: hidden width of one routed expert."""
    shared_feed_forward: Annotated[Count, Field(le=1_000_000)] | None = None
    """moe: hidden width of the shared expert."""
    scores: Literal["softmax", "sigmoid"] | None = None
    """moe: what the router makes of its logits. Default: softmax."""
    balancing: Literal["loss", "bias"] | None = None
    """moe: what keeps the experts' load even: a term of the loss, or a bias that experts are chosen with (2408.15664).
    Default: loss."""
    learning_rate: Annotated[Number, Field(gt=0)] | None = None
    """Peak learning rate. Default: step law (2503.04715), clamped."""
    batch_rows: Annotated[Count, Field(le=1_000_000)] | None = None
    """Sequences in a training step. Default: step law, clamped."""
    evaluations: Annotated[int, Field(ge=1, le=100)] = 4
    """How often the losses are measured, evenly spaced before the learning rate decays, and at the end."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """auto: bf16 where the processor computes in it."""

    @model_validator(mode="after")
    def _experts_only_for_moe(self) -> Self:
        for field in EXPERTS:
            if self.kind == "dense" and getattr(self, field) is not None:
                raise ValueError(f"{field} belongs to kind: moe; remove it or set kind: moe")
        if self.experts is not None and self.sparsity is not None:
            raise ValueError("experts and sparsity both say how many experts there are; remove one of them")
        return self


class TrustSettings(Section):
    """Where the answer may lie."""

    near_evidence: bool = True
    """The answer is no farther from a trained mixture than these usually are from each other."""
    max_kl: Annotated[Number, Field(gt=0)] | None = None
    """The most that KL(answer || natural mixture) may be, in nats."""


class SearchSettings(Section):
    """How mixtures are chosen."""

    strategy: Literal["random", "regmix", "climb", "bayes"] = "bayes"
    """bayes: a small design, then one trial after the other where most is expected, until what is left to gain is lost
    in noise; regmix: a regression on a design proposes (2407.01492); climb: rounds of trials near the best predicted
    (2504.13161); random: best of a design."""
    design: Literal["around_baselines", "tempered_dirichlet"] | None = None
    """Which mixtures are trained before any result is known: around_baselines, as bayes does it, or tempered_dirichlet,
    RegMix's own, all over the space, as the others do."""
    stop_when_resolved: bool = True
    """bayes: end the search before all trials are spent, once what it may still gain is lost in the noise of a run."""
    stop_at_objective: Number | None = None
    """End the search once a trial of the last proxy reaches this objective, in `objective.unit`."""
    stop_without_improvement: Count | None = None
    """End the search once so many trials of the last proxy in a row were no better than the best before them."""
    stop_at_gain_width: Annotated[Number, Field(gt=0)] | None = None
    """End the search once the predicted gain over proportional has a 95% interval narrower than this, in
    `objective.unit`. It is that of a single run, so it cannot become narrower than what seeds do to runs."""
    refine: bool = True
    """bayes: towards the end, train a small factorial design around the best mixture, where the trials allow."""
    surrogate: Literal[
        "blend",
        "far_blend",
        "warped_gp",
        "multi_fidelity_gp",
        "gp_ard",
        "gp_isotropic",
        "effective_data",
        "epochs",
        "scaling_law",
        "log_linear",
        "bimix",
        "quadratic",
        "lightgbm",
        "regmix_lightgbm",
        "linear",
    ] = "blend"
    """What predicts losses from mixtures."""
    acquisition: Literal["log_ei", "posterior_mean", "max_value_entropy", "knowledge_gradient"] = "log_ei"
    """bayes: what makes a mixture worth a trial."""
    trust: TrustSettings = TrustSettings()
    stop_hopeless: bool = False
    """End a trial at an evaluation where it would, almost surely, come out among the worse half; it counts as a
    measurement at fewer tokens."""

    @model_validator(mode="after")
    def _fields_of_its_strategy(self) -> Self:
        for field in ("acquisition", "stop_when_resolved", "refine"):
            if self.strategy != "bayes" and field in self.model_fields_set:
                raise ValueError(f"{field} belongs to strategy: bayes; remove it or set strategy: bayes")
        for field in ("surrogate", "trust", "stop_at_gain_width"):
            if self.strategy == "random" and field in self.model_fields_set:
                raise ValueError(f"{field} means nothing to strategy: random, which predicts nothing; remove it")
        return self


class FamilySettings(Section):
    """Evaluation sets that measure one thing together."""

    metrics: Annotated[list[str], Field(min_length=1)]
    """The evaluation sets, alike."""
    weight: Annotated[Number, Field(gt=0)] = 1.0
    """Of the family in the mean, however many sets it has."""


class ObjectiveSettings(Section):
    """What is minimised."""

    kind: Literal["weighted", "worst_case", "no_worse", "hinge", "pareto"] = "weighted"
    """weighted: mean of the losses; worst_case: the largest excess over a baseline's losses; no_worse: the mean, while
    no loss is shown to exceed a baseline's by more than an allowance; hinge: the mean, in which what exceeds a
    baseline's losses counts more; pareto: the mixtures that none beats in every loss."""
    weights: dict[str, Annotated[Number, Field(ge=0)]] | None = None
    """All but worst_case: weight of each evaluation set in the mean; pareto names one mixture of its front by it.
    Default: all domains and evaluation sets alike."""
    families: Annotated[dict[Name, FamilySettings], Field(min_length=1)] | None = None
    """In place of weights: evaluation sets that belong together, each family with one weight, and told apart in the
    answer."""
    metrics: Annotated[list[str], Field(min_length=1)] | None = None
    """worst_case: the evaluation sets that count. Default: all."""
    baseline: str = "proportional"
    """worst_case, no_worse, hinge: the baseline whose losses are the measure."""
    allowance: Annotated[Number, Field(ge=0)] | None = None
    """no_worse: how much worse than the baseline any evaluation set may be, in `unit`. Default: 0."""
    times: Annotated[Number, Field(ge=1)] | None = None
    """hinge: how many times as much a loss counts that gets worse. Default: 2."""
    unit: Literal["nats_per_token", "bits_per_byte"] = "nats_per_token"
    """In which unit losses are put together; bits per byte does not depend on the tokenizer."""

    @property
    def has_baseline(self) -> bool:
        return self.kind in ("worst_case", "no_worse", "hinge")

    @model_validator(mode="after")
    def _fields_of_its_kind(self) -> Self:
        if self.kind != "worst_case" and self.metrics is not None:
            raise ValueError("metrics belongs to kind: worst_case; write weights instead")
        if self.kind == "worst_case" and self.weights is not None:
            raise ValueError("weights belongs to the other kinds; write metrics instead")
        if not self.has_baseline and "baseline" in self.model_fields_set:
            raise ValueError("baseline belongs to kind: worst_case, no_worse or hinge; remove it or set one of these")
        if self.kind != "no_worse" and self.allowance is not None:
            raise ValueError("allowance belongs to kind: no_worse; remove it or set kind: no_worse")
        if self.kind != "hinge" and self.times is not None:
            raise ValueError("times belongs to kind: hinge; remove it or set kind: hinge")
        if self.families is not None and self.weights is not None:
            raise ValueError("families take the place of weights; remove one of the two")
        if self.families is not None and self.kind == "worst_case":
            raise ValueError("families mean nothing to kind: worst_case; remove them, or name its metrics")
        named = [metric for family in (self.families or {}).values() for metric in family.metrics]
        if twice := [metric for metric, count in Counter(named).items() if count > 1]:
            raise ValueError(f"{shown_name(twice[0])} is in the families twice; name each evaluation set once")
        each = [family.weight for family in (self.families or {}).values()]
        if not math.isfinite(sum(self.weights.values() if self.weights is not None else each)):
            raise ValueError(
                "the weights sum to more than a number can hold; write them in proportion, such as 2 and 1"
            )
        if self.weights is not None and not any(self.weights.values()):
            raise ValueError("all weights are 0; give at least one evaluation set a weight above 0")
        return self


class ReuseSettings(Section):
    """What an earlier search over nearly the same domains is still good for (2602.12237)."""

    runs: Annotated[str, Field(min_length=1)] | None = None
    """A table of earlier runs, .csv or .parquet, relative to the study file; its metrics are losses in
    `objective.unit`."""
    store: bool = False
    """Runs of other studies in the same MLflow experiment count, where they trained on the same pools, which are known
    by their text; what is taken is recorded when the study begins."""
    renamed: dict[str, str] = {}
    """Earlier name of a domain: its name now."""
    split: dict[str, Annotated[list[str], Field(min_length=1)]] = {}
    """Earlier name of a domain: the domains that it became, which together are all its text."""
    merged: dict[str, Annotated[dict[str, Annotated[Amount, Field(gt=0)]], Field(min_length=2)]] = {}
    """A domain: the earlier ones that it was put together of, each with its tokens. Runs that mixed these otherwise do
    not count."""
    keep: list[str] = []
    """Domains that keep their relative weights: the search varies only their sum and the other domains."""
    at: dict[str, Annotated[Number, Field(ge=0)]] | None = None
    """Their relative weights. Default: in proportion to their tokens."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.runs is None and (self.renamed or self.split or self.merged):
            raise ValueError("renamed, split and merged say how to read earlier runs; give their table in runs")
        if len(set(self.keep)) < len(self.keep):
            raise ValueError("keep names a domain twice; name each once")
        if self.at is not None and not math.isfinite(sum(self.at.values())):
            raise ValueError("the weights of at sum to more than a number can hold; write them in proportion")
        if self.at is not None and set(self.at) != set(self.keep):
            raise ValueError("at and keep name different domains; give a weight to each domain of keep")
        if self.at is not None and not any(self.at.values()):
            raise ValueError("all weights of at are 0; give at least one above 0")
        return self


class ConfirmSettings(Section):
    """The best candidates and the baselines are trained again before the answer is believed."""

    candidates: Annotated[int, Field(ge=0, le=20)] = 2
    """How many candidates are confirmed; 0 skips the confirmation."""
    seeds: Annotated[int, Field(ge=2, le=100)] = 3
    """Trainings of each, with different seeds."""


class BudgetSettings(Section):
    """When the search stops early. The confirmation is kept a share of it."""

    flops: Amount | None = None
    """Floating-point operations of all trials, confirmation included."""
    time: Annotated[Duration, Field(gt=0)] | None = None
    """Wall-clock time of the study, over all resumes, after which the search asks for no more trials."""


# Of an executor whose trials mixopt trains itself.
TRAINING_HERE = {"address", "cpus_per_trial", "gpus_per_trial", "pack", "compile", "shared"}
# What `run` may name of a trial, in braces; the shell's own ${...} and {a,b} are let be.
PLACES = ("mixture_file", "out", "folder", "trial", "seed", "proxy", "params", "tokens")
PLACEHOLDER = re.compile(r"(?<!\$)\{([a-z_]+)\}")
# Of a proxy that it trains.
SHAPE = {
    *("kind", "depth", "width", "heads", "feed_forward", *EXPERTS),
    *("learning_rate", "batch_rows", "evaluations", "precision"),
}


class ExecutorSettings(Section):
    """Where trials are trained."""

    kind: Literal["ray", "in_process", "external", "command"] = "ray"
    """ray: processes of a local or remote Ray cluster; in_process: one after the other, under a debugger; external:
    one's own trainer, whose losses are told (mixopt ask, mixopt tell); command: one's own trainer, which `run`
    starts."""
    run: Annotated[str, Field(min_length=1, max_length=10_000)] | None = None
    """command: what trains a trial, for the shell, such as `sbatch --wait train.sh {mixture_file} {out}`."""
    address: str | None = None
    """Address of a running Ray cluster. Default: a local one, for this study alone."""
    slots: Annotated[Count, Field(le=100_000)] | None = None
    """Trials at a time. Default: as many as the cluster has room for."""
    cpus_per_trial: Annotated[Number, Field(gt=0, le=10_000)] = 1.0
    """Processor cores of a trial."""
    gpus_per_trial: Annotated[Number, Field(ge=0, le=1000)] = 0.0
    """GPUs of a trial, or of a pack of them; 0.25 puts four on one."""
    pack: Annotated[Count, Field(le=1000)] = 1
    """Trials of one proxy that share those GPUs, trained side by side; `mixopt plan` measures how many one takes."""
    compile: Literal["auto", "always", "never"] = "auto"
    """Compile a proxy's steps. auto: where the study takes enough of them to be worth the wait."""
    attempts: Annotated[Count, Field(le=1000)] = 3
    """How often a trial is started, the first start included, when its worker dies or falls silent."""
    patience: Annotated[Duration, Field(ge=SHORTEST_PATIENCE)] = 600.0
    """A trial that has told nothing for so long is ended, and started again from its checkpoint. command: how long its
    losses may still come once `run` has ended well, as where a batch system only takes the trial in."""
    shared: str | None = None
    """A folder or fsspec URL (s3://...) that every node reaches: tokens and checkpoints go through it, and each node
    keeps its own copy of the tokens. Default: `directory`, which several nodes then have to share."""

    @property
    def is_foreign(self) -> bool:
        """Whether trials are trained by another trainer than mixopt's own."""
        return self.kind in ("external", "command")

    @model_validator(mode="after")
    def _fields_of_its_kind(self) -> Self:
        if self.pack > 1 and self.kind == "in_process":
            raise ValueError("pack is for kind: ray; in_process trains one trial at a time; remove one of them")
        if (self.kind == "command") != (self.run is not None):
            raise ValueError(
                "run belongs to kind: command; remove it or set kind: command"
                if self.run is not None
                else "kind: command needs run, what trains a trial: give it, or set kind: external and tell the losses"
            )
        unknown = [name for name in PLACEHOLDER.findall(self.run or "") if name not in PLACES]
        if unknown:
            raise ValueError(f"run has no placeholder {{{unknown[0]}}}; choose from {', '.join(PLACES)}")
        if self.is_foreign and (odd := sorted(self.model_fields_set & TRAINING_HERE)):
            raise ValueError(f"{odd[0]} is for trials that mixopt trains; remove it, {self.kind} trains elsewhere")
        if self.kind == "external" and "attempts" in self.model_fields_set:
            raise ValueError(
                "attempts: with kind: external whoever trains starts a trial again; see mixopt ask --again"
            )
        if self.pack > 1 and self.gpus_per_trial == 0:
            raise ValueError(
                "pack is for GPUs: on a CPU each trial has a core of its own; remove it or set gpus_per_trial"
            )
        return self


def store_of_this_machine() -> str | None:
    """The MLflow store that the environment names; that of a database with its password, as is usual.

    Raises:
        ConfigError: it is a server's address with a password.
    """
    uri = os.environ.get(STORE_VARIABLE) or None  # empty is unset, as for MLflow
    if uri is not None and uri.startswith("http") and holds_password(uri):
        raise ConfigError(
            f"${STORE_VARIABLE} holds a password, which links to the server would show",
            hint="give it in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    return uri


class TrackingSettings(Section):
    """The MLflow store."""

    uri: str | None = None
    """sqlite:///file.db or http(s)://server. Default: $MLFLOW_TRACKING_URI, else SQLite in `directory`."""
    experiment: Annotated[str, Field(min_length=1)] = "mixopt"
    """The MLflow experiment that holds the study."""

    @model_validator(mode="after")
    def _known_store(self) -> Self:
        if self.uri is not None and not self.uri.startswith(STORES):
            raise ValueError(
                f"uri {shown_name(self.uri)} names no MLflow store; write sqlite:///file.db or http(s)://server"
            )
        if self.uri is not None and self.uri.startswith("sqlite:///") and self.uri.endswith(("///", "/.", "/..")):
            raise ValueError(f"uri {shown_name(self.uri)} names no file; write sqlite:///file.db")
        if {".", ".."} & set(self.experiment.split("/")) or UNSEEN.search(self.experiment):
            raise ValueError(f"experiment {shown(self.experiment)} is no name for a folder; write letters and digits")
        return self


class WebhookSettings(Section):
    """Where a webhook's address is to be found: it is a secret, and a study's file is recorded."""

    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)] = WEBHOOK_VARIABLE
    """The environment variable that holds the address."""


def _no_address(value: Any) -> Any:
    if isinstance(value, str):
        # Not shown: whoever knows the address may write there.
        raise ValueError(
            f"a webhook's address is a secret, and this file is recorded; put it into ${WEBHOOK_VARIABLE} and write "
            "webhook: {}, or webhook: {env: NAME} of another variable"
        )
    return value


class NotifySettings(Section):
    """Who is told, elsewhere, in one line, of what becomes of the study; it never waits for that, nor fails by it."""

    webhook: Annotated[WebhookSettings | None, BeforeValidator(_no_address)] = None
    """Gets a POST with JSON: `text`, which Slack and its like show, and the same in fields."""
    command: Annotated[str, Field(min_length=1, max_length=10_000)] | None = None
    """For the shell, in the study file's folder: the line is in $MIXOPT_MESSAGE, the JSON comes as its input."""
    when: Annotated[list[Literal["ended", "stalled", "best"]], Field(min_length=1)] = ["ended", "stalled", "best"]
    """ended: with an answer or without; stalled: no trial has ended for long; best: the search found a better one."""
    stalled_after: Annotated[Number, Field(ge=1)] = 5.0
    """A stall is so many times as long as a trial usually takes, without one that ends; a minute at least."""

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.webhook is None and self.command is None:
            raise ValueError("notify tells nobody; give webhook: {} or a command")
        return self


class StudyFile(Section):
    """One file, one search, one MLflow parent run."""

    study: Name
    """The study's name: running it again under this name resumes it."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Every random choice follows from it."""
    domains: Annotated[dict[Name, DomainSettings], Field(min_length=1, max_length=MOST_NAMES)]
    """The pools of text, by name; two at least, parts counted."""
    quality: QualitySettings | None = None
    """Of every domain without parts that says nothing else: the levels that `mixopt quality` cuts it into."""
    evaluation: Annotated[dict[Name, TextSource], Field(max_length=MOST_NAMES)] = {}
    """Further evaluation sets, such as tasks; each domain's own validation split is always one."""
    metrics: Annotated[list[Name], Field(min_length=1, max_length=MOST_NAMES)] | None = None
    """What one's own trainer measures, losses or other numbers that are to be low. Default: a loss of each domain."""
    groups: Annotated[dict[Name, GroupSettings], Field(max_length=MOST_NAMES)] = {}
    """Limits on sums of shares, by name."""
    target: TargetSettings = TargetSettings()
    corpus: CorpusSettings = CorpusSettings()
    proxies: Annotated[dict[Name, ProxySettings], Field(min_length=1, max_length=100)]
    """The proxies, cheapest first; the answer is given, and confirmed, for the last."""
    baselines: list[Literal["proportional", "uniform", "unimax", "temperature", "transport"]] = [
        "proportional",
        "uniform",
        "unimax",
        "temperature",
    ]
    """Mixtures that are always trials of the study; proportional is always among them. transport: the one whose text is
    nearest to what the objective is measured on."""
    search: SearchSettings = SearchSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    reuse: ReuseSettings = ReuseSettings()
    confirm: ConfirmSettings = ConfirmSettings()
    budget: BudgetSettings = BudgetSettings()
    executor: ExecutorSettings = ExecutorSettings()
    tracking: TrackingSettings = TrackingSettings()
    notify: NotifySettings | None = None
    """Who is told when it ends, stalls or finds a new best. Default: the webhook of $MIXOPT_NOTIFY_WEBHOOK, if set."""
    directory: str | None = None
    """Where tokens, checkpoints and the default store are kept, relative to the study file.
    Default: $MIXOPT_DIRECTORY, else .mixopt."""

    _file: Path = PrivateAttr()
    _text: str = PrivateAttr()
    _levels: tuple[Level, ...] = PrivateAttr(())
    _places: dict[str, tuple[str, ...]] = PrivateAttr({})

    @model_validator(mode="after")
    def _scored(self) -> Self:
        if self.quality is not None and not self.quality.is_scored:
            raise ValueError("quality needs what documents are scored by; give a scorer, a field or scores")
        return self

    @property
    def to_be_cut(self) -> dict[str, QualitySettings]:
        """The domains that ask for levels of quality, which are not made yet."""
        asked = {name: domain.quality or self.quality for name, domain in self.domains.items()}
        made = {name for level in self.levels if level.quality is not None for name in level.domains}
        return {name: quality for name, quality in asked.items() if quality is not None and name not in made}

    @property
    def file(self) -> Path:
        """The file that this was read from."""
        return self._file

    @property
    def text(self) -> str:
        """The file as it was written, without a byte order mark."""
        return self._text

    @property
    def levels(self) -> tuple[Level, ...]:
        """The domains with parts, outer ones first; `domains` has those without (see mixopt/settings/levels.py)."""
        return self._levels

    def written(self, *location: str) -> tuple[str, ...]:
        """Where a setting stands in the file, of a domain or a level that may be a part of another."""
        if len(location) < 2 or location[0] != "domains":
            return location
        return (*self._places.get(location[1], location[:2]), *location[2:])

    @property
    def evaluation_sets(self) -> tuple[str, ...]:
        return (*self.domains, *self.evaluation) if self.metrics is None else tuple(self.metrics)

    @property
    def goes_on_by(self) -> str:
        """The command by which the study begins, or goes on."""
        return f"mixopt {'ask' if self.executor.kind == 'external' else 'run'} {self._file}"

    @property
    def home(self) -> Path:
        """The folder of everything that the study keeps."""
        return self._file.parent / studies_folder(self.directory)

    @property
    def work_directory(self) -> Path:
        return self.home / self.study

    @property
    def tracking_uri(self) -> str:
        """Where the MLflow store is, to connect with: that of a database may hold its password, and is not to be shown.

        A relative SQLite file is meant relative to the study file.

        Raises:
            ConfigError: the environment names a server with a password.
        """
        uri = self.tracking.uri or store_of_this_machine()
        if uri is None:
            return f"sqlite:///{(self.home / 'mlflow.db').absolute()}"
        if uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
            return f"sqlite:///{(self._file.parent / uri.removeprefix('sqlite:///')).absolute()}"
        return uri

    def deciding(self) -> dict[str, Any]:
        """The settings that decide the numbers of each trial and the question; the rest may change between runs.

        More trials, more confirmation seeds, another budget or executor only extend a study; a design of n mixtures
        starts with the design of fewer. How to search, and from which earlier runs, may change because a strategy is
        a function of the history, whoever asked for its trials.
        """
        settings = self.model_dump(
            mode="json",
            exclude=NOT_DECIDING,
            exclude_none=True,
        )
        settings["corpus"].pop("workers", None)
        for proxy in settings["proxies"].values():
            proxy.pop("trials")
        # The last proxy is the target, and mixtures are drawn in the order of the domains.
        settings["order"] = {"domains": list(self.domains), "proxies": list(self.proxies)}
        return settings


# What may change while a study runs. Levels are made before it begins: what decides is their text.
NOT_DECIDING = {
    *("study", "search", "quality", "reuse", "confirm", "budget", "executor", "tracking", "notify", "directory")
}


def json_schema() -> dict[str, Any]:
    """The schema of the study file, for editors."""
    schema = StudyFile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "mixopt study file"
    return schema


STUDY_FILE = Path("study.yaml")
