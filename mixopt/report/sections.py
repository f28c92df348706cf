"""A report's sections in words: what each plot shows, how to read it, and the numbers behind it as a table.

Shapes: D domains, C columns: the objective and the metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from mixopt.report import figures
from mixopt.report.content import OBJECTIVE, Agreement, Content, Gain, Missing, Rival
from mixopt.units import show_count, show_duration
from search.problem import REFERENCE

# More rows, columns or plots are not taken in at a glance; tables have them all.
MOST_ROWS = 20
MOST_COLUMNS = 10
MOST_CURVES = 12


@dataclass(frozen=True)
class Table:
    """Columns named `>...` are aligned to the right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Plot:
    """
    Attributes:
        svgs: one, or small ones that wrap.
        caption: how to read it.
        is_open: whether the table is shown from the start.
    """

    title: str
    svgs: tuple[Markup, ...]
    caption: str
    table: Table
    is_open: bool = False


@dataclass(frozen=True)
class Section:
    """
    Attributes:
        lead: what there is to see, or why there is nothing.
        facts: a table that belongs to no plot.
        text: as it stands in a file.
    """

    name: str
    title: str
    lead: str
    plots: tuple[Plot, ...] = ()
    facts: Table | None = None
    text: str = ""

    @property
    def facts_are_open(self) -> bool:
        return self.facts is not None and len(self.facts.rows) <= MOST_ROWS


@dataclass(frozen=True)
class Tile:
    """One number of the decision."""

    title: str
    value: str
    unit: str
    remark: str


def tiles(content: Content) -> tuple[Tile, ...]:
    decision, trials = content.decision, content.trials
    answer = decision.rival(decision.answer)
    # Where nothing is to be changed, what the search had to offer instead.
    subject = decision.rivals[0] if answer.changes_nothing else answer
    same = f"what the search proposes is the {REFERENCE} mixture" if subject.changes_nothing else None
    shared = subject.values.keys() & decision.rival(REFERENCE).values.keys()
    alone, paired, unit = "one new run of each", f"{len(shared)} seeds", content.unit
    stopped = f"{trials['stopped']} stopped early, " if trials["stopped"] else ""
    return (
        _gain_tile("Predicted gain", alone, subject, subject.predicted, same or decision.not_predicted, unit),
        _gain_tile("Confirmed gain", paired, subject, subject.confirmed, same or decision.not_confirmed, unit),
        _trust_tile(content),
        Tile(
            "Trials",
            str(trials["completed"]),
            "completed",
            f"{stopped}{trials['failed']} failed; {trials['flops']:.3g} FLOPs in all",
        ),
    )


def _gain_tile(title: str, runs: str, subject: Rival, gain: Gain | None, reason: str | None, unit: str) -> Tile:
    if gain is None:
        return Tile(title, "none", "", _sentence(reason or "no run of both mixtures was completed with the same seed"))
    interval = f"95% interval {shown}" if (shown := _interval(gain)) else "No interval"
    return Tile(title, f"{gain.mean:+.4f}", unit, f"{interval}: {subject.label} mixture over {REFERENCE}, {runs}")


def _trust_tile(content: Content) -> Tile:
    title, found = "Trust in the surrogate", content.held_out
    if isinstance(found, Missing):
        return Tile(title, "none", "", _sentence(found.reason))
    score = found.scores["objective"]
    trusted = "trusted" if found.scores["trustworthy"] else "not shown to rank runs at the target better than chance"
    return Tile(
        title,
        _correlation(score["spearman"]),
        "rank correlation",
        f"{found.surrogate} on {found.scores['runs']} held-out runs, {trusted}; "
        f"{score['coverage_95']:.0%} of them in their 95% interval",
    )


