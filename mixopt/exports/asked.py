"""What was asked of a run, as an export's receipt or a study's answer says it, for whoever counts what was drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mixopt.exports.formats import Draws, Locations, exporter, mixture_in
from mixopt.exports.mixtures import document_lengths
from mixopt.exports.receipt import read_receipt
from mixopt.results.answer import Answer
from mixopt.results.receipt import Receipt, answer_id
from search.mixture import Mixture


@dataclass(frozen=True)
class Asked:
    """
    Attributes:
        by: what says so, for a person.
        answer: its id, where it is one.
        shares: of tokens, by domain; they sum to one.
        draws: what the trainer draws; None where nobody said.
        unit_tokens: of one draw, on average, by domain; of those for which it is known.
        at_random: whether it draws at random, as far as is known.
        names: by what else a domain is called: the places where the trainer finds it.
    """

    by: str
    answer: str | None
    shares: Mapping[str, float]
    draws: Draws | None
    unit_tokens: Mapping[str, float]
    at_random: bool
    names: Mapping[str, str]


def asked_by_receipt(receipt: Receipt, path: Path) -> Asked:
    """Of domains that the trainer's grid rounds to nothing, which were left out, none is expected."""
    shares = {name: 0.0 if each.count == 0 else each.asked for name, each in receipt.domains.items()}
    return Asked(
        by=f"the receipt of {path}",
        answer=receipt.answer,
        shares=Mixture.of(shares).as_dict(),
        draws=receipt.weights_count,
        unit_tokens={name: each.unit_tokens for name, each in receipt.domains.items() if each.unit_tokens},
        at_random=receipt.at_random,
        names={place: name for name, each in receipt.domains.items() for place in each.places},
    )


def asked_by_answer(answer: Answer) -> Asked:
    return Asked(
        by=f"the answer of study {answer.study}",
        answer=answer_id(answer),
        shares=Mixture.of(answer.mixture).as_dict(),
        draws=None,
        unit_tokens=document_lengths(answer),
        at_random=True,
        names={},
    )


def asked_by_export(path: Path) -> tuple[Asked, tuple[str, ...]]:
    """And a note, where the weights in the file are no longer those of its receipt.

    Raises:
        ConfigError: it has no receipt, or is no export of the format that its receipt names.
    """
    receipt, text = read_receipt(path)
    asked = asked_by_receipt(receipt, path)
    if mixture_of(receipt, text).total_variation(Mixture.of(asked.shares)) <= _within(receipt):
        return asked, ()
    return asked, (f"the weights in {path} are not those of its receipt: somebody changed the file",)


def mixture_of(receipt: Receipt, text: str) -> Mixture:
    """What an export's weights mean.

    Raises:
        ConfigError: it is not of the format that its receipt names.
    """
    units = {name: each.unit_tokens or 0.0 for name, each in receipt.domains.items()}
    if receipt.weights_count is Draws.PASSES:
        units = {name: each.there or 0.0 for name, each in receipt.domains.items()}
    return mixture_in(exporter(receipt.format), text, receipt.weights_count, units, locations_in(receipt))


def locations_in(receipt: Receipt) -> Locations:
    """Their sizes are not in a receipt: of several places of a domain all count the same."""
    return Locations({name: dict.fromkeys(each.places, 1.0) for name, each in receipt.domains.items()})


def _within(receipt: Receipt) -> float:
    """What rounding explains: of numbers in the file, and of whole documents."""
    return 1e-6 + (len(receipt.domains) / receipt.units if receipt.units and exporter(receipt.format).whole else 0.0)
