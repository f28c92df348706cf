"""Receipts: made for an export, put into its file or beside it, and read back.

mixture ──grid──▶ what the trainer makes of it ──▶ Receipt ──▶ a comment, a key, or NAME.receipt.json beside NAME
                                                      ▲──────────────── read_receipt ◀──┘
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from pydantic import ValidationError

from mixopt.base import plain_yaml
from mixopt.base.errors import ConfigError
from mixopt.base.files import text_in, write_text
from mixopt.base.version import VERSION
from mixopt.exports.formats import Carries, Draws, Exportable, Exporter, Grid
from mixopt.exports.formats.yaml_text import yaml_text
from mixopt.results.answer import Answer
from mixopt.results.draws import WEIGHTS_COUNT
from mixopt.results.receipt import DomainReceipt, Receipt, answer_id, first_sentence
from mixopt.settings.units import show_count
from search.mixture import Mixture

KEY, BESIDE = "receipt", ".receipt.json"
BEGIN, END = "# mixopt receipt", "# end of receipt"
SOMEBODYS = "a mixture that somebody gave"
NO_RECEIPT = "mixopt export writes one with every file; move NAME.receipt.json together with NAME"


@dataclass(frozen=True)
class Source:
    """Where a mixture comes from.

    Attributes:
        answer: whose mixture it is; None where it is another.
        inventory: fingerprint of what epochs are counted by.
    """

    verdict: str = SOMEBODYS
    study: str | None = None
    answer: Answer | None = None
    inventory: str | None = None
    there: str = ""


@dataclass(frozen=True)
class Export:
    """A trainer's file, and what it says about itself.

    Attributes:
        text: the file, with its receipt where the format has room for that.
    """

    text: str
    receipt: Receipt
    carries: Carries

    def write(self, path: Path) -> None:
        """A receipt beside it first: no file is without. One of an export that stood here before goes."""
        is_file = path.is_file() or not path.exists()
        if self.carries is Carries.BESIDE and is_file:
            write_text(beside(path), self.receipt.json_text() + "\n")
        write_text(path, self.text)
        if self.carries is not Carries.BESIDE and is_file:
            beside(path).unlink(missing_ok=True)


def beside(path: Path) -> Path:
    return path.with_name(path.name + BESIDE)


def exported(
    exporter: Exporter,
    exportable: Exportable,
    source: Source,
    leave_out: bool = False,
    most_epochs: Mapping[str, float] = MappingProxyType({}),
    allow_repeats: bool = False,
) -> Export:
    """A trainer's file with its receipt.

    Args:
        leave_out: domains that the trainer's grid rounds to nothing; they are a mistake else.
        most_epochs: how often the run may read each domain, where that is known.
        allow_repeats: somebody let it read them more often.

    Raises:
        ConfigError: the format cannot say the mixture, or would say it without one of its domains.
    """
    left = without_nothing(exporter, exportable) if leave_out else exportable
    grid = exporter.grid(left)
    if nothing := rounded_to_nothing(grid):
        raise _nothing_left(exporter, left, nothing)
    receipt = _receipt(exporter, exportable, left, grid, source, most_epochs, allow_repeats)
    return Export(_with_receipt(exporter, exporter.render(left), receipt, source), receipt, exporter.receipt)


def without_nothing(exporter: Exporter, exportable: Exportable) -> Exportable:
    """Without the domains that the grid rounds to nothing: what they leave is the others'."""
    while nothing := rounded_to_nothing(exporter.grid(exportable)):
        shares = exportable.mixture.as_dict()
        if len(nothing) == sum(share > 0 for share in shares.values()):
            raise _nothing_left(exporter, exportable, nothing)
        shares |= dict.fromkeys(nothing, 0.0)
        exportable = replace(exportable, mixture=Mixture.of(shares))
    return exportable


def rounded_to_nothing(grid: Grid | None) -> list[str]:
    return [] if grid is None else [domain for domain, count in grid.counts.items() if count == 0]


def _nothing_left(exporter: Exporter, exportable: Exportable, nothing: list[str]) -> ConfigError:
    grid = exporter.grid(exportable)
    assert grid is not None
    tokens = None if exportable.tokens is None else f"{show_count(exportable.tokens)} tokens"
    what = {"steps": f"the {grid.total} steps of its grid", "sequences": "whole sequences", "tokens": "whole tokens"}
    shares = exportable.mixture
    if len(nothing) == len(grid.counts):
        return ConfigError(
            f"{'the run holds' if tokens is None else f'{tokens} hold'} less than one "
            f"{grid.unit.removesuffix('s')} of each domain's share",
            hint="give the tokens of the run that the mixture is for",
        )
    run = "" if tokens is None else f" in {tokens}"
    others = "" if len(nothing) == 1 else f", and {len(nothing) - 1} more"
    return ConfigError(
        f"{exporter.name} would draw nothing of domain {nothing[0]}{others}: its share{run}, "
        f"{shares[nothing[0]]:.2g}, is less than one of {what.get(grid.unit, 'whole documents')}",
        hint="--leave-out exports the mixture without what is so small, and gives its share to the others; or give "
        "more --tokens or another mixture",
    )