def decision(content: Content) -> tuple[Plot, ...]:
    """The plots of the first screen: the mixture, and what it gains."""
    made = content.decision
    answer = made.rival(made.answer).mixture
    domains = sorted(answer, key=lambda domain: -answer[domain])
    weighty = (answer, made.rivals[0].mixture, made.rival(REFERENCE).mixture)
    largest = sorted(domains, key=lambda domain: -max(mixture[domain] for mixture in weighty))[:MOST_ROWS]
    shown = [domain for domain in domains if domain in largest]
    # The proportional mixture is the first of the baselines.
    others = sorted(made.rivals, key=lambda each: not each.is_baseline)
    others = [each for each in others if each.label != made.answer]
    with_epochs = any(domain["epochs"] is not None for domain in content.domains.values())
    columns = (
        *("domain", ">answer", *(f">{each.label}" for each in others), ">tokens"),
        *((">epochs",) if with_epochs else ()),
        *((">range among the best",) if made.ranges else ()),
    )
    rows = tuple(
        (
            domain,
            *(_percent(share) for share in (answer[domain], *(each.mixture[domain] for each in others))),
            show_count(content.domains[domain]["tokens"] or 0),
            *((f"{content.domains[domain]['epochs']:.2f}",) if with_epochs else ()),
            *((" to ".join(map(_percent, made.ranges[domain])),) if made.ranges else ()),
        )
        for domain in domains
    )
    ranged = "; the line spans the shares among the best predicted mixtures" if made.ranges else ""
    mixture = Plot(
        "The recommended mixture",
        _drawn(figures.shares(made, shown)),
        f"Bars are the answer, marks what it is compared with{ranged}.{_cut(shown, domains, 'domains')}",
        Table(columns, rows),
        is_open=len(rows) <= MOST_ROWS,
    )
    if all(each.predicted is None and each.confirmed is None for each in made.rivals):
        return (mixture,)
    return (mixture, _gains(content))


def _gains(content: Content) -> Plot:
    made = content.decision
    seeds = sorted({seed for each in made.rivals for seed in each.values}, key=int)
    compared = [each for each in made.rivals if not each.changes_nothing]
    rows = tuple(
        (
            each.label,
            *(cell for gain in (each.predicted, each.confirmed) for cell in _gain_cells(gain)),
            "" if each.beaten is None else f"{each.beaten:.0%}",
            *(f"{each.values[seed]:.4f}" if seed in each.values else "" for seed in seeds),
        )
        for each in made.rivals
    )
    return Plot(
        "What it gains",
        _drawn(figures.gains(compared, made.answer, content.unit)),
        "Predicted: one new run of each mixture, by the surrogate. Confirmed: the same training again with seeds that "
        "the search never used. Right of 0 is better; an interval that reaches 0 shows no difference.",
        Table(
            (
                *("mixture", ">predicted gain", "95% interval", ">confirmed gain", "95% interval"),
                *(">proposed beats it with", *(f">objective, seed {seed}" for seed in seeds)),
            ),
            rows,
        ),
    )


def evidence(content: Content) -> tuple[Section, ...]:
    """Everything after the first screen, in its order."""
    return (
        _held_out(content),
        _slopes(content),
        _sizes(content),
        _course(content),
        _agreement(content),
        _front(content),
        _failures(content),
        _budget(content),
        _reproduction(content),
    )


def _held_out(content: Content) -> Section:
    name, title, found = "held-out", "Predicted against measured", content.held_out
    if isinstance(found, Missing):
        return _missing(name, title, "No prediction can be compared with a measurement", found)
    scores = found.scores
    rows = [(OBJECTIVE, scores["objective"]), *scores["metrics"].items()]
    estimates = content.decision.predicted
    facts = Table(
        (
            *("", ">rank correlation", ">RMSE", ">R²", ">in 80% interval", ">in 95% interval"),
            *((">proposal, predicted", "95% interval") if estimates else ()),
        ),
        tuple(
            (
                label,
                _correlation(score["spearman"]),
                f"{score['rmse']:.4f}",
                "undefined" if score["r2"] is None else f"{score['r2']:.2f}",
                f"{score['coverage_80']:.0%}",
                f"{score['coverage_95']:.0%}",
                *(
                    (f"{estimate['mean']:.4f}", f"{estimate['lower']:.4f} to {estimate['upper']:.4f}")
                    if (estimate := estimates.get(label))
                    else ()
                ),
            )
            for label, score in rows
        ),
    )
    pairs = sorted(zip(found.predicted, found.measured, strict=True))
    cheaper = scores["runs"] - len(pairs)
    also = f" The scores are also over {cheaper} runs of cheaper proxies, moved to its units." if cheaper > 0 else ""
    plot = Plot(
        f"Held-out runs at {content.target}",
        _drawn(figures.held_out(found, content.unit, content.target)),
        "Each point is a trial, predicted by a model that was fitted without its mixture; points near the line were "
        f"predicted well.{also}",
        Table(
            (">predicted", ">measured", ">error"),
            tuple((f"{x:.4f}", f"{y:.4f}", f"{y - x:+.4f}") for x, y in pairs),
        ),
    )
    verdict = "is trusted" if scores["trustworthy"] else "is not trusted, and the answer does not rest on it"
    lead = (
        f"{found.surrogate} {verdict}: its rank correlation with {scores['runs']} runs that it was not fitted to is "
        f"{_correlation(scores['objective']['spearman'])}. Losses and RMSE are in {content.unit}."
    )
    return Section(name, title, lead, (plot,), facts)


