"""What a careful reader wants to know before a study runs: its pools, settings that come to
nothing, repetition, evaluation's cost, early stopping.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mixopt.settings.schema import StudyFile
from mixopt.settings.units import show_count
from mixopt.study.corpus import domain_sources
from proxies.data.corpus import Corpus
from proxies.data.sources import beside_records
from search.objective import Objective, WeightedMean

if TYPE_CHECKING:
    from proxies.recipe import Recipe


# Of a trial's training; more is worth a note.
MUCH_EVALUATION = 0.05


# Documents of a domain; of fewer, chance decides which are held out.
FEW_DOCUMENTS = 20
# Of a held-out set: so few say nothing of how documents differ.
FEW_HELD_OUT = 3


def pool_notes(file: StudyFile, corpus: Corpus, objective: Objective) -> list[str]:
    """Pools that are not what they seem: the same text twice, hardly any, or files that are not read."""
    notes, domains_of = list[str](), defaultdict[str, list[str]](list)
    for name in file.domains:
        domains_of[corpus.content(name)].append(name)
    notes += [
        f"domains {', '.join(names)} hold the same text, which counts as supply in each of them"
        for names in domains_of.values()
        if len(names) > 1
    ]
    notes += [
        f"domain {name} has {corpus.domains[name].documents} documents, too few to validate on: its loss says how well "
        "these are known; give it more, or leave it out of the objective with objective.weights"
        for name in _counted(objective, corpus)
        if name in file.domains and corpus.domains[name].documents < FEW_DOCUMENTS
    ]
    for source in domain_sources(file):
        if beside := beside_records(source):
            named = ", ".join(Path(path).name for path in beside[:3])
            more = f" and {len(beside) - 3} more" if len(beside) > 3 else ""
            notes.append(f"domain {source.name}: files beside its records are not read: {named}{more}")
    return notes


def repetition_notes(corpus: Corpus, available: Mapping[str, Mapping[str, int] | None]) -> list[str]:
    """Where repetition cannot be matched, because the files hold less than the proxy would need."""
    return [
        f"proxy {proxy} repeats domain {domain} more often than the final run: "
        f"its files hold {show_count(corpus.domains[domain].train_tokens)} tokens, {show_count(tokens)} are needed"
        for proxy, needed in available.items()
        for domain, tokens in (needed or {}).items()
        if tokens > corpus.domains[domain].train_tokens
    ]


def evaluation_notes(corpus: Corpus, recipes: Mapping[str, Recipe], objective: Objective) -> list[str]:
    """Where evaluation, which costs a third of training for each token, takes much of a trial's time."""
    tokens = sum(len(corpus.evaluation(name).tokens_N) for name in corpus.evaluation_sets)
    shares = {name: len(recipe.evaluation_steps) * tokens / 3 / recipe.tokens for name, recipe in recipes.items()}
    # Sets that are too small already are not to become smaller.
    fewer = [] if _small_sets(corpus, objective) else ["lower corpus.validation_tokens"]
    return [
        f"proxy {name} spends about {share / (1 + share):.0%} of its time on evaluation; "
        + ", or ".join(
            [
                *fewer,
                *([f"lower proxies.{name}.evaluations"] if recipes[name].evaluations > 1 else []),
                "train it on more tokens",
            ]
        )
        for name, share in shares.items()
        if share > MUCH_EVALUATION
    ]


def _small_sets(corpus: Corpus, objective: Objective) -> dict[str, int]:
    """How many documents the confirmation has of what the objective counts, where these are too few."""
    counts = {name: len(corpus.confirmation(name).bytes_G) for name in _counted(objective, corpus)}
    return {name: count for name, count in counts.items() if count <= FEW_HELD_OUT}


def _counted(objective: Objective, corpus: Corpus) -> list[str]:
    """The evaluation sets that the objective is made of; one whose weight is 0 says nothing."""
    counted = {*objective.metrics}
    if isinstance(objective, WeightedMean):
        counted = {name for name, weight in objective.weights.items() if weight}
    return [name for name in corpus.evaluation_sets if name in counted]


def confirmation_notes(file: StudyFile, corpus: Corpus, objective: Objective) -> list[str]:
    """Where a confirmation is measured on documents that the search has seen, or on too few to tell of others."""
    if file.confirm.candidates == 0:
        return []
    if not corpus.has_confirmation_sets:
        return [
            "the corpus was prepared by an earlier mixopt, which held out no documents for the confirmation: it is "
            "measured on those that the search ranks mixtures by, and its intervals are over seeds alone; a new study "
            "has documents of its own for it"
        ]
    notes = list[str]()
    counted, elsewhere = _counted(objective, corpus), corpus.searched_elsewhere
    if taken := [name for name in counted if name in elsewhere]:
        notes.append(
            f"what was held out of {', '.join(taken)} for the confirmation is in other evaluation sets of the search, "
            "so that on it the confirmation is measured on what the search ranks mixtures by: let these sets stand for "
            "it in the objective, or name documents of its own in evaluation"
        )
    if seen := [name for name in counted if name not in (*corpus.confirmed_apart, *elsewhere)]:
        notes.append(
            f"too little text to hold out documents for the confirmation as well: on {', '.join(seen)} it is measured "
            "on those that the search ranks mixtures by"
        )
    if small := _small_sets(corpus, objective):
        named = ", ".join(f"{name} ({count})" for name, count in small.items())
        notes.append(
            f"the confirmation is measured on very few documents of {named}: its intervals say little of others there; "
            "raise corpus.validation_tokens or validation_share, or give it more documents"
        )
    return notes


def target_notes(file: StudyFile) -> list[str]:
    """Where a limit on epochs limits nothing, because nobody said how long the final run is."""
    if file.target.tokens is not None:
        return []
    return [
        f"domains.{name}.max_epochs limits nothing: epochs are those of the final run; give target.tokens"
        for name, domain in file.domains.items()
        if domain.max_epochs is not None
    ]


def family_notes(file: StudyFile) -> list[str]:
    """Where evaluation sets are in no family, and so count for nothing."""
    families = file.objective.families
    if families is None:
        return []
    named = {metric for family in families.values() for metric in family.metrics}
    left = [name for name in file.evaluation_sets if name not in named]
    return [f"in no family of the objective, and so without any weight: {', '.join(left)}"] if left else []


def stopping_notes(file: StudyFile, recipes: Mapping[str, Recipe]) -> list[str]:
    """Where hopeless trials are to be stopped, and none can be."""
    if not file.search.stop_hopeless:
        return []
    if file.objective.kind == "pareto":
        return [
            "search.stop_hopeless stops nothing in a pareto search: the worst in one loss may be the best in another"
        ]
    return [
        f"proxy {name} is never stopped early: it is evaluated only at its end; raise its evaluations"
        for name, recipe in recipes.items()
        if len(recipe.evaluation_steps) == 1
    ]