def _receipt(
    exporter: Exporter,
    asked: Exportable,
    exportable: Exportable,
    grid: Grid | None,
    source: Source,
    most_epochs: Mapping[str, float],
    allow_repeats: bool,
) -> Receipt:
    answer = source.answer
    realised = None if grid is None else grid.shares
    return Receipt(
        mixopt=VERSION,
        format=exporter.name,
        study=source.study,
        answer=None if answer is None else answer_id(answer),
        study_digest=None if answer is None else answer.provenance.study_digest,
        mlflow_run=None if answer is None else answer.provenance.mlflow_run,
        inventory=source.inventory,
        verdict=first_sentence(source.verdict),
        weights_count=exportable.draws,
        at_random=exporter.at_random,
        tokens=exportable.tokens,
        grid=None if grid is None else grid.unit,
        units=None if grid is None else grid.total,
        sequence_length=exportable.sequence_length,
        seed=exportable.seed,
        total_variation=None if realised is None else _total_variation(asked.mixture, realised),
        allow_repeats=allow_repeats,
        domains={
            name: _domain(name, share, exportable, grid, most_epochs.get(name))
            for name, share in asked.mixture.as_dict().items()
        },
    )


def _domain(
    name: str, share: float, exportable: Exportable, grid: Grid | None, most_epochs: float | None
) -> DomainReceipt:
    realised = None if grid is None else grid.shares.get(name, 0.0)
    there = exportable.supply.get(name)
    units = {
        Draws.SEQUENCES: exportable.sequence_length,
        Draws.DOCUMENTS: exportable.mean_document_tokens.get(name),
        Draws.PASSES: exportable.mean_document_tokens.get(name),
    }
    taken = None if exportable.tokens is None or realised is None else realised * exportable.tokens
    return DomainReceipt(
        asked=share,
        realised=realised,
        count=None if grid is None else grid.counts.get(name, 0),
        epochs=None if taken is None or not there else taken / there,
        max_epochs=most_epochs,
        unit_tokens=units.get(exportable.draws),
        there=there,
        places=tuple(exportable.locations.all(name)),
    )


def _total_variation(mixture: Mixture, realised: Mapping[str, float]) -> float:
    return sum(abs(share - realised.get(name, 0.0)) for name, share in mixture.as_dict().items()) / 2


def _with_receipt(exporter: Exporter, text: str, receipt: Receipt, source: Source) -> str:
    """The file, and in it the receipt, where there is room for it."""
    if exporter.receipt is Carries.BESIDE:
        return text
    if exporter.receipt is Carries.KEY:
        if exporter.suffix == ".json":
            return json.dumps(json.loads(text) | {KEY: receipt.plain()}, indent=2) + "\n"
        return text + yaml_text({KEY: receipt.plain()})
    by = f"study {receipt.study}: " if receipt.study else ""
    head = [f"By mixopt, {by}{receipt.verdict}", f"Weights count {WEIGHTS_COUNT[receipt.weights_count]}."]
    if source.there:
        head.append(f"Epochs are counted by inventory {receipt.inventory}: {source.there}.")
    return "".join(f"# {line}\n" for line in head) + _comment(receipt) + text


def _comment(receipt: Receipt) -> str:
    """YAML behind a `#`, a line for each domain."""
    said = receipt.plain()
    domains = said.pop("domains")
    assert isinstance(domains, dict)
    lines = [_flow({key: value})[1:-1] for key, value in said.items()]
    lines += ["domains:", *(f"  {_flow({name: domain})[1:-1]}" for name, domain in domains.items())]
    return f"{BEGIN}, for mixopt check and mixopt audit\n" + "".join(f"# {line}\n" for line in lines) + f"{END}\n"


def _flow(value: Mapping[str, Any]) -> str:
    """On one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=2**30)
    return text.strip()


def read_receipt(path: Path) -> tuple[Receipt, str]:
    """The receipt of an export, and the text of its file.

    Raises:
        ConfigError: it has none, or one that is damaged or of a later version.
    """
    text = text_in(path, "export", "give a file that mixopt export wrote")
    found = _found(path, text)
    if not isinstance(found, Mapping):
        raise ConfigError(f"{path} has no receipt of mixopt", hint=NO_RECEIPT)
    version, current = found.get("schema_version"), Receipt.model_fields["schema_version"].default
    if isinstance(version, int) and version > current:
        raise ConfigError(
            f"{path}: its receipt was written by a later mixopt, {found.get('mixopt')}", hint="update mixopt"
        )
    try:
        return Receipt.model_validate(found), text
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "its head"
        raise ConfigError(
            f"{path}: the receipt is damaged at {place}: {first['msg']}", hint="export it anew"
        ) from error


def _found(path: Path, text: str) -> object:
    """What looks like a receipt in a file, or else beside it: what is in it was written with it."""
    if text.startswith(BEGIN) or f"\n{BEGIN}" in text:
        _, _, behind = text[text.index(BEGIN) :].partition("\n")
        block = behind.partition(END)[0].splitlines()
        return _loaded(path, "".join(f"{line.removeprefix('# ')}\n" for line in block), plain_yaml.load)
    if (inside := _in_key(path, text)) is not None:
        return inside
    if not beside(path).is_file():
        return None
    return _loaded(beside(path), text_in(beside(path), "receipt", "export it anew"), json.loads)


def _in_key(path: Path, text: str) -> object:
    """What a file has under the key of receipts; a receipt itself, which has none, is in no file."""
    try:
        content = json.loads(text) if path.suffix == ".json" else plain_yaml.load(text)
    except Exception:  # in whatever way a file of another kind is none of these
        return None
    return content.get(KEY) if isinstance(content, Mapping) else None


def _loaded(path: Path, text: str, load: Callable[[str], Any]) -> object:
    try:
        return load(text)
    except (ValueError, plain_yaml.NotPlain, RecursionError) as error:
        raise ConfigError(f"{path}: the receipt is damaged", hint="export it anew") from error