def _slopes(content: Content) -> Section:
    name, title, found = "effects", "What each domain does to each metric", content.effects
    if isinstance(found, Missing):
        return _missing(name, title, "No effect is predicted", found)

    columns = list(next(iter(found.domains.values())).slopes)
    steep_DC = np.abs([[effect.slopes[column] or 0.0 for column in columns] for effect in found.domains.values()])
    domains = [list(found.domains)[place] for place in np.argsort(-steep_DC.max(axis=1), kind="stable")]
    steepest = np.argsort(-steep_DC[:, 1:].max(axis=0), kind="stable")[:MOST_COLUMNS]
    shown = [OBJECTIVE, *(columns[1 + place] for place in sorted(steepest))]
    plot = Plot(
        "One more percentage point of a domain",
        _drawn(figures.slopes(found, domains[:MOST_ROWS], shown)),
        f"Change of the predicted loss, in 0.001 {content.unit}, where a domain gets one percentage point more than in "
        "the proposed mixture and the others shrink in proportion. Blue lowers the loss, which is better; orange "
        f"raises it.{_cut(domains[:MOST_ROWS], domains, 'domains')}{_cut(shown, columns, 'columns')}",
        Table(
            ("domain", *(f">{column}" for column in columns)),
            tuple(
                (
                    domain,
                    *(
                        "" if slope is None else f"{1000 * slope:+.3f}"
                        for slope in found.domains[domain].slopes.values()
                    ),
                )
                for domain in domains
            ),
        ),
    )
    return Section(name, title, "Which domain helps which evaluation set, around the proposed mixture.", (plot,))


def _sizes(content: Content) -> Section:
    name, title, found = "matters", "Which shares matter and which are flat", content.effects
    if isinstance(found, Missing):
        return _missing(name, title, "No share can be called flat", found)
    domains = sorted(found.domains, key=lambda domain: -found.domains[domain].curve.size)
    flat = [domain for domain in domains if found.domains[domain].flat]
    if flat:
        named = f"{', '.join(flat[:MOST_ROWS])}.{_cut(flat[:MOST_ROWS], flat, 'of them')}"
        lead = f"{len(flat)} of {len(domains)} shares hardly matter, and may be chosen for other reasons: {named}"
    else:
        lead = f"Each of the {len(domains)} shares matters: it changes the predicted objective by more than its doubt."
    size = Plot(
        "How much each share matters",
        _drawn(figures.sizes(found, domains[:MOST_ROWS], content.unit)),
        "How much the predicted objective changes over all shares that were trained; a share that changes it by less "
        f"than a prediction may be off is flat.{_cut(domains[:MOST_ROWS], domains, 'domains')}",
        Table(
            ("domain", ">share", ">least trained", ">most trained", f">change ({content.unit})", ""),
            tuple(
                (
                    domain,
                    *map(_percent, (effect.share, effect.curve.shares[0], effect.curve.shares[-1])),
                    f"{effect.curve.size:.4f}",
                    "flat" if effect.flat else "",
                )
                for domain in domains
                for effect in (found.domains[domain],)
            ),
        ),
    )
    curve = Plot(
        "The objective over each share",
        _drawn(*figures.curves(found, domains[:MOST_CURVES])),
        f"Predicted objective ({content.unit}) over the domain's share (%), the others in proportion; dashed: the "
        f"proposed share. All plots have the same scale.{_cut(domains[:MOST_CURVES], domains, 'domains')}",
        Table(
            ("domain", "share: predicted objective"),
            tuple(
                (
                    domain,
                    ", ".join(
                        f"{share:.1%}: {value:.4f}"
                        for share, value in zip(effect.curve.shares, effect.curve.values, strict=True)
                    ),
                )
                for domain in domains
                for effect in (found.domains[domain],)
            ),
        ),
    )
    return Section(name, title, lead, (size, curve))


