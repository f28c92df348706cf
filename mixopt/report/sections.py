"""The evidence behind the decision in words: what each plot shows, how to read it, and the numbers as a table.

Shapes: D domains, C columns: the objective and the metrics.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mixopt.report import plots
from mixopt.report.content import OBJECTIVE, Agreement, Content, Gain, Kept, Losses, Missing
from mixopt.report.elements import MOST_ROWS, Plot, Section, Table, correlation, count_of, embed, percent, shorten
from mixopt.results.answer import MetricDifference
from mixopt.results.recommendation import Score
from mixopt.results.reused import NAMED, MatchedPool
from mixopt.runs.final_run import name_of, sentence, shares, stations
from mixopt.runs.tables.sheet import some
from mixopt.settings.units import show_count, show_duration
from search.problem import PROPORTIONAL

# More columns or plots are not taken in at a glance; tables have them all.
MOST_COLUMNS = 10
MOST_CURVES = 12
BASIN_COLUMNS = (">rank correlation, best quarter", ">its pairs in order", ">regret of the pick")


def sections(content: Content) -> tuple[Section, ...]:
    """Everything after the first screen, in its order."""
    return (
        _losses(content),
        _held_out(content),
        _kept(content),
        _slopes(content),
        _sizes(content),
        _course(content),
        _tried(content),
        _agreement(content),
        _front(content),
        _growth(content),
        *_apart(content),
        *_reused(content),
        _failures(content),
        _budget(content),
        _reproduction(content),
    )


def _apart(content: Content) -> tuple[Section, ...]:
    """Distances of pools from evaluation sets, and what they were worth."""
    name, title, found = "distances", "How far pools are from what is judged", content.apart
    if found is None:
        return ()
    if isinstance(found, Missing):
        return (_missing(name, title, "No distances are shown", found),)
    sets = list(next(iter(found.distances.values())))
    shown = sets[:MOST_COLUMNS]
    rows = [
        (pool, *(f"{known[judged]:.3f}" for judged in shown), min(sets, key=lambda judged: known[judged]))
        for pool, known in found.distances.items()
    ]
    agreement = found.agreement
    if isinstance(agreement, Missing):
        said = f"Whether it helped to be near cannot be said: {agreement.reason}."
    else:
        rows.append(("all: rank correlation", *(correlation(agreement.sets.get(judged)) for judged in shown), ""))
        said = (
            f"Being near {'helped' if agreement.helped else 'is not shown to help'} here: the rank correlation of a "
            "pool's distance with what more of it does to a set's loss, the set's own pool left out, has the mean "
            f"{agreement.mean:.2f} over sets, and chance reaches {agreement.chance:.2f}."
        )
    more = f" {len(sets) - len(shown)} more sets are in mixopt distances --json." if len(sets) > len(shown) else ""
    lead = (
        "The transport distance between samples of a pool's text and of an evaluation set's, as mixopt distances "
        f"prints it: a guess before any run, which the search does not use. {said}{more}"
    )
    columns = ("pool", *(f">{each}" for each in shown), "nearest set")
    return (Section(name, title, lead, (), Table(columns, tuple(rows))),)


def _reused(content: Content) -> tuple[Section, ...]:
    """Where the study asked for runs of others."""
    reused = content.reused
    if reused is None:
        return ()
    lead = (
        "Studies of the same MLflow experiment, as they were when this one began. Pools are known by their text: by "
        "the digest of their tokens, or by the share of documents that is the same."
    )
    rows = tuple(
        (
            some((one.study for one in each), NAMED),
            f"{sum(one.runs for one in each)} of {sum(one.of for one in each)}",
            ", ".join(map(_pool, each[0].pools if len(each) == 1 else ())),
            each[0].said or "as they are",
        )
        for each in reused.together
    )
    columns = ("study", ">runs that count", "pools: there, and here", "how its losses count, or why not")
    title = "Which runs of other studies counted"
    return (Section("reused", title, lead, (), Table(columns, rows)),)


def _pool(found: MatchedPool) -> str:
    return f"{found.was} as {found.pool}, {found.alike:.0%} by {found.by}"


def _losses(content: Content) -> Section:
    name, title, found = "losses", "What each loss became", content.losses
    if isinstance(found, Missing):
        return _missing(name, title, "No loss can be compared", found)
    answer = found.rivals.index(content.decision.answer) if content.decision.answer in found.rivals else 0
    reference = found.rivals.index(PROPORTIONAL)
    rows = tuple(
        (metric, f"{losses[answer] - losses[reference]:+.4f}", *(f"{loss:.4f}" for loss in losses))
        for metric, losses in sorted(
            found.by_metric.items(), key=lambda item: item[1][answer] - item[1][reference], reverse=True
        )
    )
    tests = found.tests.get(found.rivals[answer], {})
    broken = [metric for metric, test in tests.items() if test.broken]
    refused = f" Shown to be worse than the objective allows: {', '.join(broken)}." if broken else ""
    lead = (
        f"Measured on each evaluation set, in the objective or not, in {content.unit}: the mean over the seeds of the "
        f"confirmation. The first column is the answer's loss minus the {PROPORTIONAL} mixture's; what rose stands "
        f"first.{refused}"
    )
    columns = ("evaluation set", f">answer against {PROPORTIONAL}", *(f">{rival}" for rival in found.rivals))
    return Section(name, title, lead, _trades(found, content), Table(columns, rows))


def _trades(found: Losses, content: Content) -> tuple[Plot, ...]:
    """What each candidate does to each metric and family, with intervals."""
    candidates = [each.label for each in content.decision.candidates if found.tests.get(each.label)]
    if not candidates:
        return ()
    first = found.tests[candidates[0]]
    metrics = sorted(first, key=lambda metric: -first[metric].difference)
    rows = [
        (f"family {name}", *(_difference(found.families[label].get(name)) for label in candidates))
        for name in found.families[candidates[0]]
    ]
    rows += [(name, *(_difference(found.tests[label].get(name)) for label in candidates)) for name in metrics]
    shown = metrics[:MOST_ROWS]
    return (
        Plot(
            "What each candidate trades",
            embed(
                plots.trades({label: found.tests[label] for label in candidates}, shown, found.baseline, content.unit)
            ),
            f"Difference from {found.baseline} in each metric of the objective, paired by seed, with the 95% interval "
            f"of each alone; what reaches 0 is not shown to differ.{shorten(shown, metrics, 'metrics')}",
            Table(("", *(f">{label}" for label in candidates)), tuple(rows)),
            is_open=bool(found.families[candidates[0]]),
        ),
    )


def _difference(test: MetricDifference | None) -> str:
    if test is None:
        return ""
    margin = "" if test.margin is None else f" ± {test.margin:.4f}"
    return f"{test.difference:+.4f}{margin}{', refused' if test.broken else ''}"


def _held_out(content: Content) -> Section:
    name, title, found = "held-out", "Predicted against measured", content.held_out
    if isinstance(found, Missing):
        return _missing(name, title, "No prediction can be compared with a measurement", found)
    scores = found.scores
    rows = [(OBJECTIVE, scores.objective), *scores.metrics.items()]
    estimates = content.decision.predicted
    facts = Table(
        (
            *("", ">rank correlation", ">RMSE", ">R²", ">in 80% interval", ">in 95% interval"),
            *(BASIN_COLUMNS if scores.objective.basin else ()),
            *((">proposal, predicted", "95% interval") if estimates else ()),
        ),
        tuple(
            (
                label,
                correlation(score.spearman),
                f"{score.rmse:.4f}",
                "undefined" if score.r2 is None else f"{score.r2:.2f}",
                f"{score.coverage_80:.0%}",
                f"{score.coverage_95:.0%}",
                *(_basin(score) if scores.objective.basin else ()),
                *(
                    (f"{estimate.mean:.4f}", f"{estimate.lower:.4f} to {estimate.upper:.4f}")
                    if (estimate := estimates.get(label))
                    else ()
                ),
            )
            for label, score in rows
        ),
    )
    pairs = sorted(zip(found.predicted, found.measured, strict=True))
    cheaper = scores.runs - len(pairs)
    also = f" The scores are also over {cheaper} runs of cheaper proxies, moved to its units." if cheaper > 0 else ""
    plot = Plot(
        f"Held-out runs at {content.target}",
        embed(plots.held_out(found, content.unit, content.target)),
        "Each point is a trial, predicted by a model that was fitted without its mixture; points near the line were "
        f"predicted well.{also}",
        Table(
            (">predicted", ">measured", ">error"),
            tuple((f"{x:.4f}", f"{y:.4f}", f"{y - x:+.4f}") for x, y in pairs),
        ),
    )
    if not scores.trustworthy:
        verdict = "is not trusted, and the answer does not rest on it"
    elif content.decision.not_predicted:
        verdict = "is trusted, but the proposal does not rest on it"
    else:
        verdict = "is trusted"
    basin = scores.objective.basin
    among = (
        f", and {correlation(basin.spearman)} among the best {basin.mixtures}, of whose pairs {basin.pairwise:.0%} are "
        "predicted in their order"
        if basin
        else ""
    )
    lead = (
        f"{found.surrogate} {verdict}: its rank correlation with {scores.runs} runs that it was not fitted to is "
        f"{correlation(scores.objective.spearman)}{among}. Losses and RMSE are in {content.unit}."
    )
    return Section(name, title, lead, (plot,), facts)


def _basin(score: Score) -> tuple[str, ...]:
    """The columns BASIN_COLUMNS."""
    if (basin := score.basin) is None:
        return ("",) * len(BASIN_COLUMNS)
    return correlation(basin.spearman), f"{basin.pairwise:.0%}", f"{basin.regret:.4f}"


def _kept(content: Content) -> Section:
    name, title = "kept", "Predicted gains against confirmed ones"
    found = content.predictions or Missing("it was made before predictions were kept")
    if isinstance(found, Missing):
        return _missing(name, title, "No predicted gain can be compared", found)
    others = len({each.study for each in found.predictions if not each.own})
    beside = f", and of {count_of(others, 'other study')} in the same folder" if others == 1 else ""
    beside = f", and of {others} other studies in the same folder" if others > 1 else beside
    lead = (
        f"What was expected of each mixture before it was confirmed, of this study{beside}, in {content.unit}. "
        f"{_optimism(found)}"
    )
    plot = Plot(
        "Gains over the proportional mixture",
        embed(plots.kept(found, content.unit)),
        "Each point is a mixture, with its 95% intervals; points below the line gained less than was predicted. "
        "Baselines were trained by the search, so that their gains are the easier ones to predict.",
        Table(
            ("study", "mixture", ">predicted", "95% interval", ">confirmed", "95% interval", ">too high by"),
            tuple(
                (
                    *(each.study, each.label),
                    *(cell for gain in (each.predicted, each.confirmed) for cell in _gain_cells(gain)),
                    f"{each.predicted.mean - each.confirmed.mean:+.4f}",
                )
                for each in found.predictions
            ),
        ),
    )
    return Section(name, title, lead, (plot,))


def _optimism(found: Kept) -> str:
    """How far predictions of what searches proposed were off, in sentences."""
    if (score := found.score) is None:
        return "No mixture that a search proposed was confirmed with a known noise."
    interval = score.optimism_interval
    known = "" if interval is None else f" (95% interval {interval[0]:+.4f} to {interval[1]:+.4f})"
    off = f"{abs(score.optimism):.4f} too {'high' if score.optimism > 0 else 'low'}"
    return (
        f"What searches proposed was predicted {off} on the average of {count_of(score.confirmations, 'confirmation')}"
        f"{known}; {score.coverage_80:.0%} were inside their 80% interval, {score.coverage_95:.0%} inside that of 95%."
    )


def _gain_cells(gain: Gain) -> tuple[str, str]:
    interval = "" if gain.lower is None or gain.upper is None else f"{gain.lower:+.4f} to {gain.upper:+.4f}"
    return f"{gain.mean:+.4f}", interval


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
        embed(plots.slopes(found, domains[:MOST_ROWS], shown)),
        f"Change of the predicted loss, in 0.001 {content.unit}, where a domain gets one percentage point more than in "
        "the proposed mixture and the others shrink in proportion (those that never varied stay), limits or not. Blue "
        "lowers the loss, which is better; orange raises it."
        f"{shorten(domains[:MOST_ROWS], domains, 'domains')}{shorten(shown, columns, 'columns')}",
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
    varied = [domain for domain, effect in found.domains.items() if effect.curve.varied]
    domains = sorted(varied, key=lambda domain: -found.domains[domain].curve.size)
    flat = [domain for domain in domains if found.domains[domain].flat]
    if flat:
        named = f"{', '.join(flat[:MOST_ROWS])}.{shorten(flat[:MOST_ROWS], flat, 'of them')}"
        lead = (
            f"{len(flat)} of {count_of(len(domains), 'share')}, each changed alone, cannot be told from no effect, "
            f"where a prediction may be off by {found.doubt:.4f} (1 sd): {named}"
        )
    else:
        lead = (
            f"Of {count_of(len(domains), 'share')} each changes the predicted objective by more than a prediction may "
            "be off."
        )
    if constant := [domain for domain in found.domains if domain not in varied]:
        lead += f" Nothing is known of {', '.join(constant)}: the share was the same in every trial."
    size = Plot(
        "How much each share matters",
        embed(plots.sizes(found, domains[:MOST_ROWS], content.unit)),
        "How much the predicted objective changes over all shares that were trained; a share that changes it by less "
        f"than a prediction may be off is flat.{shorten(domains[:MOST_ROWS], domains, 'domains')}",
        Table(
            ("domain", ">share", ">least trained", ">most trained", f">change ({content.unit})", ""),
            tuple(
                (
                    domain,
                    *map(percent, (effect.share, effect.curve.shares[0], effect.curve.shares[-1])),
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
        embed(*plots.curves(found, domains[:MOST_CURVES])),
        f"Predicted objective ({content.unit}) over the domain's share (%), the others in proportion; dashed: the "
        f"proposed share. All plots have the same vertical scale.{shorten(domains[:MOST_CURVES], domains, 'domains')}",
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
        embed(plots.course(found, content.unit)),
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
    reached = [
        (step.objective, step) for step in found.steps if step.proxy == content.target and step.objective is not None
    ]
    objective, best = min(reached, key=lambda pair: pair[0])
    lead = (
        f"The lowest objective that the search measured at {content.target} is {objective:.4f} {content.unit} "
        f"(trial {best.trial}, {best.origin}), after {best.flops:.3g} FLOPs. Being the best of {len(reached)}, it "
        "looks better than it is."
    )
    return Section(name, title, lead, (plot,))


def _tried(content: Content) -> Section:
    name, title = "tried", "Which mixtures were tried"
    found = content.tried or Missing("This report was made before it was kept.")
    if isinstance(found, Missing):
        return _missing(name, title, "No mixture was measured", found)
    answer = content.decision.rival(content.decision.answer)
    domains = list(content.domains)
    # Those that differ most tell most.
    spread = {domain: float(np.ptp([each.mixture[domain] for each in found.trials])) for domain in domains}
    widest = set(sorted(domains, key=lambda domain: -spread[domain])[:MOST_ROWS])
    shown = [domain for domain in domains if domain in widest]
    plot = Plot(
        "The search's trials over their shares",
        embed(plots.tried(found, answer, shown)),
        "A line is a trial; each axis goes from 0 to the largest share of that domain, which stands below its name. "
        "The darker, the lower the objective. To move shares and see: mixopt explore."
        f"{shorten(shown, domains, 'domains')}",
        Table(
            ("trial", f">objective ({content.unit})", *(f">{domain}" for domain in domains)),
            tuple(
                (each.trial, f"{each.objective:.4f}", *(percent(each.mixture[domain]) for domain in domains))
                for each in found.trials
            ),
        ),
    )
    lead = f"{count_of(len(found.trials), 'mixture')} at {content.target}, beside the answer."
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
    ranked = correlation(found.spearman)
    return Plot(
        f"{found.proxy} and {content.target}",
        embed(plots.agreement(found, content.unit, content.target)),
        f"{count_of(len(found.cheap), 'mixture')}, each a point; the rank correlation of the two is {ranked}. Points "
        "along a rising line mean that both rank alike.",
        Table(
            (f">{found.proxy}", f">{content.target}"),
            tuple((f"{x:.4f}", f"{y:.4f}") for x, y in sorted(zip(found.cheap, found.target, strict=True))),
        ),
    )


def _growth(content: Content) -> Section:
    name, title, found = "growth", "How the best mixture moves as runs grow", content.path
    if found is None or isinstance(found, Missing):
        missing = found or Missing("This version of the study did not ask.")
        return _missing(name, title, "Nothing is said of the final run", missing)
    domains = sorted(found.points[0].mixture, key=lambda each: -found.points[-1].mixture[each])
    plot = Plot(
        "What is expected to be best at each scale",
        embed(plots.growth(stations(found), shares(found))),
        "By a law of size, tokens and mixture, fitted to all proxies. It is evidence, not the answer: this is for the "
        "last proxy, unless the study's surrogate is scaling_law.",
        Table(
            ("", *(f">{name_of(point)}" for point in found.points)),
            (
                *(
                    (
                        domain,
                        *(
                            f"{point.mixture[domain]:.1%} ({point.shares[domain][0]:.1%} to "
                            f"{point.shares[domain][1]:.1%})"
                            for point in found.points
                        ),
                    )
                    for domain in domains
                ),
                (
                    f"predicted objective ({content.unit})",
                    *(
                        f"{point.predicted.mean:.4f} ({point.predicted.lower:.4f} to {point.predicted.upper:.4f})"
                        for point in found.points
                    ),
                ),
            ),
        ),
    )
    told = sentence(found)
    return Section(name, title, f"{told[0].upper()}{told[1:]}.", (plot,))


def _front(content: Content) -> Section:
    name, title, found = "front", "Pareto front", content.front
    if isinstance(found, Missing):
        return _missing(name, title, "There is none", found)
    domains = list(found.points[0].mixture)
    plot = Plot(
        "Mixtures that none is predicted to beat in every loss",
        embed(plots.front(found, content.unit)),
        "Each point, or line, of the front is a mixture; to lower one loss further, another has to rise.",
        Table(
            ("", *(f">{number}" for number in range(1, len(found.points) + 1))),
            (
                *(
                    (f"loss on {metric}", *(f"{point.predicted[metric]:.4f}" for point in found.points))
                    for metric in found.metrics
                ),
                *(
                    (f"share of {domain}", *(percent(point.mixture[domain]) for point in found.points))
                    for domain in domains
                ),
            ),
        ),
    )
    return Section(name, title, f"{len(found.points)} mixtures, spread along the predicted front.", (plot,))


def _failures(content: Content) -> Section:
    name, title = "failures", "Failed trials"
    stopped = (
        f" Stopped early, as hopeless: {content.stopped}; they count with what they had measured by then."
        if content.stopped
        else ""
    )
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
    again = f"mixopt run {content.reproduction.file} --retry-failed"
    lead = (
        f"{count_of(len(content.failures), 'trial')} failed: no evidence for or against their mixtures. {again} tries "
        f"them again.{stopped}"
    )
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
        f"{spent:.3g} FLOPs of at most {planned:.3g} that the trials could take, failed ones counted in full; "
        f"{show_duration(seconds)} of training. "
        f"{allowed}"
    )
    facts = Table(
        (
            *("proxy", "kind", ">parameters", ">tokens per trial", ">FLOPs per trial", ">search", ">confirmation"),
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
            *((name.replace("_", " "), str(value)) for name, value in found.provenance.plain().items()),
            *trained,
        ),
    )
    lead = (
        "The same study file, corpus, seed and kind of machine give the same numbers to each trial, also after a kill. "
        "A search that asks by what has arrived, or that its time ended, may ask for other trials."
    )
    return Section("reproduce", "How to reproduce it", lead, facts=facts, text=found.text)


def _missing(name: str, title: str, what: str, missing: Missing) -> Section:
    reason = missing.reason
    if reason.endswith("."):  # a sentence, which others show by itself
        reason = f"{reason[0].lower()}{reason[1:-1]}"
    return Section(name, title, f"{what}: {reason}.")


def _pairs(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
