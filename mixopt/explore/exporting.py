"""A mixture of the page in a trainer's format."""

from __future__ import annotations

from mixopt.base.errors import ConfigError
from mixopt.base.version import VERSION
from mixopt.explore.subject import Subject
from mixopt.exports import receipt
from mixopt.exports.formats import Carries, Draws, Exportable, exporter
from mixopt.exports.mixtures import Known
from mixopt.exports.repeats import require_few_repeats, supplies_in, told_repeats
from mixopt.exports.request import ExportRequest, choose_draws, resolve_locations, run_tokens
from search.mixture import Mixture


def exported(
    subject: Subject, mixture: Mixture, format: str, location: str | None, tokens: str | None
) -> tuple[str, list[str]]:
    """The trainer's text, and what to be careful about.

    Raises:
        ConfigError: the format cannot say this mixture, a place or an amount of tokens is wrong, or a domain would be
            repeated too often.
    """
    if subject.study is not None:
        request = ExportRequest.of(subject.study, format, location=location, tokens=tokens)
        known = Known.before(subject.study) if subject.answer is None else Known.of(subject.answer)
        made = request.export(known, mixture)
        return made.text, request.cautions(known, mixture) + _where_its_receipt_is(made, format)
    chosen = exporter(format)
    draws = choose_draws(chosen, None)
    if draws is Draws.DOCUMENTS:
        raise ConfigError(
            f"{format} draws documents, and a table of runs does not say how long they are",
            hint="export from the study, or choose another format",
        )
    verdict = "a mixture that somebody explored"
    run = run_tokens(tokens) or subject.space.target_tokens
    supplies = supplies_in(run, mixture, subject.supply, subject.most_epochs)
    require_few_repeats(supplies, run, "lower the tokens, or raise max_epochs in the file of --space")
    repeats = told_repeats(supplies, subject.most_epochs)
    exportable = Exportable(
        mixture,
        draws,
        {},
        resolve_locations(subject.domains, location, None),
        run,
        max(repeats.values()),
        provenance={"mixopt": VERSION, "runs": subject.name, "verdict": verdict},
        own_max_epochs=repeats,
        supply=subject.supply,
    )
    made = receipt.exported(chosen, exportable, receipt.Source(verdict), most_epochs=subject.most_epochs)
    return made.text, _where_its_receipt_is(made, format)


def _where_its_receipt_is(made: receipt.Export, format: str) -> list[str]:
    if made.carries is not Carries.BESIDE:
        return []
    return [f"{format} has no room for the receipt: mixopt export --output FILE writes it beside the file"]