def _course(content: Content) -> Section:
    name, title, found = "course", "Loss against cost as the study went", content.course
    if isinstance(found, Missing):
        return _missing(name, title, "The search cannot be followed", found)
    plot = Plot(
        "The search's trials in the order in which they ended",
        _drawn(figures.course(found, content.unit)),
        "Points are trials, the line the lowest objective until then, dashed lines the baselines. Objectives of "
        "different proxies cannot be compared. The confirmation is not in it.",
        Table(
            (">#", "trial", "asked for by", "proxy", ">FLOPs until then", f">objective ({content.unit})"),
            tuple(
                (
                    str(number),
                    step.trial,
                    step.origin,
                    step.proxy,
                    f"{step.flops:.4g}",
                    "" if step.objective is None else f"{step.objective:.4f}",
                )
                for number, step in enumerate(found.steps, start=1)
            ),
        ),
    )
    reached = [step for step in found.steps if step.proxy == content.target and step.objective is not None]
    best = min(reached, key=lambda step: step.objective or 0.0)
    lead = (
        f"The lowest objective that the search measured at {content.target} is {best.objective:.4f} {content.unit} "
        f"(trial {best.trial}, {best.origin}), after {best.flops:.3g} FLOPs. Being the best of {len(reached)}, it "
        "looks better than it is."
    )
    return Section(name, title, lead, (plot,))


def _agreement(content: Content) -> Section:
    name, title, found = "agreement", "How cheaper proxies agree", content.agreement
    if isinstance(found, Missing):
        return _missing(name, title, "There is nothing to compare", found)
    lead = (
        "Mixtures that were trained with two proxies: a cheap proxy is worth its trials if it ranks as the last does."
    )
    return Section(name, title, lead, tuple(_agreement_plot(each, content) for each in found if each.cheap))


def _agreement_plot(found: Agreement, content: Content) -> Plot:
    ranked = _correlation(found.spearman)
    return Plot(
        f"{found.proxy} and {content.target}",
        _drawn(figures.agreement(found, content.unit, content.target)),
        f"{len(found.cheap)} mixtures, each a point; the rank correlation of the two is {ranked}. Points along a "
        "rising line mean that both rank alike.",
        Table(
            (f">{found.proxy}", f">{content.target}"),
            tuple((f"{x:.4f}", f"{y:.4f}") for x, y in sorted(zip(found.cheap, found.target, strict=True))),
        ),
    )


def _front(content: Content) -> Section:
    name, title, found = "front", "Pareto front", content.front
    if isinstance(found, Missing):
        return _missing(name, title, "There is none", found)
    domains = list(found.points[0]["mixture"])
    plot = Plot(
        "Mixtures that none is predicted to beat in every loss",
        _drawn(figures.front(found, content.unit)),
        "Each point, or line, of the front is a mixture; to lower one loss further, another has to rise.",
        Table(
            ("", *(f">{number}" for number in range(1, len(found.points) + 1))),
            (
                *(
                    (f"loss on {metric}", *(f"{point['predicted'][metric]:.4f}" for point in found.points))
                    for metric in found.metrics
                ),
                *(
                    (f"share of {domain}", *(_percent(point["mixture"][domain]) for point in found.points))
                    for domain in domains
                ),
            ),
        ),
    )
    return Section(name, title, f"{len(found.points)} mixtures, spread along the predicted front.", (plot,))


def _failures(content: Content) -> Section:
    name, title = "failures", "Failed trials"
    stopped = f" {content.stopped} were stopped early, as hopeless: they count as measured." if content.stopped else ""
    if not content.failures:
        return Section(name, title, f"No trial failed.{stopped}")
    facts = Table(
        ("trial", "asked for by", "proxy", ">seed", "kind", "why", ">after"),
        tuple(
            (
                *(each.trial, each.origin, each.proxy, str(each.seed), each.kind, each.message),
                show_duration(each.seconds),
            )
            for each in content.failures
        ),
    )
    failed = f"{len(content.failures)} {'trial' if len(content.failures) == 1 else 'trials'} failed"
    lead = f"{failed}: no evidence for or against their mixtures. mixopt run --retry-failed tries them again.{stopped}"
    return Section(name, title, lead, facts=facts)


def _budget(content: Content) -> Section:
    budget = content.budget
    spent = sum(each.flops for each in budget.proxies)
    planned = sum(each.trial_flops * (each.search_planned + each.confirmation_planned) for each in budget.proxies)
    seconds = sum(each.training_seconds for each in budget.proxies)
    limits = [f"{budget.flops_limit:.3g} FLOPs"] if budget.flops_limit is not None else []
    limits += [show_duration(budget.seconds_limit)] if budget.seconds_limit is not None else []
    allowed = f"The study's budget is {' and '.join(limits)}." if limits else "The study sets no budget."
    lead = (
        f"{spent:.3g} FLOPs of at most {planned:.3g} that the trials could take, {show_duration(seconds)} of training. "
        f"{allowed}"
    )
    facts = Table(
        (
            *("proxy", "kind", ">parameters", ">tokens a trial", ">FLOPs a trial", ">search", ">confirmation"),
            *(">FLOPs spent", ">training"),
        ),
        tuple(
            (
                each.proxy,
                each.kind,
                show_count(each.params),
                show_count(each.tokens),
                f"{each.trial_flops:.3g}",
                f"{each.searched} of at most {each.search_planned}",
                f"{each.confirmed} of at most {each.confirmation_planned}" if each.confirmation_planned else "none",
                f"{each.flops:.3g}",
                show_duration(each.training_seconds),
            )
            for each in budget.proxies
        ),
    )
    return Section("budget", "Budget", lead, facts=facts)


def _reproduction(content: Content) -> Section:
    found = content.reproduction
    trained = ((f"trained on, {count} trials", _pairs(environment)) for environment, count in found.environments)
    facts = Table(
        ("what", "value"),
        (
            ("run it again, or go on", f"mixopt run {found.file}"),
            ("the answer as data", f"mixopt best {found.file} --json"),
            *((name.replace("_", " "), str(value)) for name, value in found.provenance.items()),
            *trained,
        ),
    )
    lead = (
        "The same study file, corpus, seed and kind of machine give the same numbers to each trial, also after a kill. "
        "A search that asks by what has arrived, or that its time ended, may ask for other trials."
    )
    return Section("reproduce", "How to reproduce it", lead, facts=facts, text=found.text)


def _missing(name: str, title: str, what: str, missing: Missing) -> Section:
    return Section(name, title, f"{what}: {missing.reason}.")


def _drawn(*svgs: str) -> tuple[Markup, ...]:
    """Plots as parts of the page: matplotlib has escaped the names in them."""
    return tuple(Markup(svg) for svg in svgs)


def _gain_cells(gain: Gain | None) -> tuple[str, str]:
    return ("", "") if gain is None else (f"{gain.mean:+.4f}", _interval(gain))


def _interval(gain: Gain) -> str:
    return "" if gain.lower is None or gain.upper is None else f"{gain.lower:+.4f} to {gain.upper:+.4f}"


def _correlation(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _cut(shown: Sequence[str], known: Sequence[str], what: str) -> str:
    """A sentence where not all are shown."""
    left = len(known) - len(shown)
    return f" {left} more {what} are in the table." if left else ""


def _pairs(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
